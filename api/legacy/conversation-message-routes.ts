/** Messages in the forms of older clients (contract 16.6); they go the way of all messages. */
import type { Request } from 'express';
import { z } from 'zod';
import { ContentBlock, SendMessageRequest } from '../../contract/content.js';
import type { UserContext } from '../../identity/user-context.js';
import { HttpError } from '../http-error.js';
import { readIdempotencyKey } from '../idempotency-key.js';
import { route, type RouteDefinition } from '../route.js';
import { MESSAGE_REFUSALS, type SendMessage } from '../send-message-route.js';
import { LEGACY_CONVERSATION, legacyId, LegacyPath, unknown } from './conversation-lookup.js';

/** The form of the older kind; of its actions only messages have a meaning for agents of today. */
const Action = z.object({
  action: z.string(),
  args: z
    .object({ content: z.string().default(''), image_urls: z.array(z.string()).nullish() })
    .default({ content: '' }),
});

const Sent = z.object({
  success: z.literal(true),
  role: z.literal('user'),
  content: z.array(ContentBlock),
});

const common = {
  method: 'post',
  tag: 'Legacy',
  guard: 'user',
  params: LegacyPath,
  responses: {
    200: { description: 'Delivered, or queued while the sandbox starts.', schema: Sent },
    400: { description: 'The id cannot be one, or agents do not know the action.' },
    403: { description: 'It belongs to another member of the organization.' },
    404: { description: 'There is no such conversation.' },
    ...MESSAGE_REFUSALS,
  },
} as const;

export function legacyMessageRoutes({ sendMessage }: { sendMessage: SendMessage }): RouteDefinition[] {
  async function send(
    user: UserContext,
    given: string,
    message: SendMessageRequest,
    request: Request,
  ): Promise<z.infer<typeof Sent>> {
    const id = legacyId(given);
    if (id === null) throw unknown(given);
    await sendMessage(user, id, message, readIdempotencyKey(request));
    return { success: true, role: message.role, content: message.content };
  }
  return [
    route({
      ...common,
      path: `${LEGACY_CONVERSATION}/events`,
      summary: 'Send a message to the agent, in the form of V1 or of older clients',
      body: z.union([Action, SendMessageRequest]),
      handle: ({ params, body, user, request }) =>
        send(user, params.conversation_id, 'action' in body ? messageOf(body) : body, request),
    }),
    route({
      ...common,
      path: `${LEGACY_CONVERSATION}/message`,
      summary: 'Send a text to the agent',
      body: z.object({ message: z.string().min(1) }),
      handle: ({ params, body, user, request }) =>
        send(user, params.conversation_id, userMessage(body.message), request),
    }),
  ];
}

/** @throws {HttpError} 400 for an action that is no message, or one without content */
function messageOf({ action, args }: z.output<typeof Action>): SendMessageRequest {
  if (action !== 'message') {
    throw new HttpError(
      400,
      `The action ${JSON.stringify(action)} is not possible: agents take messages only.`,
    );
  }
  const message = userMessage(args.content, args.image_urls ?? []);
  if (message.content.length === 0) throw new HttpError(400, 'The message is empty: give args.content.');
  return message;
}

const userMessage = (text: string, imageUrls: readonly string[] = []): SendMessageRequest => ({
  role: 'user',
  content: [
    ...(text === '' ? [] : [{ type: 'text' as const, text, cache_prompt: false }]),
    ...(imageUrls.length === 0
      ? []
      : [{ type: 'image' as const, image_urls: [...imageUrls], cache_prompt: false }]),
  ],
  run: true,
});
