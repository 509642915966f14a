import type { Request } from 'express';
import { z } from 'zod';
import { SendMessageRequest } from '../contract/content.js';
import { HexUuid } from '../contract/primitives.js';
import { SandboxStatus } from '../contract/sandbox.js';
import type { UserContext } from '../identity/user-context.js';
import { HttpError } from './http-error.js';
import { readIdempotencyKey } from './idempotency-key.js';
import { addresseeOf, type AddresseeDeps } from './message-addressee.js';
import type { MessageQueue } from './message-queue.js';
import { route, type RouteDefinition } from './route.js';

/** How long a client waits for a message to be taken: as long as the reference's own limit, in milliseconds. */
const DELIVERY_LIMIT_MS = 30_000;

export interface SendMessageDeps extends AddresseeDeps {
  queue: MessageQueue;
  /** Replaces the limit in tests, in milliseconds. */
  limitMs?: number;
}

const MessageReceipt = z.object({
  success: z.literal(true),
  sandbox_status: SandboxStatus,
  /** Null when the agent-server has it, else where it is. */
  message: z.string().nullable(),
});
export type MessageReceipt = z.infer<typeof MessageReceipt>;

/** Hands a message to the agent of a conversation; the legacy routes call it too. */
export type SendMessage = (
  user: UserContext,
  conversationId: string,
  message: SendMessageRequest,
  idempotencyKey?: string | null,
) => Promise<MessageReceipt>;

/**
 * Every message goes through the queue of its conversation: so none overtakes another, and none is lost or doubled,
 * whatever fails. Where the sandbox runs the answer waits for the agent-server's; where it does not it is resumed, and
 * the answer says so at once.
 * @returns a function that throws {HttpError} as the contract's table says (3.9)
 */
export function createSendMessage({
  queue,
  limitMs = DELIVERY_LIMIT_MS,
  ...deps
}: SendMessageDeps): SendMessage {
  return async (user, conversationId, { content, run }, idempotencyKey = null) => {
    const { sandboxStatus } = await addresseeOf(deps, user, conversationId);
    const { id } = await queue.enqueue({ conversationId, content, run, idempotencyKey });
    if (sandboxStatus !== 'RUNNING') {
      const message =
        sandboxStatus === 'STARTING'
          ? 'The sandbox is starting: the message is queued and will be delivered.'
          : 'The sandbox is being resumed: the message is queued and will be delivered.';
      return { success: true, sandbox_status: sandboxStatus, message };
    }
    const outcome = await queue.outcome(id, limitMs);
    if (outcome?.status === 'failed')
      throw new HttpError(502, outcome.detail ?? 'Failed to reach agent server.');
    const waits = outcome?.status === 'waiting';
    return {
      success: true,
      sandbox_status: 'RUNNING',
      message: waits ? 'The agent is busy: the message is queued and will be delivered.' : null,
    };
  };
}

/** Why a message that is well-formed is not taken, whichever route it comes by. */
export const MESSAGE_REFUSALS = {
  409: { description: 'The start of the conversation has failed.' },
  410: { description: 'The sandbox no longer exists.' },
  413: { description: 'The messages that wait are too large together.' },
  429: { description: 'Too many messages wait for this conversation.' },
  502: { description: 'The agent-server refused the message.' },
  503: { description: 'The sandbox is in an error state or has no address.' },
} as const;

/** Sending a message (contract 3.9). */
export function sendMessageRoutes({ sendMessage }: { sendMessage: SendMessage }): RouteDefinition[] {
  return [
    route({
      method: 'post',
      path: '/api/v1/app-conversations/{conversation_id}/send-message',
      summary: 'Send a message to the agent of a conversation; a paused sandbox is resumed for it',
      tag: 'Conversations',
      guard: 'user',
      params: z.object({ conversation_id: HexUuid }),
      body: SendMessageRequest,
      responses: {
        200: { description: 'Delivered, or queued as `message` says.', schema: MessageReceipt },
        404: { description: 'There is no such conversation, or no record of its sandbox.' },
        ...MESSAGE_REFUSALS,
      },
      handle: ({
        params,
        body,
        user,
        request,
      }: {
        params: { conversation_id: string };
        body: SendMessageRequest;
        user: UserContext;
        request: Request;
      }) => sendMessage(user, params.conversation_id, body, readIdempotencyKey(request)),
    }),
  ];
}
