/** Start tasks as server-sent events: each at its beginning and after its changes, until the caller has had enough. */
import type { Request, Response } from 'express';
import type { Logger } from 'pino';
import { isTerminal, type StartTask } from '../contract/start-task.js';
import type { VisibleUsers } from '../db/paging.js';
import type { StartTaskReadModel } from '../db/start-task-read-model.js';
import { isUnauthenticated, type AuthStrategy } from '../identity/auth-strategy.js';
import { visibleUserIds, type UserContext } from '../identity/user-context.js';
import { Bell } from './bell.js';
import { HttpError } from './http-error.js';
import type { StreamRegistry } from './start-stream.js';
import type { StartTaskFeed } from './start-task-feed.js';
import { writePiece } from './write-piece.js';

export interface StartTaskStreamDeps {
  tasks: Pick<StartTaskReadModel, 'batch' | 'search'>;
  feed: StartTaskFeed;
  streams: StreamRegistry;
  auth: Pick<AuthStrategy, 'authenticate'>;
  logger: Pick<Logger, 'warn'>;
  /** How often a silent stream says that it lives, and whether its caller is still who they were, in milliseconds; 15 s if left out. */
  heartbeatMs?: number;
}

const HEARTBEAT_MS = 15_000;
/** No start takes longer: older ones that have not ended are nothing that a new stream has to tell. */
const LONGEST_START_MS = 3_600_000;
/** How far before the last event a stream that is taken up again begins: two hosts' clocks need not agree. */
const OVERLAP_MS = 5_000;
const PAGE = 100;
const MOST_PAGES = 10;

/**
 * Streams some tasks until all have ended, or all that the caller may see for as long as they stay. With
 * `Last-Event-ID` it goes on from there; a state may then come twice, the last one of each task never not at all.
 * Changes that follow each other faster than they are read come as one.
 * @param ids hex; null for all
 * @throws {HttpError} 404 when none of the ids is a task that the caller may see
 */
export async function streamStartTasks(
  {
    request,
    response,
    user,
    ids,
  }: { request: Request; response: Response; user: UserContext; ids: readonly string[] | null },
  deps: StartTaskStreamDeps,
): Promise<void> {
  const { tasks, feed, streams } = deps;
  let users = await visibleUserIds(user);
  const wanted = ids === null ? null : new Set(ids);
  const bell = new Bell();
  const waiting = new Map<string, StartTask>();
  const open = new Set(wanted);
  let over = false;
  let missed = false;
  const end = (): void => {
    over = true;
    bell.ring();
  };
  const mayHear = (task: StartTask): boolean =>
    (wanted === null || wanted.has(task.id)) &&
    (users === null || (task.created_by_user_id !== null && users.includes(task.created_by_user_id)));
  const silence = feed.listen({
    changed: (task) => {
      if (!mayHear(task)) return;
      waiting.set(task.id, task);
      bell.ring();
    },
    interrupted: () => {
      missed = true;
      bell.ring();
    },
  });
  const unregister = streams.add(end);
  response.on('close', end);
  const heartbeat = setInterval(() => void beat(), deps.heartbeatMs ?? HEARTBEAT_MS);

  /** Streams end with the session that they were opened in, and see no more than it does now. */
  async function beat(): Promise<void> {
    try {
      users = await visibleUserIds(await deps.auth.authenticate(request.headers));
      if (!over && response.headersSent && response.writableLength === 0) response.write(': still here\n\n');
    } catch (error) {
      if (isUnauthenticated(error)) end();
      else deps.logger.warn({ err: error }, 'the caller of a stream cannot be looked up; trying again');
    }
  }

  try {
    let since = lastEventOf(request);
    const first = wanted ? await some(tasks, users, [...wanted]) : await recent(tasks, users, since);
    if (wanted && first.length === 0) throw new HttpError(404, 'There is no such start task');
    for (const id of [...open]) if (!first.some((task) => task.id === id)) open.delete(id);
    begin(response);
    for (const task of first) if (!waiting.has(task.id)) waiting.set(task.id, task);
    while (!over && !streams.ended) {
      if (missed) {
        missed = false;
        const again = wanted ? await some(tasks, users, [...wanted]) : await recent(tasks, users, since);
        for (const task of again) waiting.set(task.id, task);
      }
      for (const [id, task] of [...waiting]) {
        waiting.delete(id);
        if (over || !mayHear(task)) continue;
        since = Math.max(since ?? 0, Date.parse(task.updated_at));
        await writePiece(response, `id: ${since}\nevent: start-task\ndata: ${JSON.stringify(task)}\n\n`);
        if (isTerminal(task.status)) open.delete(id);
      }
      if (wanted && open.size === 0) {
        await writePiece(response, 'event: end\ndata: {}\n\n');
        break;
      }
      await bell.rung();
    }
    if (!response.destroyed) response.end();
  } finally {
    clearInterval(heartbeat);
    silence();
    unregister();
    response.off('close', end);
  }
}

async function some(
  tasks: StartTaskStreamDeps['tasks'],
  users: VisibleUsers,
  ids: readonly string[],
): Promise<StartTask[]> {
  return (await tasks.batch(users, ids)).filter((task) => task !== null);
}

/** What a new stream has to tell: the starts under way, or what has changed since its last event. Oldest first. */
async function recent(
  tasks: StartTaskStreamDeps['tasks'],
  users: VisibleUsers,
  since: number | null,
): Promise<StartTask[]> {
  const oldest = since === null ? Date.now() - LONGEST_START_MS : since - OVERLAP_MS;
  const found: StartTask[] = [];
  let pageId: string | undefined;
  for (let page = 0; page < MOST_PAGES; page++) {
    const { items, next_page_id } = await tasks.search(
      users,
      {},
      {
        limit: PAGE,
        pageId,
        order: 'UPDATED_AT_DESC',
      },
    );
    const young = items.filter((task) => Date.parse(task.updated_at) >= oldest);
    found.push(...young.filter((task) => since !== null || !isTerminal(task.status)));
    if (young.length < items.length || next_page_id === null) break;
    pageId = next_page_id;
  }
  return found.reverse();
}

/** Milliseconds since 1970; null where there is none, or none of ours. */
function lastEventOf(request: Request): number | null {
  const text = request.get('Last-Event-ID') ?? '';
  return /^\d{1,15}$/.test(text) ? Number(text) : null;
}

function begin(response: Response): void {
  response.status(200);
  response.setHeader('Content-Type', 'text/event-stream');
  response.setHeader('X-Accel-Buffering', 'no'); // a proxy that collects the pieces would hide the progress
  response.write('retry: 1000\n\n');
}
