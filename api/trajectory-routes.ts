import type { Response } from 'express';
import { z } from 'zod';
import { dashedId } from '../contract/ids.js';
import { HexUuid } from '../contract/primitives.js';
import type { ConversationReadModel, ListedConversation } from '../db/conversation-read-model.js';
import type { EventStore } from '../events/event-store.js';
import { indentedJson } from '../events/indented-json.js';
import { visibleUserIds } from '../identity/user-context.js';
import { storedMembers } from './conversation-view.js';
import { HttpError, notFound } from './http-error.js';
import { route, type RouteDefinition } from './route.js';
import { streamZip, type ZipEntry } from './zip-stream.js';

export interface TrajectoryRouteDeps {
  conversations: Pick<ConversationReadModel, 'read'>;
  events: Pick<EventStore, 'count' | 'stream'>;
  /** Most events of an archive; 0 sets no limit. */
  maxEvents: number;
}

/** A client that takes nothing for so long is given up, in milliseconds. */
export const STALLED_MS = 120_000;

/** A conversation with all its events as one archive, whatever has become of its sandbox (contract 3.12). */
export function trajectoryRoutes({
  conversations,
  events,
  maxEvents,
}: TrajectoryRouteDeps): RouteDefinition[] {
  /** Conversations of which an archive is under way. */
  const running = new Set<string>();
  return [
    route({
      method: 'get',
      path: '/api/v1/app-conversations/{conversation_id}/download',
      summary: 'Download a conversation and its events as a zip archive',
      tag: 'Conversations',
      guard: 'user',
      params: z.object({ conversation_id: HexUuid }),
      responses: {
        200: {
          description: '`meta.json`, then one file for each event in order of time.',
          contentType: 'application/zip',
          schema: z.string(),
        },
        404: { description: 'There is no such conversation.' },
        409: { description: 'An archive of it is being downloaded already.' },
        413: { description: 'It has more events than an archive may have.' },
      },
      async handle({ params: { conversation_id: id }, user, request, response }) {
        const users = await visibleUserIds(user);
        const listed = await conversations.read(users, id);
        if (!listed) throw notFound(`Conversation not found: ${dashedId(id)}`);
        const query = { users, conversationId: id };
        const total = await events.count(query);
        if (maxEvents > 0 && total > maxEvents) {
          throw new HttpError(
            413,
            `Conversation export contains ${total} events, exceeding the limit of ${maxEvents}`,
          );
        }
        if (running.has(id)) throw new HttpError(409, `Conversation export already running: ${dashedId(id)}`);
        running.add(id);
        try {
          setHeaders(response, `conversation_${dashedId(id)}.zip`);
          if (request.method === 'HEAD') response.end();
          else await send(response, entriesOf(listed, events.stream(query)), listed.conversation.updatedAt);
        } finally {
          running.delete(id);
        }
        return undefined;
      },
    }),
  ];
}

function setHeaders(response: Response, fileName: string): void {
  response.status(200);
  response.setHeader('Content-Type', 'application/zip');
  response.setHeader('Content-Disposition', `attachment; filename="${fileName}"`);
}

async function send(response: Response, entries: AsyncIterable<ZipEntry[]>, modifiedAt: Date): Promise<void> {
  response.setTimeout(STALLED_MS, () => response.destroy());
  try {
    await streamZip(entries, response, modifiedAt);
  } catch (error) {
    // A client that goes away is no failure of the server.
    if (!isClosedByClient(error)) throw error;
  }
}

export const isClosedByClient = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && error.code === 'ERR_STREAM_PREMATURE_CLOSE';

async function* entriesOf(
  listed: ListedConversation,
  events: ReturnType<EventStore['stream']>,
): AsyncGenerator<ZipEntry[]> {
  yield [{ name: 'meta.json', content: JSON.stringify(storedMembers(listed), null, 2) }];
  let place = 0;
  for await (const few of events) {
    yield few.map(({ id, json }) => ({
      name: `event_${String(place++).padStart(6, '0')}_${fileSafe(id)}.json`,
      content: indentedJson(json),
    }));
  }
}

/** Ids are the agent-server's; a name in an archive must lead nowhere. */
const fileSafe = (id: string): string => id.replaceAll(/[^\w-]/g, '_').slice(0, 128);
