import { cancellationSignal, heartbeat } from '@temporalio/activity';
import { ApplicationFailure } from '@temporalio/common';
import type { SandboxRepository } from '../db/sandbox-repository.js';
import type { SandboxActors } from './sandbox-actors.js';
import type { StartPreparationActivities } from './start/start-preparation-activities.js';

/** How often a waiting activity says that it is alive, in milliseconds. */
const HEARTBEAT_MS = 2_000;

export interface SandboxStepDeps {
  actors: SandboxActors;
  sandboxes: SandboxRepository;
}

/** What a start asks of sandboxes' actors. */
export function createSandboxSteps({ actors, sandboxes }: SandboxStepDeps) {
  return {
    /** Waits until the sandbox is RUNNING, started or resumed if need be; fails with the actor's own reason. */
    async awaitSandbox(taskId: string, sandboxId: string): Promise<{ agentServerUrl: string }> {
      const beat = setInterval(() => heartbeat({ phase: 'waiting for the sandbox' }), HEARTBEAT_MS);
      try {
        await actors.ensureRunning(sandboxId, taskId, cancellationSignal());
      } finally {
        clearInterval(beat);
      }
      const row = await sandboxes.read(sandboxId);
      if (row?.agentServerUrl) return { agentServerUrl: row.agentServerUrl };
      throw ApplicationFailure.nonRetryable(
        `No agent server URL found for sandbox ${sandboxId}.`,
        'SandboxWithoutUrl',
      );
    },

    /** Orders a sandbox's deletion; its actor sees to it. One that is gone already is fine. */
    releaseSandbox: (sandboxId: string): Promise<void> => actors.requestDelete(sandboxId),
  };
}

export type StartConversationActivities = StartPreparationActivities & ReturnType<typeof createSandboxSteps>;
