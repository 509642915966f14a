import type { Logger } from 'pino';
import type { SandboxReadModel } from '../db/sandbox-read-model.js';
import type { Actors } from './actors.js';

/** Keeps users within their number of running sandboxes (contract 5.7). */
export interface SandboxLimit {
  /**
   * Has the user's oldest sandboxes paused, so that the others are within the limit. One that cannot be paused is
   * passed over. Called when the row of a new sandbox is there: of several that start at once, each sees the others,
   * and all agree on which is the oldest.
   */
  enforce(owner: string | null): Promise<void>;
  /** The same before a sandbox is resumed, which itself never gives way. */
  makeRoomFor(sandboxId: string, owner: string | null): Promise<void>;
}

export interface SandboxLimitDeps {
  sandboxes: Pick<SandboxReadModel, 'beyondLimit'>;
  actors: Pick<Actors, 'order'>;
  /** Running sandboxes per user; 0 is no limit. */
  maxPerUser: number;
  logger: Pick<Logger, 'info' | 'warn'>;
}

export function createSandboxLimit({
  sandboxes,
  actors,
  maxPerUser,
  logger,
}: SandboxLimitDeps): SandboxLimit {
  async function pauseOldest(owner: string | null, resumed: string | null): Promise<void> {
    if (maxPerUser === 0) return;
    const surplus = await sandboxes.beyondLimit(owner, maxPerUser, resumed);
    await Promise.all(
      surplus.map(async (sandbox) => {
        try {
          await actors.order(sandbox, 'pause', 'accepted');
          logger.info(
            { sandboxId: sandbox.id, maxPerUser },
            'a sandbox gives way to another one of its user',
          );
        } catch (error) {
          logger.warn({ err: error, sandboxId: sandbox.id }, 'a sandbox beyond the limit cannot be paused');
        }
      }),
    );
  }

  return {
    enforce: (owner) => pauseOldest(owner, null),
    makeRoomFor: (sandboxId, owner) => pauseOldest(owner, sandboxId),
  };
}
