import type { Logger } from 'pino';
import { SandboxLimitReached, type SandboxSlots } from '../db/sandbox-slots.js';
import type { Actors } from './actors.js';
import { HttpError } from './http-error.js';

/** Keeps users within their number of running sandboxes (contract 5.7). */
export interface SandboxLimit {
  /**
   * Returns when the sandbox may run: of its user's others, as many as necessary have been paused, never one in which
   * an agent works. Called before it is started or resumed, when its row is there.
   * @throws {HttpError} 429 when none of the others may be paused
   */
  makeRoomFor(sandboxId: string, owner: string | null): Promise<void>;
}

export interface SandboxLimitDeps {
  slots: Pick<SandboxSlots, 'acquire'>;
  actors: Pick<Actors, 'makeWay'>;
  logger: Pick<Logger, 'info'>;
}

/** When it is worth while to try again, in seconds: agents work for minutes, and a user may pause one at any time. */
const RETRY_AFTER_SECONDS = 30;

export const createSandboxLimit = ({ slots, actors, logger }: SandboxLimitDeps): SandboxLimit => ({
  async makeRoomFor(sandboxId, owner) {
    try {
      await slots.acquire(sandboxId, owner, async (rival, reason) => {
        const sleeps = await actors.makeWay(rival, reason);
        if (sleeps) {
          logger.info(
            { sandboxId: rival.id, for: sandboxId },
            'a sandbox gives way to another one of its user',
          );
        }
        return sleeps;
      });
    } catch (error) {
      if (!(error instanceof SandboxLimitReached)) throw error;
      throw new HttpError(429, error.message, undefined, { 'Retry-After': String(RETRY_AFTER_SECONDS) });
    }
  },
});
