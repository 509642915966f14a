import { CancellationScope, isCancellation, log, sleep } from '@temporalio/workflow';
import type { Idleness } from '../../activities/sandbox-row-activities.js';
import { judgeIdleness } from './calls.js';

/**
 * Looks after a running sandbox until it has been idle for as long as the settings say. Each look reads SQL and sleeps
 * for what is left, so nothing that happens in a sandbox has to be signalled.
 */
export class IdleWatch {
  #scope: CancellationScope | undefined;
  #isOff = false;

  constructor(
    private readonly sandboxId: string,
    private readonly onIdle: () => void,
  ) {}

  /**
   * Begins, unless it looks already.
   * @param known how things stand now; found out if left out
   */
  begin(known?: Idleness): void {
    if (this.#scope) return;
    const scope = new CancellationScope();
    this.#scope = scope;
    scope
      .run(() => this.#look(known))
      .catch((err: unknown) => {
        if (!isCancellation(err)) log.warn('a sandbox is not watched for idleness', { reason: String(err) });
        if (this.#scope === scope) this.#scope = undefined;
      });
  }

  /** Ends it; `begin` looks anew, also at the settings. */
  end(): void {
    this.#scope?.cancel();
    this.#scope = undefined;
  }

  /** Has it look at settings that were off and may not be any more. */
  reconsider(): void {
    if (this.#isOff) this.end();
  }

  async #look(known?: Idleness): Promise<void> {
    this.#isOff = false;
    let verdict = known ?? (await judgeIdleness(this.sandboxId));
    while (verdict.state === 'wait') {
      await sleep(verdict.waitMs);
      verdict = await judgeIdleness(this.sandboxId);
    }
    this.#isOff = verdict.state === 'off';
    if (verdict.state === 'idle') this.onIdle();
  }
}
