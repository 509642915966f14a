import type { Logger } from 'pino';
import { z } from 'zod';
import { AgentServerError } from '../agent-server/errors.js';
import { SendMessageRequest } from '../contract/content.js';
import { dashedId } from '../contract/ids.js';
import { HexUuid } from '../contract/primitives.js';
import { SandboxStatus } from '../contract/sandbox.js';
import type {
  ConversationReadModel,
  ListedConversation,
  SandboxOfConversation,
} from '../db/conversation-read-model.js';
import type { SandboxRepository } from '../db/sandbox-repository.js';
import { visibleUserIds, type UserContext } from '../identity/user-context.js';
import type { AgentServerAccess } from './agent-server-access.js';
import { requireAuthor } from './authorship.js';
import { HttpError, notFound } from './http-error.js';
import { route, type RouteDefinition } from './route.js';

/** A message waits for a running tool call, which may take minutes; 30 s lose messages that did arrive. */
const MESSAGE_LIMIT_MS = 120_000;

export interface SendMessageDeps {
  conversations: Pick<ConversationReadModel, 'read'>;
  agentServers: Pick<AgentServerAccess, 'of'>;
  sandboxes: Pick<SandboxRepository, 'touch'>;
  logger: Pick<Logger, 'warn'>;
}

const MessageDelivered = z.object({
  success: z.literal(true),
  sandbox_status: SandboxStatus,
  message: z.string().nullable(),
});

/** Hands a message to the agent of a conversation; the legacy routes call it too. */
export type SendMessage = (
  user: UserContext,
  conversationId: string,
  message: SendMessageRequest,
) => Promise<void>;

/** @returns a function that throws {HttpError} as the contract's table says (3.9) */
export function createSendMessage(deps: SendMessageDeps): SendMessage {
  return async (user, conversationId, message) => {
    const listed = await deps.conversations.read(await visibleUserIds(user), conversationId);
    if (!listed) throw notFound(`Conversation ${dashedId(conversationId)} not found`);
    requireAuthor(user, listed.conversation.createdByUserId, 'conversation');
    refuseUnlessRunning(listed);
    const agentServer = await deps.agentServers.of(listed);
    if (!agentServer) throw new HttpError(503, 'No agent server URL found for sandbox.');
    // Before the message: the sandbox must not be paused for idleness while it is under way.
    await deps.sandboxes.touch(listed.sandbox.id);
    try {
      await agentServer.sendMessage(dashedId(conversationId), message, { timeoutMs: MESSAGE_LIMIT_MS });
    } catch (error) {
      if (!(error instanceof AgentServerError)) throw error;
      deps.logger.warn({ err: error, conversationId }, 'a message could not be delivered');
      throw new HttpError(
        502,
        error.status === null ? 'Failed to reach agent server.' : `Agent server error: ${error.status}`,
      );
    }
  };
}

function refuseUnlessRunning({ conversation, sandbox }: ListedConversation): void {
  if (!sandbox.known) throw notFound(`Sandbox not found for conversation ${dashedId(conversation.id)}`);
  const refusal = refusalOf(sandbox);
  if (refusal) throw refusal;
}

function refusalOf({ id, status }: SandboxOfConversation): HttpError | null {
  switch (status) {
    case 'RUNNING':
      return null;
    case 'MISSING':
      return new HttpError(410, 'Conversation is archived. The sandbox no longer exists.');
    case 'ERROR':
      return new HttpError(503, 'Sandbox is in an error state and cannot accept messages.');
    case 'STARTING':
    case 'PAUSED':
      return new HttpError(
        409,
        `Sandbox is ${status}. Use POST /api/v1/sandboxes/${id}/resume to resume it first.`,
      );
  }
}

/** Sending a message (contract 3.9). */
export function sendMessageRoutes({ sendMessage }: { sendMessage: SendMessage }): RouteDefinition[] {
  return [
    route({
      method: 'post',
      path: '/api/v1/app-conversations/{conversation_id}/send-message',
      summary: 'Send a message to the agent of a conversation',
      tag: 'Conversations',
      guard: 'user',
      params: z.object({ conversation_id: HexUuid }),
      body: SendMessageRequest,
      responses: {
        200: { description: 'Delivered.', schema: MessageDelivered },
        403: { description: 'It belongs to another member of the organization.' },
        404: { description: 'There is no such conversation, or no record of its sandbox.' },
        409: { description: 'The sandbox is paused or starting.' },
        410: { description: 'The sandbox no longer exists.' },
        502: { description: 'The agent-server refused the message or could not be reached.' },
        503: { description: 'The sandbox is in an error state or has no address.' },
      },
      async handle({ params, body, user }) {
        await sendMessage(user, params.conversation_id, body);
        return { success: true, sandbox_status: 'RUNNING', message: null } satisfies z.infer<
          typeof MessageDelivered
        >;
      },
    }),
  ];
}
