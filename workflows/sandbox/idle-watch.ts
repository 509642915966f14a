import { CancellationScope, isCancellation, log, sleep } from '@temporalio/workflow';
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
   * @param afterMs how long from now, in milliseconds; at once if left out
   */
  begin(afterMs?: number): void {
    if (this.#scope) return;
    const scope = new CancellationScope();
    this.#scope = scope;
    scope
      .run(() => this.#look(afterMs))
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

  async #look(afterMs?: number): Promise<void> {
    this.#isOff = false;
    if (afterMs !== undefined) await sleep(afterMs);
    for (;;) {
      const verdict = await judgeIdleness(this.sandboxId);
      this.#isOff = verdict.state === 'off';
      if (verdict.state === 'off') return;
      if (verdict.state === 'idle') return this.onIdle();
      await sleep(verdict.waitMs);
    }
  }
}
