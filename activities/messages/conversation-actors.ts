import type { Client } from '@temporalio/client';
import { conversationWorkflowId, TASK_QUEUE } from '../../contract/ids.js';

/** News from activities to conversations' actors. */
export interface ConversationActors {
  /** Messages wait in the queue of a conversation (hex): its actor is started if there is none. */
  messagesQueued(conversationId: string): Promise<void>;
}

/** Workflow type and signal; the definitions live in `workflows/messages.ts`, which activities do not import. */
const CONVERSATION = 'conversation';
const MESSAGES_QUEUED = 'messagesQueued';

export const createConversationActors = (
  client: Pick<Client, 'workflow'>,
  taskQueue = TASK_QUEUE,
): ConversationActors => ({
  async messagesQueued(conversationId) {
    await client.workflow.signalWithStart(CONVERSATION, {
      workflowId: conversationWorkflowId(conversationId),
      taskQueue,
      args: [{ conversationId }],
      signal: MESSAGES_QUEUED,
      workflowIdReusePolicy: 'ALLOW_DUPLICATE',
    });
  },
});
