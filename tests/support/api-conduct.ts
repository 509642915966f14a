import { Context } from '@temporalio/activity';
import { ApplicationFailure } from '@temporalio/common';

/** What tests do to starts and sandboxes that are under way. */
export class Conduct {
  /** Phases of starts that wait until they are taken out again. */
  readonly held = new Set<string>();
  failing: string | null = null;
  /** Starts whose conversations were taken out of their sandboxes. */
  readonly discarded: string[] = [];
  /** Sandboxes in which an agent works. */
  readonly working = new Set<string>();
  /** Users whose sessions have ended, as streams that are open learn of it. */
  readonly signedOut = new Set<string>();
  /** Fails the boots of sandboxes with this reason. */
  failBoot: string | null = null;
  /** Sandboxes in the order in which they were booted. */
  readonly booted: string[] = [];
  /** Sandboxes whose things were removed. */
  readonly destroyed: string[] = [];
  /** Memory that hosts say to be free, in bytes; of the others there is plenty. */
  readonly freeMemory = new Map<string, number>();

  async phase(name: string): Promise<void> {
    while (this.held.has(name)) {
      Context.current().heartbeat();
      await Context.current().sleep(20);
    }
    if (this.failing === name) throw ApplicationFailure.nonRetryable(`${name} failed`, 'Failed');
  }
}
