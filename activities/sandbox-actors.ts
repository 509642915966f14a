import {
  isGrpcServiceError,
  WithStartWorkflowOperation,
  WorkflowNotFoundError,
  WorkflowUpdateFailedError,
  type Client,
} from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import { sandboxIdOf, sandboxWorkflowId, TASK_QUEUE } from '../contract/ids.js';
import type { SandboxStatus } from '../contract/sandbox.js';

/** Orders from activities to sandboxes' actors. */
export interface SandboxActors {
  /**
   * Resolves when the sandbox is RUNNING.
   * @param requester makes the order idempotent: repeated for the same requester, it is the same order.
   * @throws ApplicationFailure, non-retryable, with the reason when the sandbox cannot run.
   */
  ensureRunning(sandboxId: string, requester: string, signal: AbortSignal): Promise<void>;
  /**
   * Leaves the order to delete; returns when it is durable. Where there is no actor, one comes to life for it: it
   * finds out what there is, removes it and marks the row.
   */
  requestDelete(sandboxId: string): Promise<void>;
  /** Leaves the order to pause. */
  requestPause(sandboxId: string): Promise<void>;
  /** Tells what was seen of the thing behind the sandbox. */
  observe(
    sandboxId: string,
    observation: { state: 'running' | 'paused' | 'gone'; exitCode?: number | null },
  ): Promise<void>;
  /** Gives a sandbox without actor one that goes on where its row stands; one that lives is left alone. */
  revive(sandbox: { id: string; status: SandboxStatus; hostId: string | null }): Promise<void>;
  /** Ids of the sandboxes with a living actor, by a view of Temporal's that may be some seconds old. */
  living(): AsyncIterable<string>;
  /** Whether this one lives right now. */
  lives(sandboxId: string): Promise<boolean>;
}

/** Workflow type and message names; the definitions live in `workflows/messages.ts`, which activities do not import. */
const SANDBOX = 'sandbox';
const ENSURE_RUNNING = 'ensureRunning';
const DELETE = 'delete';

/** gRPC codes of a server that takes no more for now: RESOURCE_EXHAUSTED. */
const OVERLOADED = new Set<number>([8]);

export function createSandboxActors(client: Client, taskQueue = TASK_QUEUE): SandboxActors {
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
              taskQueue,
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

    async requestDelete(sandboxId) {
      const workflowId = sandboxWorkflowId(sandboxId);
      try {
        await client.workflow.getHandle(workflowId).signal(DELETE);
      } catch (err) {
        if (!(err instanceof WorkflowNotFoundError)) throw err;
        // The actor deals with this order before it thinks of booting.
        await client.workflow.signalWithStart(SANDBOX, {
          workflowId,
          taskQueue,
          args: [{ sandboxId, status: 'STARTING' }],
          signal: DELETE,
          workflowIdReusePolicy: 'ALLOW_DUPLICATE',
        });
      }
    },

    requestPause: (sandboxId) => signal(sandboxId, 'pause'),
    observe: (sandboxId, observation) => signal(sandboxId, 'observed', [observation]),

    async revive({ id, status, hostId }) {
      await client.workflow.start(SANDBOX, {
        workflowId: sandboxWorkflowId(id),
        taskQueue,
        args: [{ sandboxId: id, status, ...(hostId === null ? {} : { hostId }) }],
        workflowIdConflictPolicy: 'USE_EXISTING',
        workflowIdReusePolicy: 'ALLOW_DUPLICATE',
      });
    },

    async *living() {
      const query = `WorkflowType = '${SANDBOX}' AND ExecutionStatus = 'Running'`;
      for await (const { workflowId } of client.workflow.list({ query })) yield sandboxIdOf(workflowId);
    },

    async lives(sandboxId) {
      try {
        const { status } = await client.workflow.getHandle(sandboxWorkflowId(sandboxId)).describe();
        return status.name === 'RUNNING';
      } catch (err) {
        if (err instanceof WorkflowNotFoundError) return false;
        throw err;
      }
    },
  };
}
