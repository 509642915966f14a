/** Requests as careful clients send them: with a time limit, to whichever API answers. */
import { startTasksOf } from '../../cli/client/start-stream.js';
import type { StartTask } from '../../contract/start-task.js';
import type { Books } from './books.js';
import type { Cluster } from './cluster.js';
import type { Injected } from './faults.js';

/** What came of a request. */
export interface Reply {
  /** Null: there was no answer. */
  status: number | null;
  body: unknown;
}

export interface ChaosClient {
  /** @param kind under which it is counted */
  send(kind: string, method: string, path: string, options?: RequestOptions): Promise<Reply>;
  /** Starts by stream: the tasks that came, however it ended. */
  stream(body: unknown, headers: Record<string, string>): Promise<{ tasks: StartTask[]; reply: Reply }>;
}

export interface RequestOptions {
  body?: unknown;
  headers?: Record<string, string>;
}

/**
 * Far above every limit that the server sets itself: an answer that is not there by then never comes. A stream lasts as
 * long as its start, and is read for this long.
 */
const LIMIT_MS = 60_000;

export function createChaosClient(
  cluster: Pick<Cluster, 'urls'>,
  books: Books,
  injected: readonly Injected[],
): ChaosClient {
  let turn = 0;

  /** Whether an API was frozen at any time since then: then silence is its own. */
  const wasFrozen = (since: number): boolean =>
    injected.some(({ kind, until }) => kind === 'api frozen' && until >= since);

  function judge(kind: string, what: string, reply: Reply, retryAfter: string | null, since: number): void {
    const { status } = reply;
    const text = typeof reply.body === 'string' ? reply.body : JSON.stringify(reply.body);
    if (status === null) {
      const took = Date.now() - since;
      books.count(kind, 'unanswered');
      if (took >= LIMIT_MS && !wasFrozen(since))
        books.hangs.push(`${what}: no answer within ${took / 1000} s`);
    } else if (status < 300) {
      books.count(kind, 'done');
    } else if (status < 500) {
      books.count(kind, 'refused');
    } else {
      books.count(kind, 'unavailable');
      const ownOutage = status === 503 && /does not answer/.test(text);
      if (status !== 502 && status !== 503) books.wrongAnswers.push(`${what}: ${status} ${text}`);
      if (ownOutage && retryAfter === null) books.wrongAnswers.push(`${what}: 503 without Retry-After`);
    }
  }

  async function request(
    method: string,
    path: string,
    { body, headers = {} }: RequestOptions,
  ): Promise<Response> {
    const url = cluster.urls[turn++ % cluster.urls.length] ?? '';
    return fetch(`${url}${path}`, {
      method,
      headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
      body: body === undefined ? null : JSON.stringify(body),
      signal: AbortSignal.timeout(LIMIT_MS),
    });
  }

  return {
    async send(kind, method, path, options = {}) {
      const since = Date.now();
      const reply: Reply = { status: null, body: null };
      let retryAfter: string | null = null;
      try {
        const response = await request(method, path, options);
        const text = await response.text();
        retryAfter = response.headers.get('retry-after');
        reply.body = parsed(text);
        reply.status = response.status;
      } catch (error) {
        reply.body = String(error);
      }
      judge(kind, `${method} ${path}`, reply, retryAfter, since);
      return reply;
    },
    async stream(body, headers) {
      const since = Date.now();
      const reply: Reply = { status: null, body: null };
      const tasks: StartTask[] = [];
      let retryAfter: string | null = null;
      try {
        const path = '/api/v1/app-conversations/stream-start';
        const response = await request('POST', path, { body, headers });
        retryAfter = response.headers.get('retry-after');
        if (response.ok && response.body)
          for await (const task of startTasksOf(response.body)) tasks.push(task);
        else reply.body = parsed(await response.text());
        reply.status = response.status;
      } catch (error) {
        reply.body = String(error);
        // What came before the stream broke is as good as an answer.
        if (tasks.length > 0) reply.status = 200;
      }
      judge('start by stream', 'stream-start', reply, retryAfter, since);
      return { tasks, reply };
    },
  };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return text;
    throw error;
  }
}
