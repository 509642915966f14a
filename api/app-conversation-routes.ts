import { z } from 'zod';
import { AppConversation } from '../contract/conversation.js';
import { hexId, isUuid } from '../contract/ids.js';
import {
  HexUuid,
  PageLimit,
  pageOf,
  QueryBoolean,
  Success,
  SUCCESS,
  WireDateTime,
} from '../contract/primitives.js';
import type { ConversationFilter, ConversationReadModel } from '../db/conversation-read-model.js';
import { visibleUserIds } from '../identity/user-context.js';
import { ConversationPatch, type ConversationCommands } from './conversation-commands.js';
import type { ConversationViews } from './conversation-view.js';
import { HttpError, notFound } from './http-error.js';
import { route, type RouteDefinition } from './route.js';

const BATCH_LIMIT = 100;

const Filter = z.object({
  title__contains: z.string().optional(),
  created_at__gte: WireDateTime.optional(),
  created_at__lt: WireDateTime.optional(),
  updated_at__gte: WireDateTime.optional(),
  updated_at__lt: WireDateTime.optional(),
  sandbox_id__eq: z.string().optional(),
  include_sub_conversations: QueryBoolean.default(false),
});

const toFilter = (query: z.output<typeof Filter>): ConversationFilter => ({
  titleContains: query.title__contains,
  createdAtGte: query.created_at__gte,
  createdAtLt: query.created_at__lt,
  updatedAtGte: query.updated_at__gte,
  updatedAtLt: query.updated_at__lt,
  sandboxId: query.sandbox_id__eq,
  includeSubConversations: query.include_sub_conversations,
});

export interface AppConversationRouteDeps {
  conversations: Pick<ConversationReadModel, 'search' | 'count' | 'batch'>;
  views: ConversationViews;
  commands: ConversationCommands;
}

/** Conversations: search, count, batch, change, delete (contract 3.2, 3.7, 3.8). */
export function appConversationRoutes(deps: AppConversationRouteDeps): RouteDefinition[] {
  return [...queryRoutes(deps), ...commandRoutes(deps)];
}

function queryRoutes({ conversations, views }: AppConversationRouteDeps): RouteDefinition[] {
  return [
    route({
      method: 'get',
      path: '/api/v1/app-conversations/search',
      summary: 'List conversations, newest first',
      tag: 'Conversations',
      guard: 'user',
      isPolled: true,
      query: Filter.extend({ page_id: z.string().optional(), limit: PageLimit }),
      responses: { 200: { description: 'A page of conversations.', schema: pageOf(AppConversation) } },
      async handle({ query, user }) {
        const { records, nextPageId } = await conversations.search(
          await visibleUserIds(user),
          toFilter(query),
          {
            limit: query.limit,
            pageId: query.page_id,
          },
        );
        return { items: await views.list(user, records), next_page_id: nextPageId };
      },
    }),
    route({
      method: 'get',
      path: '/api/v1/app-conversations/count',
      summary: 'Count the conversations that search lists',
      tag: 'Conversations',
      guard: 'user',
      query: Filter,
      responses: { 200: { description: 'How many match.', schema: z.int() } },
      handle: async ({ query, user }) => conversations.count(await visibleUserIds(user), toFilter(query)),
    }),
    route({
      method: 'get',
      path: '/api/v1/app-conversations',
      summary: 'Get conversations by id, null for each that is not there',
      tag: 'Conversations',
      guard: 'user',
      isPolled: true,
      query: z.object({ ids: z.array(z.string().meta({ format: 'uuid' })) }),
      responses: {
        200: { description: 'In the order of the ids.', schema: z.array(AppConversation.nullable()) },
        400: { description: 'Too many ids, or some that are no UUIDs.' },
      },
      async handle({ query: { ids }, user }) {
        if (ids.length > BATCH_LIMIT) {
          throw new HttpError(400, `Too many ids requested. Maximum is ${BATCH_LIMIT}.`);
        }
        const malformed = ids.filter((id) => !isUuid(id));
        if (malformed.length > 0) {
          const quoted = malformed.map((id) => `'${id}'`).join(', ');
          throw new HttpError(400, `Invalid UUID format for ids: [${quoted}]`);
        }
        return views.aligned(user, await conversations.batch(await visibleUserIds(user), ids.map(hexId)));
      },
    }),
  ];
}

function commandRoutes({ views, commands }: AppConversationRouteDeps): RouteDefinition[] {
  return [
    route({
      method: 'patch',
      path: '/api/v1/app-conversations/{conversation_id}',
      summary: 'Change a conversation; absent members stay, null clears',
      tag: 'Conversations',
      guard: 'user',
      params: z.object({ conversation_id: HexUuid }),
      body: ConversationPatch,
      responses: {
        200: { description: 'The conversation afterwards.', schema: AppConversation },
        400: { description: 'A value cannot be right.' },
        403: { description: 'It belongs to another member of the organization.' },
        404: { description: 'There is no such conversation.' },
      },
      async handle({ params, body, user }) {
        const changed = await commands.patch(user, params.conversation_id, body);
        if (!changed) throw notFound('unknown_app_conversation');
        return views.one(user, changed);
      },
    }),
    route({
      method: 'delete',
      path: '/api/v1/app-conversations/{conversation_id}',
      summary: 'Delete a conversation with its sub-conversations',
      tag: 'Conversations',
      guard: 'user',
      params: z.object({ conversation_id: z.string() }),
      responses: {
        200: { description: 'It is gone; its agent and sandbox are being removed.', schema: Success },
        400: { description: 'The id is no UUID.' },
        403: { description: 'It belongs to another member of the organization.' },
        404: { description: 'There is no such conversation.' },
      },
      async handle({ params: { conversation_id: id }, user }) {
        if (!isUuid(id)) throw new HttpError(400, 'Invalid conversation ID format');
        if (!(await commands.delete(user, hexId(id)))) throw notFound('Conversation not found');
        return SUCCESS;
      },
    }),
  ];
}
