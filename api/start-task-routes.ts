import { z } from 'zod';
import { HexUuid, PageLimit, pageOf, WireDateTime } from '../contract/primitives.js';
import { StartTaskSchema } from '../contract/start-task.js';
import { START_TASK_ORDERS, type StartTaskReadModel } from '../db/start-task-read-model.js';
import { visibleUserIds } from '../identity/user-context.js';
import { HttpError } from './http-error.js';
import type { RetryCommand } from './retry-command.js';
import { route, type RouteDefinition } from './route.js';
import { streamStartTasks, type StartTaskStreamDeps } from './start-task-stream.js';

const BATCH_LIMIT = 100;

const Filter = z.object({
  conversation_id__eq: HexUuid.optional(),
  created_at__gte: WireDateTime.optional(),
});

const toFilter = (query: z.output<typeof Filter>) => ({
  conversationId: query.conversation_id__eq,
  createdAtGte: query.created_at__gte,
});

/** Questions about starts (contract 3.6). */
export function startTaskRoutes({
  tasks,
  retry,
  stream,
}: {
  tasks: Pick<StartTaskReadModel, 'search' | 'count' | 'batch'>;
  retry: RetryCommand;
  stream: StartTaskStreamDeps;
}): RouteDefinition[] {
  return [
    route({
      method: 'post',
      path: '/api/v1/app-conversations/start-tasks/{task_id}/retry',
      summary: 'Try a start again that ended in ERROR; answers with the new start task',
      tag: 'Start tasks',
      guard: 'user',
      limit: 'start',
      params: z.object({ task_id: HexUuid }),
      responses: {
        200: {
          description: 'The start task that takes its place; the same one however often this is sent.',
          schema: StartTaskSchema,
        },
        404: { description: 'There is no such start task.' },
        409: { description: 'It did not end in ERROR, or what it needs is gone.' },
        503: { description: 'The workflow service does not answer; nothing was started.' },
      },
      handle: ({ params, user }) => retry(params.task_id, user),
    }),
    route({
      method: 'get',
      path: '/api/v1/app-conversations/start-tasks/stream',
      summary:
        'Follow start tasks as server-sent events: those with these ids until they end, or all of the user',
      tag: 'Start tasks',
      guard: 'user',
      query: z.object({ ids: z.array(HexUuid).optional() }),
      responses: {
        200: {
          description:
            'Events `start-task` with a start task each, and `end` after the last of the ids; taken up again with `Last-Event-ID`.',
          schema: z.string(),
          contentType: 'text/event-stream',
        },
        400: { description: 'Too many ids.' },
        404: { description: 'None of the ids is a start task.' },
      },
      async handle({ query, user, request, response }) {
        if (query.ids && query.ids.length > BATCH_LIMIT) throw tooMany(query.ids.length);
        await streamStartTasks({ request, response, user, ids: query.ids ?? null }, stream);
        return undefined;
      },
    }),
    route({
      method: 'get',
      path: '/api/v1/app-conversations/start-tasks/search',
      summary: 'List start tasks',
      tag: 'Start tasks',
      guard: 'user',
      isPolled: true,
      query: Filter.extend({
        sort_order: z.enum(START_TASK_ORDERS).optional(),
        page_id: z.string().optional(),
        limit: PageLimit,
      }),
      responses: { 200: { description: 'A page of start tasks.', schema: pageOf(StartTaskSchema) } },
      handle: async ({ query, user }) =>
        tasks.search(await visibleUserIds(user), toFilter(query), {
          limit: query.limit,
          pageId: query.page_id,
          order: query.sort_order,
        }),
    }),
    route({
      method: 'get',
      path: '/api/v1/app-conversations/start-tasks/count',
      summary: 'Count start tasks',
      tag: 'Start tasks',
      guard: 'user',
      query: Filter,
      responses: { 200: { description: 'How many match.', schema: z.int() } },
      handle: async ({ query, user }) => tasks.count(await visibleUserIds(user), toFilter(query)),
    }),
    route({
      method: 'get',
      path: '/api/v1/app-conversations/start-tasks',
      summary: 'Get start tasks by id, null for each that is not there',
      tag: 'Start tasks',
      guard: 'user',
      isPolled: true,
      query: z.object({ ids: z.array(HexUuid) }),
      responses: {
        200: { description: 'In the order of the ids.', schema: z.array(StartTaskSchema.nullable()) },
        400: { description: 'Too many ids.' },
      },
      async handle({ query, user }) {
        if (query.ids.length > BATCH_LIMIT) throw tooMany(query.ids.length);
        return tasks.batch(await visibleUserIds(user), query.ids);
      },
    }),
  ];
}

const tooMany = (count: number): HttpError =>
  new HttpError(400, `Cannot request more than ${BATCH_LIMIT} start tasks at once, got ${count}`);
