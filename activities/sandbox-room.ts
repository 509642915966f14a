import type { SandboxReadModel } from '../db/sandbox-read-model.js';
import type { SandboxRepository } from '../db/sandbox-repository.js';
import type { SandboxActors } from './sandbox-actors.js';

export interface SandboxRoomDeps {
  actors: Pick<SandboxActors, 'requestPause'>;
  sandboxes: Pick<SandboxRepository, 'read'>;
  list: Pick<SandboxReadModel, 'beyondLimit'>;
  /** Running sandboxes per user; 0 is no limit. */
  maxPerUser: number;
}

/** Has the user's oldest sandboxes pause, never the one that is to run (contract 5.7). */
export const createRoomMaker =
  ({ actors, sandboxes, list, maxPerUser }: SandboxRoomDeps) =>
  async (sandboxId: string): Promise<void> => {
    const row = maxPerUser > 0 ? await sandboxes.read(sandboxId) : null;
    if (!row) return;
    const surplus = await list.beyondLimit(row.createdByUserId, maxPerUser, sandboxId);
    await Promise.all(surplus.map(({ id }) => actors.requestPause(id)));
  };
