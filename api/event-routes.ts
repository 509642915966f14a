import type { Response } from 'express';
import { z } from 'zod';
import { AgentEvent, EventKind, EventSortOrder } from '../contract/event.js';
import { HexUuid, noDateTime, PageLimit, pageOf } from '../contract/primitives.js';
import type { EventStore } from '../events/event-store.js';
import { parseEventTimestamp } from '../events/event-timestamp.js';
import { visibleUserIds, type UserContext } from '../identity/user-context.js';
import { HttpError } from './http-error.js';
import { route, type RouteDefinition } from './route.js';

const BATCH_LIMIT = 100;

/** A time to the microsecond, in the form that the event store compares. */
const EventDateTime = z
  .string()
  .transform((value, context) => parseEventTimestamp(value) ?? noDateTime(context, value));

const Filter = z.object({
  kind__eq: EventKind.optional(),
  timestamp__gte: EventDateTime.optional(),
  timestamp__lt: EventDateTime.optional(),
});
type Filter = z.output<typeof Filter>;

const Paging = z.object({
  sort_order: EventSortOrder.default('TIMESTAMP'),
  page_id: z.string().optional(),
  limit: PageLimit,
});
type Paging = z.output<typeof Paging>;

const Ids = z.object({ id: z.array(z.string()) });
/** The 2025-11 form: without it, all conversations that the caller may see. */
const AnyConversation = z.object({ conversation_id__eq: HexUuid.optional() });
/** The 1.11 form. */
const OneConversation = z.object({ conversation_id: HexUuid });

export interface EventRouteDeps {
  events: Pick<EventStore, 'search' | 'count' | 'batch'>;
}

/** Events: search, count, batch, in both forms that clients know (contract 4). */
export function eventRoutes({ events }: EventRouteDeps): RouteDefinition[] {
  return [...searchRoutes(events), ...countRoutes(events), ...batchRoutes(events)];
}

const queryOf = async (user: UserContext, conversationId: string | null, filter: Filter) => ({
  users: await visibleUserIds(user),
  conversationId,
  kind: filter.kind__eq,
  timestampGte: filter.timestamp__gte,
  timestampLt: filter.timestamp__lt,
});

function searchRoutes(events: EventRouteDeps['events']): RouteDefinition[] {
  const search = async (
    response: Response,
    user: UserContext,
    conversationId: string | null,
    query: Filter & Paging,
  ): Promise<undefined> => {
    const page = await events.search(await queryOf(user, conversationId, query), {
      sortOrder: query.sort_order,
      limit: query.limit,
      pageId: query.page_id,
    });
    return sendText(
      response,
      `{"items":[${page.items.join(',')}],"next_page_id":${JSON.stringify(page.next_page_id)}}`,
    );
  };
  const declared = {
    method: 'get',
    summary: 'List events in order of time',
    tag: 'Events',
    guard: 'user',
    responses: {
      200: { description: 'A page of events, as the agent sent them.', schema: pageOf(AgentEvent) },
    },
  } as const;
  return [
    route({
      ...declared,
      path: '/api/v1/events/search',
      query: AnyConversation.extend(Filter.shape).extend(Paging.shape),
      handle: ({ query, user, response }) => search(response, user, query.conversation_id__eq ?? null, query),
    }),
    route({
      ...declared,
      path: '/api/v1/conversation/{conversation_id}/events/search',
      params: OneConversation,
      query: Filter.extend(Paging.shape),
      handle: ({ params, query, user, response }) => search(response, user, params.conversation_id, query),
    }),
  ];
}

function countRoutes(events: EventRouteDeps['events']): RouteDefinition[] {
  const declared = {
    method: 'get',
    summary: 'Count the events that search lists',
    tag: 'Events',
    guard: 'user',
    responses: { 200: { description: 'How many match.', schema: z.int() } },
  } as const;
  return [
    route({
      ...declared,
      path: '/api/v1/events/count',
      query: AnyConversation.extend(Filter.shape),
      handle: async ({ query, user }) =>
        events.count(await queryOf(user, query.conversation_id__eq ?? null, query)),
    }),
    route({
      ...declared,
      path: '/api/v1/conversation/{conversation_id}/events/count',
      params: OneConversation,
      query: Filter,
      handle: async ({ params, query, user }) =>
        events.count(await queryOf(user, params.conversation_id, query)),
    }),
  ];
}

function batchRoutes(events: EventRouteDeps['events']): RouteDefinition[] {
  const batch = async (
    response: Response,
    user: UserContext,
    conversationId: string | null,
    ids: readonly string[],
  ): Promise<undefined> => {
    if (ids.length > BATCH_LIMIT) {
      throw new HttpError(400, `Cannot request more than ${BATCH_LIMIT} events at once, got ${ids.length}`);
    }
    // What no event can be called is null like everything else that is not there.
    const known = ids.map((id) => (AgentEvent.shape.id.safeParse(id).success ? id : ''));
    const found = await events.batch(conversationId, await visibleUserIds(user), known);
    return sendText(response, `[${found.map((json) => json ?? 'null').join(',')}]`);
  };
  const declared = {
    method: 'get',
    summary: 'Get events by id, null for each that is not there',
    tag: 'Events',
    guard: 'user',
    responses: {
      200: { description: 'In the order of the ids.', schema: z.array(AgentEvent.nullable()) },
      400: { description: 'Too many ids.' },
    },
  } as const;
  return [
    route({
      ...declared,
      path: '/api/v1/events',
      query: Ids,
      handle: ({ query, user, response }) => batch(response, user, null, query.id),
    }),
    route({
      ...declared,
      path: '/api/v1/conversation/{conversation_id}/events',
      params: OneConversation,
      query: Ids,
      handle: ({ params, query, user, response }) => batch(response, user, params.conversation_id, query.id),
    }),
  ];
}

/** Events go out as the text they came in: nothing is parsed or printed anew. */
function sendText(response: Response, json: string): undefined {
  const body = Buffer.from(json);
  response.status(200);
  response.setHeader('Content-Type', 'application/json');
  response.setHeader('Content-Length', body.length);
  response.end(body);
}
