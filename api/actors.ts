/** Everything the API asks of the actors. No call waits for ever: Temporal that does not answer becomes a 503. */
import {
  isGrpcServiceError,
  ServiceError,
  WithStartWorkflowOperation,
  WorkflowExecutionAlreadyStartedError,
  WorkflowNotFoundError,
  WorkflowUpdateFailedError,
  WorkflowUpdateRPCTimeoutOrCancelledError,
  type Client,
} from '@temporalio/client';
import { ApplicationFailure, defineSearchAttributeKey, SearchAttributeType } from '@temporalio/common';
import { randomUUID } from 'node:crypto';
import {
  conversationWorkflowId,
  sandboxWorkflowId,
  startTaskWorkflowId,
  TASK_QUEUE,
} from '../contract/ids.js';
import type { SandboxOrder, SandboxStatus } from '../contract/sandbox.js';
import {
  acceptedUpdate,
  CONVERSATION_WORKFLOW,
  conversationDeletedSignal,
  SANDBOX_WORKFLOW,
  sandboxAcceptedUpdate,
  sandboxSignal,
  sandboxUpdate,
  START_CONVERSATION_WORKFLOW,
  type ConversationInput,
  type SandboxState,
  type StartConversationInput,
} from '../workflows/messages.js';
import { HttpError } from './http-error.js';

/** For operators (`temporal workflow list`); not encrypted, so it holds the id and nothing more. */
const CALLBOARD_USER_ID = defineSearchAttributeKey('CallboardUserId', SearchAttributeType.KEYWORD);

/** What an order needs to know of a sandbox: enough to bring its actor back should it be gone. */
export interface OrderedSandbox {
  id: string;
  status: SandboxStatus;
  hostId: string | null;
  createdByUserId: string | null;
}

/** Limits in milliseconds. */
export interface ActorDeadlines {
  /** Until an actor has taken something on. */
  accept: number;
  /** Until an order has been carried out; afterwards the actor goes on alone. */
  obey: number;
}

export interface ActorSettings {
  taskQueue?: string;
  deadlines?: Partial<ActorDeadlines>;
}

export interface Actors {
  /**
   * Starts the workflow of a staged request, or joins it, and waits until the start task is stored.
   * @throws {HttpError} 503 when that is not certain
   */
  startConversation(taskId: string, userId: string | null): Promise<void>;
  /** Cancels a start under way; one that has ended is left alone. */
  cancelStart(taskId: string): Promise<void>;
  /** Starts the actor of a new sandbox, whose row exists. */
  startSandbox(sandboxId: string, userId: string | null): Promise<void>;
  /**
   * Gives an order that survives any restart.
   * @param until `accepted` answers when it is certain to be carried out, `obeyed` waits for that as long as the deadline allows
   * @throws {HttpError} 409 when the sandbox's state does not allow it, 503 when it could not be given
   */
  order(sandbox: OrderedSandbox, order: SandboxOrder, until: 'accepted' | 'obeyed'): Promise<void>;
  /** Has a conversation, whose row is marked, removed wherever else something of it lies. */
  deleteConversation(conversationId: string): Promise<void>;
}

export function createActors(
  client: Pick<Client, 'workflow' | 'withDeadline'>,
  { taskQueue = TASK_QUEUE, deadlines }: ActorSettings = {},
): Actors {
  const limits: ActorDeadlines = { accept: 10_000, obey: 15_000, ...deadlines };

  /** Calls Temporal within a limit; its outages become 503, everything else stays what it is. */
  const within = async <Result>(ms: number, call: () => Promise<Result>): Promise<Result> => {
    try {
      return await client.withDeadline(Date.now() + ms, call);
    } catch (error) {
      throw isOutage(error) ? unavailable(error) : error;
    }
  };

  const sandboxStart = (state: SandboxState, userId: string | null) =>
    new WithStartWorkflowOperation(SANDBOX_WORKFLOW, {
      workflowId: sandboxWorkflowId(state.sandboxId),
      taskQueue,
      args: [state],
      workflowIdConflictPolicy: 'USE_EXISTING',
      workflowIdReusePolicy: 'ALLOW_DUPLICATE',
      typedSearchAttributes: ofUser(userId),
    });

  async function postOrder(sandbox: OrderedSandbox, order: SandboxOrder, updateId: string) {
    const update = sandboxUpdate(order);
    try {
      return await client.workflow
        .getHandle(sandboxWorkflowId(sandbox.id))
        .startUpdate(update, { waitForStage: 'ACCEPTED', updateId });
    } catch (error) {
      if (!(error instanceof WorkflowNotFoundError)) throw error;
      // Somebody ended the actor by hand: the row says where it stood, and a new one goes on from there.
      const state: SandboxState = {
        sandboxId: sandbox.id,
        status: sandbox.status,
        ...(sandbox.hostId === null ? {} : { hostId: sandbox.hostId }),
      };
      return client.workflow.startUpdateWithStart(update, {
        waitForStage: 'ACCEPTED',
        updateId,
        startWorkflowOperation: sandboxStart(state, sandbox.createdByUserId),
      });
    }
  }

  return {
    async startConversation(taskId, userId) {
      const input: StartConversationInput = { taskId };
      try {
        await within(limits.accept, () =>
          client.workflow.executeUpdateWithStart(acceptedUpdate, {
            updateId: taskId,
            startWorkflowOperation: new WithStartWorkflowOperation(START_CONVERSATION_WORKFLOW, {
              workflowId: startTaskWorkflowId(taskId),
              taskQueue,
              args: [input],
              workflowIdConflictPolicy: 'USE_EXISTING',
              // A start that has ended is never started again: its row is the answer.
              workflowIdReusePolicy: 'REJECT_DUPLICATE',
              typedSearchAttributes: ofUser(userId),
            }),
          }),
        );
      } catch (error) {
        if (error instanceof WorkflowExecutionAlreadyStartedError) return; // it ran to its end in the meantime
        if (error instanceof WorkflowUpdateFailedError || error instanceof WorkflowNotFoundError) {
          throw unavailable(error);
        }
        throw error;
      }
    },

    async cancelStart(taskId) {
      try {
        await within(limits.accept, () => client.workflow.getHandle(startTaskWorkflowId(taskId)).cancel());
      } catch (error) {
        if (!(error instanceof WorkflowNotFoundError)) throw error;
      }
    },

    async startSandbox(sandboxId, userId) {
      await within(limits.accept, () =>
        client.workflow.executeUpdateWithStart(sandboxAcceptedUpdate, {
          updateId: `accepted/${sandboxId}`,
          startWorkflowOperation: sandboxStart({ sandboxId, status: 'STARTING' }, userId),
        }),
      );
    },

    async order(sandbox, order, until) {
      const updateId = randomUUID();
      try {
        const posted = await within(limits.accept, () => postOrder(sandbox, order, updateId));
        if (until === 'obeyed') await client.withDeadline(Date.now() + limits.obey, () => posted.result());
      } catch (error) {
        if (error instanceof WorkflowUpdateFailedError) throw refusal(error);
        if (until === 'obeyed' && isOutage(error)) return; // accepted, and carried out without us
        if (!(error instanceof HttpError) || error.status !== 503) throw error;
        // No worker took the update, which is then nowhere; a signal waits in the history for one.
        await within(limits.accept, () =>
          client.workflow.getHandle(sandboxWorkflowId(sandbox.id)).signal(sandboxSignal(order)),
        );
      }
    },

    async deleteConversation(conversationId) {
      const input: ConversationInput = { conversationId };
      await within(limits.accept, () =>
        client.workflow.signalWithStart(CONVERSATION_WORKFLOW, {
          workflowId: conversationWorkflowId(conversationId),
          taskQueue,
          args: [input],
          signal: conversationDeletedSignal,
          workflowIdReusePolicy: 'ALLOW_DUPLICATE',
        }),
      );
    },
  };
}

const ofUser = (userId: string | null) =>
  userId === null ? [] : [{ key: CALLBOARD_USER_ID, value: userId }];

/** gRPC codes of a service that is away or overloaded: CANCELLED, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, UNAVAILABLE. */
const OUTAGE_CODES = new Set([1, 4, 8, 14]);

/** Temporal, or every worker, did not answer in time. */
function isOutage(error: unknown): boolean {
  if (error instanceof WorkflowUpdateRPCTimeoutOrCancelledError) return true;
  const grpc = error instanceof ServiceError ? error.cause : error;
  return isGrpcServiceError(grpc) && OUTAGE_CODES.has(grpc.code);
}

/** 503 that asks the client to come back. */
const unavailable = (cause: unknown): HttpError =>
  Object.assign(
    new HttpError(503, 'The workflow service does not answer; try again in a few seconds.', undefined, {
      'Retry-After': '5',
    }),
    { cause },
  );

/** An order that the actor's state does not allow; its own words are meant for people. */
function refusal(error: WorkflowUpdateFailedError): unknown {
  const { cause } = error;
  if (!(cause instanceof ApplicationFailure)) return error;
  const status = cause.type === 'SandboxStatusConflict' ? 409 : 500;
  return new HttpError(status, cause.message);
}
