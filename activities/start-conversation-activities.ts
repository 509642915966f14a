import { activityInfo, cancellationSignal, heartbeat } from '@temporalio/activity';
import { ApplicationFailure } from '@temporalio/common';
import type { SandboxRecord, SandboxRepository } from '../db/sandbox-repository.js';
import type { SandboxSlots } from '../db/sandbox-slots.js';
import type { SandboxRelease } from '../db/start-release.js';
import type { StartTaskRecord, StartTaskRepository } from '../db/start-task-repository.js';
import type { SandboxActors } from './sandbox-actors.js';
import { createRoomMaker } from './sandbox-room.js';
import type { WholeStartActivities } from './start/whole-start.js';
import type { StartPreparationActivities } from './start/start-preparation-activities.js';

/** How often a waiting activity says that it is alive, in milliseconds. */
const HEARTBEAT_MS = 2_000;

export interface SandboxStepDeps {
  actors: SandboxActors;
  sandboxes: SandboxRepository;
  release: Pick<SandboxRelease, 'release'>;
  startTasks: Pick<StartTaskRepository, 'read'>;
  /** Waits until the workflow of a start has ended; one that is not known any more has. */
  awaitStartEnd: (taskId: string, signal: AbortSignal) => Promise<void>;
  slots: Pick<SandboxSlots, 'acquire'>;
}

/** What a start asks of sandboxes' actors. */
export function createSandboxSteps(deps: SandboxStepDeps) {
  const { actors, sandboxes, release, startTasks } = deps;
  const makeRoomFor = createRoomMaker(deps);

  /**
   * Its row, if it was taken out of the pool a moment ago, when it answered: its actor has nothing to do for it.
   * @param before its row, read before there was room for it
   */
  const justClaimed = async (
    task: StartTaskRecord | null,
    before: SandboxRecord | null,
  ): Promise<SandboxRecord | null> => {
    if (!task?.ownsSandbox || activityInfo().attempt > 1 || !before || before.claimedAt === null) return null;
    const row = await sandboxes.read(before.id);
    return row && !row.deletedAt && row.status === 'RUNNING' ? row : null;
  };

  const releaseSandbox = async (sandboxId: string): Promise<void> => {
    const hidden = await release.release(sandboxId);
    if (hidden) await actors.requestDelete(sandboxId);
  };

  return {
    /** Waits until the sandbox is RUNNING, started or resumed if need be; fails with the actor's own reason. */
    async awaitSandbox(taskId: string, sandboxId: string): Promise<{ agentServerUrl: string }> {
      const signal = cancellationSignal();
      const beat = setInterval(() => heartbeat({ phase: 'waiting for the sandbox' }), HEARTBEAT_MS);
      let known: SandboxRecord | null;
      try {
        const [task, before] = await Promise.all([startTasks.read(taskId), sandboxes.read(sandboxId)]);
        await makeRoomFor(sandboxId, before);
        known = await justClaimed(task, before);
        if (!known) await actors.ensureRunning(sandboxId, taskId, signal);
        if (task?.supersedes) {
          // A start tried again may not meet its predecessor cleaning up in the same sandbox.
          await deps.awaitStartEnd(task.supersedes, signal);
          known = null; // that may have taken minutes, in which it may have come to answer elsewhere
        }
      } finally {
        clearInterval(beat);
      }
      const row = known ?? (await sandboxes.read(sandboxId));
      if (row?.agentServerUrl) return { agentServerUrl: row.agentServerUrl };
      throw ApplicationFailure.nonRetryable(
        `No agent server URL found for sandbox ${sandboxId}.`,
        'SandboxWithoutUrl',
      );
    },

    /**
     * Orders a sandbox's deletion, unless somebody else has come to use it; its actor sees to it. One that is gone
     * already is fine.
     */
    releaseSandbox,

    /** The same with the sandbox that a start has made for itself, if it came to that. */
    async giveBackSandbox(taskId: string): Promise<void> {
      const task = await startTasks.read(taskId);
      if (task?.ownsSandbox && task.sandboxId !== null) await releaseSandbox(task.sandboxId);
    },
  };
}

export type StartConversationActivities = StartPreparationActivities &
  WholeStartActivities &
  ReturnType<typeof createSandboxSteps>;
