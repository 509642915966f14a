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
  /**
   * Has a sandbox pause for another one of its user, unless something happens in it.
   * @param reason shown to its user
   * @returns false when it goes on
   */
  makeWay(
    sandbox: { id: string; status: SandboxStatus; hostId: string | null },
    reason: string,
  ): Promise<boolean>;
  /** Tells what was seen of the thing behind the sandbox. */
  observe(
    sandboxId: string,
    observation: {
      state: 'running' | 'paused' | 'gone' | 'silent' | 'answering';
      exitCode?: number | null;
      /** Which launched thing was seen. */
      thing?: string;
      /** What the row says, where it has said something else for a while. */
      row?: SandboxStatus;
    },
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
const PAUSE = 'pause';

/** How long a sandbox may take to give way, a boot that is under way in it included, in milliseconds. */
const MAKE_WAY_MS = 60_000;

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

  const startOf = (state: { sandboxId: string; status: SandboxStatus; hostId?: string }) =>
    new WithStartWorkflowOperation(SANDBOX, {
      workflowId: sandboxWorkflowId(state.sandboxId),
      taskQueue,
      args: [state],
      workflowIdConflictPolicy: 'USE_EXISTING',
    });

  return {
    async ensureRunning(sandboxId, requester, abort) {
      try {
        await client.connection.withAbortSignal(abort, () =>
          client.workflow.executeUpdateWithStart(ENSURE_RUNNING, {
            updateId: requester,
            startWorkflowOperation: startOf({ sandboxId, status: 'STARTING' }),
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

    async makeWay({ id, status, hostId }, reason) {
      try {
        const now = await client.withDeadline(Date.now() + MAKE_WAY_MS, () =>
          client.workflow.executeUpdateWithStart(PAUSE, {
            args: [{ onlyIfIdle: true, reason }],
            startWorkflowOperation: startOf({
              sandboxId: id,
              status,
              ...(hostId === null ? {} : { hostId }),
            }),
          }),
        );
        return now !== 'RUNNING';
      } catch (err) {
        if (!(err instanceof WorkflowUpdateFailedError && err.cause instanceof ApplicationFailure)) throw err;
        return err.cause.type === 'SandboxStatusConflict'; // in ERROR, MISSING or deleted: it does not run
      }
    },

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
