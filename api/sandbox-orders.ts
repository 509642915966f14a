import type { SandboxReadModel } from '../db/sandbox-read-model.js';
import type { SandboxRecord } from '../db/sandbox-repository.js';
import { visibleUserIds, type UserContext } from '../identity/user-context.js';
import type { Actors } from './actors.js';
import { requireAuthor } from './authorship.js';
import { notFound } from './http-error.js';
import type { SandboxLimit } from './sandbox-limit.js';

export interface SandboxOrderDeps {
  list: Pick<SandboxReadModel, 'read'>;
  actors: Pick<Actors, 'order'>;
  limit: SandboxLimit;
}

/**
 * Orders of users to their sandboxes; the V1 and the legacy routes give them. All of them throw {HttpError} 404 for a
 * sandbox that is not there and 403 for another member's, and return the sandbox as it was before.
 */
export interface SandboxOrders {
  /** @throws {HttpError} as above */
  mine(user: UserContext, sandboxId: string): Promise<SandboxRecord>;
  /** Paused when this returns, or soon; one that is paused already stays so. */
  pause(user: UserContext, sandboxId: string): Promise<SandboxRecord>;
  /** Certain to be resumed when this returns; one that runs goes on. @throws {HttpError} 429 at the limit of sandboxes */
  resume(user: UserContext, sandboxId: string): Promise<SandboxRecord>;
}

export function createSandboxOrders({ list, actors, limit }: SandboxOrderDeps): SandboxOrders {
  async function mine(user: UserContext, sandboxId: string): Promise<SandboxRecord> {
    const row = await list.read(await visibleUserIds(user), sandboxId);
    if (!row) throw notFound();
    requireAuthor(user, row.createdByUserId, 'sandbox');
    return row;
  }
  return {
    mine,
    async pause(user, sandboxId) {
      const sandbox = await mine(user, sandboxId);
      await actors.order(sandbox, 'pause', 'obeyed');
      return sandbox;
    },
    async resume(user, sandboxId) {
      const sandbox = await mine(user, sandboxId);
      await limit.makeRoomFor(sandbox.id, sandbox.createdByUserId);
      await actors.order(sandbox, 'resume', 'accepted');
      return sandbox;
    },
  };
}
