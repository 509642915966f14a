/** Everything the API asks of the actors. No call waits for ever; what is thrown becomes an answer in `errors.ts`. */
import {
  WithStartWorkflowOperation,
  WorkflowExecutionAlreadyStartedError,
  WorkflowNotFoundError,
  WorkflowUpdateFailedError,
  type Client,
} from '@temporalio/client';
import {
  ApplicationFailure,
  defineSearchAttributeKey,
  SearchAttributeType,
  type SignalDefinition,
} from '@temporalio/common';
import { randomUUID } from 'node:crypto';
import {
  conversationWorkflowId,
  sandboxWorkflowId,
  startTaskWorkflowId,
  TASK_QUEUE,
} from '../contract/ids.js';
import type { SandboxOrder, SandboxStatus } from '../contract/sandbox.js';
import {
  CONVERSATION_WORKFLOW,
  conversationDeletedSignal,
  requestedUpdate,
  runEndedSignal,
  SANDBOX_WORKFLOW,
  sandboxAcceptedUpdate,
  sandboxSignal,
  START_CONVERSATION_WORKFLOW,
  type ConversationInput,
  type PauseRequest,
  type SandboxState,
  type StartConversationInput,
} from '../workflows/messages.js';
import { isTemporalOutage } from './outages.js';

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
  /** Until a start is certain: of many at once on a busy machine the last one waits for all others, and is no failure. */
  start: number;
  /** Until an order has been carried out; afterwards the actor goes on alone. */
  obey: number;
}

export interface ActorSettings {
  taskQueue?: string;
  deadlines?: Partial<ActorDeadlines>;
}

export interface Actors {
  /**
   * Starts the workflow of a staged request, or joins it; returns when it is certain to be carried out. Whatever is
   * thrown means that this is not certain.
   */
  startConversation(taskId: string, userId: string | null): Promise<void>;
  /** Cancels a start under way; one that has ended is left alone. */
  cancelStart(taskId: string): Promise<void>;
  /** Starts the actor of a new sandbox, whose row exists. */
  startSandbox(sandboxId: string, userId: string | null): Promise<void>;
  /**
   * Gives an order that survives any restart.
   * @param until `accepted` answers when it is certain to be carried out, `obeyed` waits for that as long as the deadline allows
   * @throws WorkflowUpdateFailedError with `SandboxStatusConflict` when the sandbox's state does not allow it
   */
  order(sandbox: OrderedSandbox, order: SandboxOrder, until: 'accepted' | 'obeyed'): Promise<void>;
  /**
   * Has a sandbox pause for another one of its user, unless something happens in it.
   * @param reason shown to its user
   * @returns false when it goes on; true also when it is certain to be paused as soon as it idles after its boot
   */
  makeWay(sandbox: OrderedSandbox, reason: string): Promise<boolean>;
  /** Has a conversation, whose row is marked, removed wherever else something of it lies. */
  deleteConversation(conversationId: string): Promise<void>;
  /** Tells that a run has ended: the time to fetch what webhooks have lost. */
  runEnded(conversationId: string): Promise<void>;
}

export function createActors(
  client: Pick<Client, 'workflow' | 'withDeadline'>,
  { taskQueue = TASK_QUEUE, deadlines }: ActorSettings = {},
): Actors {
  const limits: ActorDeadlines = {
    accept: 10_000,
    start: deadlines?.accept ?? 25_000,
    obey: 15_000,
    ...deadlines,
  };

  const within = <Result>(ms: number, call: () => Promise<Result>): Promise<Result> =>
    client.withDeadline(Date.now() + ms, call);

  const sandboxStart = (state: SandboxState, userId: string | null) =>
    new WithStartWorkflowOperation(SANDBOX_WORKFLOW, {
      workflowId: sandboxWorkflowId(state.sandboxId),
      taskQueue,
      args: [state],
      workflowIdConflictPolicy: 'USE_EXISTING',
      workflowIdReusePolicy: 'ALLOW_DUPLICATE',
      typedSearchAttributes: ofUser(userId),
    });

  async function postOrder(sandbox: OrderedSandbox, order: SandboxOrder, request: PauseRequest = {}) {
    const update = requestedUpdate(order);
    const options = {
      waitForStage: 'ACCEPTED',
      updateId: randomUUID(),
      args: [request] as [PauseRequest],
    } as const;
    try {
      return await client.workflow.getHandle(sandboxWorkflowId(sandbox.id)).startUpdate(update, options);
    } catch (error) {
      if (!(error instanceof WorkflowNotFoundError)) throw error;
      // Somebody ended the actor by hand: the row says where it stood, and a new one goes on from there.
      const state: SandboxState = {
        sandboxId: sandbox.id,
        status: sandbox.status,
        ...(sandbox.hostId === null ? {} : { hostId: sandbox.hostId }),
      };
      return client.workflow.startUpdateWithStart(update, {
        ...options,
        startWorkflowOperation: sandboxStart(state, sandbox.createdByUserId),
      });
    }
  }

  async function tellConversation(conversationId: string, signal: SignalDefinition): Promise<void> {
    const input: ConversationInput = { conversationId };
    await within(limits.accept, () =>
      client.workflow.signalWithStart(CONVERSATION_WORKFLOW, {
        workflowId: conversationWorkflowId(conversationId),
        taskQueue,
        args: [input],
        signal,
        workflowIdReusePolicy: 'ALLOW_DUPLICATE',
      }),
    );
  }

  return {
    async startConversation(taskId, userId) {
      const input: StartConversationInput = { taskId };
      try {
        await within(limits.start, () =>
          client.workflow.start(START_CONVERSATION_WORKFLOW, {
            workflowId: startTaskWorkflowId(taskId),
            taskQueue,
            args: [input],
            workflowIdConflictPolicy: 'USE_EXISTING',
            // A start that has ended is never started again: its row is the answer.
            workflowIdReusePolicy: 'REJECT_DUPLICATE',
            typedSearchAttributes: ofUser(userId),
          }),
        );
      } catch (error) {
        if (error instanceof WorkflowExecutionAlreadyStartedError) return; // it ran to its end in the meantime
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
      const posted = await within(limits.accept, () => postOrder(sandbox, order)).catch(
        async (error: unknown) => {
          if (!isTemporalOutage(error)) throw error;
          // No worker took the update, which is then nowhere; a signal waits in the history for one.
          const handle = client.workflow.getHandle(sandboxWorkflowId(sandbox.id));
          await within(limits.accept, () => handle.signal(sandboxSignal(order)));
          return null;
        },
      );
      if (!posted || until === 'accepted') return;
      try {
        await within(limits.obey, () => posted.result());
      } catch (error) {
        if (!isTemporalOutage(error)) throw error; // else: it is accepted, and carried out without us
      }
    },

    async makeWay(sandbox, reason) {
      const posted = await within(limits.accept, () =>
        postOrder(sandbox, 'pause', { onlyIfIdle: true, reason }),
      );
      try {
        return (await within(limits.obey, () => posted.result())) !== 'RUNNING';
      } catch (error) {
        if (isTemporalOutage(error)) return true; // accepted, and carried out without us
        if (!(error instanceof WorkflowUpdateFailedError && error.cause instanceof ApplicationFailure))
          throw error;
        return error.cause.type === 'SandboxStatusConflict'; // in ERROR, MISSING or deleted: it does not run
      }
    },

    deleteConversation: (conversationId) => tellConversation(conversationId, conversationDeletedSignal),
    runEnded: (conversationId) => tellConversation(conversationId, runEndedSignal),
  };
}

const ofUser = (userId: string | null) =>
  userId === null ? [] : [{ key: CALLBOARD_USER_ID, value: userId }];
