import { ApplicationFailure } from '@temporalio/common';
import type { SandboxRecord, SandboxRepository } from '../db/sandbox-repository.js';
import { SandboxLimitReached, type SandboxSlots } from '../db/sandbox-slots.js';
import type { SandboxActors } from './sandbox-actors.js';

export interface SandboxRoomDeps {
  actors: Pick<SandboxActors, 'makeWay'>;
  sandboxes: Pick<SandboxRepository, 'read'>;
  slots: Pick<SandboxSlots, 'acquire'>;
}

/**
 * Lets a sandbox run within the limit of its user: returns when as many others as necessary have been paused, never one
 * in which an agent works (contract 5.7).
 * @param read its row, if it has just been read
 * @throws ApplicationFailure `SandboxLimitReached`, non-retryable, when none of them may be paused
 */
export const createRoomMaker =
  ({ actors, sandboxes, slots }: SandboxRoomDeps) =>
  async (sandboxId: string, read?: SandboxRecord | null): Promise<void> => {
    const row = read === undefined ? await sandboxes.read(sandboxId) : read;
    // One that came out of the pool runs already, and has not been let in yet.
    if (!row || (row.status === 'RUNNING' && row.slotDueAt === null)) return;
    try {
      await slots.acquire(sandboxId, row.createdByUserId, (rival, reason) => actors.makeWay(rival, reason));
    } catch (error) {
      if (!(error instanceof SandboxLimitReached)) throw error;
      throw ApplicationFailure.nonRetryable(error.message, error.name);
    }
  };
