import { z } from 'zod';
import { StartRequest, StartTaskSchema } from '../contract/start-task.js';
import { readIdempotencyKey } from './idempotency-key.js';
import { route, type RouteDefinition } from './route.js';
import type { StartCommand } from './start-command.js';
import { streamStart, type StartStreamDeps } from './start-stream.js';

const FAILURES = {
  400: { description: 'Parts of the request do not go together.' },
  403: { description: 'The parent conversation belongs to another member of the organization.' },
  404: { description: 'The parent conversation does not exist.' },
  409: { description: 'The conversation id is taken.' },
  503: { description: 'The workflow service does not answer; nothing was started.' },
};

/** The two ways to start a conversation (contract 3.3, 3.5). */
export function startRoutes({
  start,
  stream,
}: {
  start: StartCommand;
  stream: StartStreamDeps;
}): RouteDefinition[] {
  return [
    route({
      method: 'post',
      path: '/api/v1/app-conversations',
      summary: 'Start a conversation; answers at once with the start task',
      tag: 'Conversations',
      guard: 'user',
      limit: 'start',
      body: StartRequest,
      responses: { 200: { description: 'The start task.', schema: StartTaskSchema }, ...FAILURES },
      handle: ({ body, user, request }) =>
        start({ given: body, idempotencyKey: readIdempotencyKey(request), user }),
    }),
    route({
      method: 'post',
      path: '/api/v1/app-conversations/stream-start',
      summary: 'Start a conversation and stream its start task at each change of status',
      tag: 'Conversations',
      guard: 'user',
      limit: 'start',
      body: StartRequest,
      responses: {
        200: {
          description: 'An array written piece by piece; the last task is READY or ERROR.',
          schema: z.array(StartTaskSchema),
        },
        ...FAILURES,
      },
      async handle({ body, user, request, response }) {
        // Everything that can be refused is refused here, before the stream opens.
        const taskId = await start.taskId({ given: body, idempotencyKey: readIdempotencyKey(request), user });
        await streamStart(response, taskId, stream);
        return undefined;
      },
    }),
  ];
}
