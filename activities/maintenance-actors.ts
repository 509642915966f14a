import { WorkflowNotFoundError, type Client } from '@temporalio/client';
import { conversationWorkflowId, startTaskWorkflowId, TASK_QUEUE } from '../contract/ids.js';
import { workflowState, type WorkflowState } from './workflow-state.js';

/** What maintenance asks of, and tells, the actors of starts and conversations. */
export interface MaintenanceActors {
  startState(taskId: string): Promise<WorkflowState>;
  conversationState(conversationId: string): Promise<WorkflowState>;
  /** Cancels a start under way; one that has ended is left alone. */
  cancelStart(taskId: string): Promise<void>;
  /** Has a conversation work off its queue. */
  wakeConversation(conversationId: string): Promise<void>;
  /** Has a conversation, whose row is marked, removed wherever else something of it lies. */
  deleteConversation(conversationId: string): Promise<void>;
}

/** Workflow type and signals; the definitions live in `workflows/messages.ts`, which activities do not import. */
const CONVERSATION = 'conversation';
const CALLBACKS_QUEUED = 'callbacksQueued';
const DELETED = 'deleted';

export function createMaintenanceActors(
  client: Pick<Client, 'workflow'>,
  taskQueue = TASK_QUEUE,
): MaintenanceActors {
  const tell = async (conversationId: string, signal: string): Promise<void> => {
    await client.workflow.signalWithStart(CONVERSATION, {
      workflowId: conversationWorkflowId(conversationId),
      taskQueue,
      args: [{ conversationId }],
      signal,
      workflowIdReusePolicy: 'ALLOW_DUPLICATE',
    });
  };
  return {
    startState: (taskId) => workflowState(client, startTaskWorkflowId(taskId)),
    conversationState: (conversationId) => workflowState(client, conversationWorkflowId(conversationId)),
    async cancelStart(taskId) {
      try {
        await client.workflow.getHandle(startTaskWorkflowId(taskId)).cancel();
      } catch (err) {
        if (!(err instanceof WorkflowNotFoundError)) throw err;
      }
    },
    wakeConversation: (conversationId) => tell(conversationId, CALLBACKS_QUEUED),
    deleteConversation: (conversationId) => tell(conversationId, DELETED),
  };
}
