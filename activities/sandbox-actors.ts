import {
  isGrpcServiceError,
  WithStartWorkflowOperation,
  WorkflowNotFoundError,
  WorkflowUpdateFailedError,
  type Client,
} from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import { sandboxWorkflowId, TASK_QUEUE } from '../contract/ids.js';

/** Orders from activities to sandboxes' actors. */
export interface SandboxActors {
  /**
   * Resolves when the sandbox is RUNNING.
   * @param requester makes the order idempotent: repeated for the same requester, it is the same order.
   * @throws ApplicationFailure, non-retryable, with the reason when the sandbox cannot run.
   */
  ensureRunning(sandboxId: string, requester: string, signal: AbortSignal): Promise<void>;
  /** Leaves the order to delete; returns when it is durable. */
  requestDelete(sandboxId: string): Promise<void>;
  /** Leaves the order to pause. */
  requestPause(sandboxId: string): Promise<void>;
  /** Tells what was seen of the thing behind the sandbox. */
  observe(
    sandboxId: string,
    observation: { state: 'running' | 'paused' | 'gone'; exitCode?: number | null },
  ): Promise<void>;
}

/** Workflow type and message names; the definitions live in `workflows/messages.ts`, which activities do not import. */
const SANDBOX = 'sandbox';
const ENSURE_RUNNING = 'ensureRunning';

/** gRPC codes of a server that takes no more for now: RESOURCE_EXHAUSTED. */
const OVERLOADED = new Set<number>([8]);

export function createSandboxActors(client: Client): SandboxActors {
  const signal = async (sandboxId: string, name: string, args: unknown[] = []): Promise<void> => {
    try {
      await client.workflow.getHandle(sandboxWorkflowId(sandboxId)).signal(name, ...args);
    } catch (err) {
      if (err instanceof WorkflowNotFoundError) return; // its life is over already
      throw err;
    }
  };

  return {
    async ensureRunning(sandboxId, requester, abort) {
      const state = { sandboxId, status: 'STARTING' };
      try {
        await client.connection.withAbortSignal(abort, () =>
          client.workflow.executeUpdateWithStart(ENSURE_RUNNING, {
            updateId: requester,
            startWorkflowOperation: new WithStartWorkflowOperation(SANDBOX, {
              workflowId: sandboxWorkflowId(sandboxId),
              taskQueue: TASK_QUEUE,
              args: [state],
              workflowIdConflictPolicy: 'USE_EXISTING',
            }),
          }),
        );
      } catch (err) {
        if (err instanceof WorkflowUpdateFailedError && err.cause instanceof ApplicationFailure) {
          throw ApplicationFailure.nonRetryable(err.cause.message, err.cause.type ?? 'SandboxNotRunning');
        }
        if (isGrpcServiceError(err) && OVERLOADED.has(err.code)) {
          throw ApplicationFailure.retryable('many starts wait for this sandbox at once', 'SandboxBusy');
        }
        throw err;
      }
    },
    requestDelete: (sandboxId) => signal(sandboxId, 'delete'),
    requestPause: (sandboxId) => signal(sandboxId, 'pause'),
    observe: (sandboxId, observation) => signal(sandboxId, 'observed', [observation]),
  };
}
