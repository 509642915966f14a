import { CancellationScope, isCancellation, log } from '@temporalio/workflow';
import type { Idleness } from '../../activities/sandbox-row-activities.js';
import type { RESULTS_OF, SandboxAction, SandboxResult } from '../../contract/sandbox-transitions.js';
import { explain, type Explanation } from '../failures.js';
import type { SandboxState } from '../messages.js';
import { catchUpSandbox, findSandboxHost, onHost } from './calls.js';
import { processEnded } from './causes.js';
import type { Letter } from './mailbox.js';
import { nextRevision } from './revision.js';

/** How an action ended, and why. */
export interface ActionEnd {
  on: SandboxResult;
  why?: Explanation;
  /** What a boot has told; that of an older worker tells nothing. */
  idleness?: Idleness;
}

type EndOf<Action extends SandboxAction> = ActionEnd & { on: (typeof RESULTS_OF)[Action][number] };

/** What an action that fails comes to. */
const FAILED = {
  boot: 'notBooted',
  restart: 'notBooted',
  suspend: 'notSuspended',
  suspendIdle: 'notSuspended',
  awaken: 'notAwakened',
} as const satisfies Record<Exclude<SandboxAction, 'destroy'>, SandboxResult>;

/** The one action that is under way, by the machine that owns the sandbox. */
export class Actions {
  #scope: CancellationScope | undefined;

  /** @param state where the actor stands; host and thing are written here as they become known. */
  constructor(private readonly state: SandboxState) {}

  /** Ends what is under way, unless it is a deletion: its result is `interrupted`. */
  interrupt(): void {
    this.#scope?.cancel();
  }

  /** Carries an action out; never throws. */
  async perform(action: SandboxAction, letter: Letter): Promise<ActionEnd> {
    if (action === 'destroy') return this.#destroy();
    const scope = new CancellationScope();
    this.#scope = scope;
    try {
      return await scope.run(() => this.#begin(action, letter));
    } catch (err) {
      if (isCancellation(err)) return { on: 'interrupted' };
      const why = explain(err);
      return { on: why.type === 'SandboxDeleted' ? 'rowDeleted' : FAILED[action], why };
    } finally {
      this.#scope = undefined;
    }
  }

  #begin(action: Exclude<SandboxAction, 'destroy'>, letter: Letter): Promise<ActionEnd> {
    switch (action) {
      case 'boot':
        return this.#boot(false);
      case 'restart':
        return this.#boot(true);
      case 'suspend':
        return this.#suspend('ordered', letter.reason);
      case 'suspendIdle':
        return this.#suspend(letter.forRoom ? 'room' : 'idle', letter.reason);
      case 'awaken':
        return this.#awaken();
    }
  }

  async #boot(replaceSilent: boolean): Promise<EndOf<'boot'>> {
    const { state } = this;
    for (;;) {
      const revision = nextRevision(state);
      const launched = await onHost(state.hostId).boot(state.sandboxId, { replaceSilent, revision });
      // Another machine may have claimed it, in an attempt whose answer was lost: it goes on there.
      state.hostId = launched.hostId;
      if (launched.outcome === 'elsewhere') continue;
      if (launched.thing !== undefined) state.thing = launched.thing;
      return { on: 'booted', idleness: launched.idleness };
    }
  }

  async #suspend(mode: 'ordered' | 'idle' | 'room', reason?: string): Promise<EndOf<'suspendIdle'>> {
    if (mode === 'idle') await this.#hearAll();
    const { state: condition, detail = reason } = await onHost(this.state.hostId).suspend(
      this.state.sandboxId,
      { mode },
    );
    if (condition === 'gone') return { on: 'lost', why: processEnded(null) };
    if (condition === 'busy') return { on: 'busy' };
    return {
      on: 'suspended',
      ...(detail === undefined ? {} : { why: { message: detail, type: 'SandboxPaused' } }),
    };
  }

  /**
   * What nobody has heard of a sandbox, because the API or the worker was away, it cannot be asked for once it is
   * frozen; and where there was something, it has not been idle.
   */
  async #hearAll(): Promise<void> {
    try {
      await catchUpSandbox(this.state.sandboxId);
    } catch (err) {
      if (isCancellation(err)) throw err;
      log.warn('events of a sandbox that is to sleep could not be fetched', { reason: explain(err).message });
    }
  }

  async #awaken(): Promise<EndOf<'awaken'>> {
    const { state: condition } = await onHost(this.state.hostId).awaken(this.state.sandboxId);
    return { on: ({ running: 'awakened', gone: 'lost', silent: 'silent' } as const)[condition] };
  }

  async #destroy(): Promise<EndOf<'destroy'>> {
    const { state } = this;
    // A boot that failed or was given up may have been placed without our knowing.
    const hostId = state.hostId ?? (await findSandboxHost(state.sandboxId));
    if (hostId !== null) await onHost(hostId).destroy(state.sandboxId);
    return { on: 'destroyed' };
  }
}
