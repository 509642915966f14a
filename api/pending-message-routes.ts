/** Messages for conversations that are being started or are paused (contract 3.14). */
import { z } from 'zod';
import { ContentBlock } from '../contract/content.js';
import { wireDate } from '../contract/dates.js';
import { hexId, isUuid } from '../contract/ids.js';
import { PendingMessageInfo, PendingMessageReceipt } from '../contract/pending-message.js';
import { Success, SUCCESS } from '../contract/primitives.js';
import type { PendingMessage } from '../db/pending-message-row.js';
import type { PendingMessageRepository } from '../db/pending-message-repository.js';
import type { UserContext } from '../identity/user-context.js';
import { HttpError, notFound } from './http-error.js';
import { readIdempotencyKey } from './idempotency-key.js';
import {
  addresseeOf,
  addresseeOfTask,
  queueOwner,
  unknownConversation,
  type AddresseeDeps,
} from './message-addressee.js';
import type { MessageQueue } from './message-queue.js';
import { route, type RouteDefinition } from './route.js';
import type { RequestValidationError } from './validation-error.js';

export interface PendingMessageRouteDeps extends AddresseeDeps {
  queue: Pick<MessageQueue, 'enqueue'>;
  messages: Pick<PendingMessageRepository, 'undelivered' | 'remove'>;
}

const PATH = '/api/v1/conversations/{conversation_id}/pending-messages';
const TAG = 'Pending messages';

/** The id of a conversation in any spelling, or `task-` and the id of the start task that leads to it. */
const Addressed = z.object({ conversation_id: z.string() });

const NewPendingMessage = z.object({
  role: z.literal('user').default('user'),
  content: z.array(ContentBlock).min(1),
});

const TASK = 'task-';

/** Which of the two an id is, as hex; null for what is neither. */
function readAddress(id: string): { taskId: string } | { conversationId: string } | null {
  const isTask = id.startsWith(TASK);
  const uuid = isTask ? id.slice(TASK.length) : id;
  if (!isUuid(uuid)) return null;
  return isTask ? { taskId: hexId(uuid) } : { conversationId: hexId(uuid) };
}

export function pendingMessageRoutes(deps: PendingMessageRouteDeps): RouteDefinition[] {
  const { queue, messages } = deps;

  const addressed = (user: UserContext, id: string) => {
    const address = readAddress(id);
    if (!address) throw unknownConversation(id);
    return 'taskId' in address
      ? addresseeOfTask(deps, user, address.taskId)
      : addresseeOf(deps, user, address.conversationId);
  };

  const owned = (user: UserContext, id: string) => {
    const address = readAddress(id);
    if (!address) throw unknownConversation(id);
    return queueOwner(deps, user, address, id);
  };

  return [
    route({
      method: 'post',
      path: PATH,
      summary: 'Queue a message for a conversation that is being started or is paused',
      tag: TAG,
      guard: 'user',
      params: Addressed,
      body: NewPendingMessage,
      refuseBody,
      responses: {
        201: { description: 'It is stored and will be delivered.', schema: PendingMessageReceipt },
        400: { description: 'The body is not a message.' },
        404: { description: 'There is no such conversation or start.' },
        409: { description: 'The start of the conversation has failed.' },
        410: { description: 'The sandbox no longer exists.' },
        413: { description: 'The messages that wait are too large together.' },
        429: { description: 'Too many messages wait for this conversation.' },
        503: { description: 'The sandbox is in an error state or has no address.' },
      },
      async handle({ params, body, user, request }) {
        const { conversationId } = await addressed(user, params.conversation_id);
        const { id, position } = await queue.enqueue({
          conversationId,
          content: body.content,
          run: true,
          idempotencyKey: readIdempotencyKey(request),
        });
        return { id, queued: true, position } satisfies z.infer<typeof PendingMessageReceipt>;
      },
    }),
    route({
      method: 'get',
      path: PATH,
      summary: 'List the messages of a conversation that were not delivered',
      tag: TAG,
      guard: 'user',
      params: Addressed,
      responses: {
        200: {
          description: 'In the order in which they will be delivered.',
          schema: z.object({ items: z.array(PendingMessageInfo) }),
        },
        404: { description: 'There is no such conversation or start.' },
      },
      async handle({ params, user }) {
        const { conversationId, failure } = await owned(user, params.conversation_id);
        return { items: listed(await messages.undelivered(conversationId), failure) };
      },
    }),
    route({
      method: 'delete',
      path: `${PATH}/{message_id}`,
      summary: 'Take a message back that was not delivered',
      tag: TAG,
      guard: 'user',
      params: Addressed.extend({ message_id: z.string() }),
      responses: {
        200: { description: 'It will not be delivered.', schema: Success },
        404: { description: 'There is no such message, or it is delivered or on its way.' },
      },
      async handle({ params, user }) {
        const { conversationId } = await owned(user, params.conversation_id);
        const { message_id: id } = params;
        if (!isUuid(id) || !(await messages.remove(conversationId, id.toLowerCase()))) {
          throw notFound('There is no such message, or it is delivered or on its way.');
        }
        return SUCCESS;
      },
    }),
  ];
}

/** @param failure why the start has failed for which all of them wait; null when that is not so */
function listed(pending: readonly PendingMessage[], failure: string | null): PendingMessageInfo[] {
  let position = 0;
  return pending.map(({ id, status, detail, content, createdAt }) => ({
    id,
    position: status === 'waiting' ? ++position : null,
    status,
    detail: status === 'waiting' && failure !== null ? failure : detail,
    role: 'user' as const,
    content,
    created_at: wireDate(createdAt),
  }));
}

/** This route tells what is wrong with a body in words of its own, with 400. */
function refuseBody({ detail }: RequestValidationError): HttpError {
  const [first] = detail;
  const [, member, ...inside] = first?.loc ?? [];
  if (!first || first.type === 'json_invalid' || typeof member !== 'string') {
    return new HttpError(400, 'Invalid request body');
  }
  if (member === 'role') return new HttpError(400, 'Only messages of the role user are accepted.');
  if (inside.length === 0) return new HttpError(400, 'content must be a non-empty list');
  return new HttpError(400, `Invalid content format: ${inside.join('.')}: ${first.msg}`);
}
