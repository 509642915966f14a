import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { StartTask } from '../../contract/start-task.js';
import { startTasksOf } from '../../cli/client/start-stream.js';
import { startCluster, type Cluster } from '../chaos/cluster.js';
import { recordedAgents } from '../chaos/agent-processes.js';
import { signal } from '../chaos/members.js';
import { readLedger } from '../chaos/snapshot.js';
import { required } from '../support/environment.js';

/** Longer than every limit of the product: what has no answer by then hangs. */
const LIMIT_MS = 40_000;
/** How long everything may take to be as before, on a busy machine. */
const RECOVERY = { timeout: 180_000, interval: 200 };
/** The same where a frozen worker still asks for tasks: each one it is given is given again after 10 to 15 s. */
const TAKEOVER = { timeout: 300_000, interval: 200 };

interface Answer {
  status: number;
  retryAfter: string | null;
  body: unknown;
}

let cluster: Cluster;
let numbers = 0;

beforeAll(async () => {
  cluster = await startCluster({
    hosts: 1,
    temporalCli: required('TEST_TEMPORAL_CLI'),
    realAgentServer: null,
    env: {},
    note: () => undefined,
  });
});
afterAll(async () => {
  await cluster.stop();
  for (const { pid } of recordedAgents(cluster.hostDirectories)) signal(pid, 'SIGKILL');
});

async function call(
  method: string,
  path: string,
  { body, headers = {}, api = 0 }: { body?: unknown; headers?: Record<string, string>; api?: number } = {},
): Promise<Answer> {
  const response = await fetch(`${cluster.urls[api] ?? ''}${path}`, {
    method,
    headers: { 'content-type': 'application/json', ...headers },
    body: body === undefined ? null : JSON.stringify(body),
    signal: AbortSignal.timeout(LIMIT_MS),
  });
  const text = await response.text();
  const json = response.headers.get('content-type')?.startsWith('application/json') ?? false;
  return {
    status: response.status,
    retryAfter: response.headers.get('retry-after'),
    body: json ? JSON.parse(text) : text,
  };
}

const message = (text: string) => ({ role: 'user', content: [{ type: 'text', text }], run: true });
const newKey = () => `outage-${process.pid}-${numbers++}`;
const post = (key: string, api = 0) =>
  call('POST', '/api/v1/app-conversations', {
    body: { initial_message: message(`hello ${key}`) },
    headers: { 'idempotency-key': key },
    api,
  });

/** Sends a start until it is accepted, and waits for its end. */
async function started(key = newKey()): Promise<StartTask> {
  const accepted = await vi.waitFor(async () => {
    const answer = await post(key);
    expect(answer.status, JSON.stringify(answer.body)).toBe(200);
    return answer.body as StartTask;
  }, RECOVERY);
  return ended(accepted.id);
}

const ended = (taskId: string, within = RECOVERY): Promise<StartTask> =>
  vi.waitFor(async () => {
    const { body } = await call('GET', `/api/v1/app-conversations/start-tasks?ids=${taskId}`);
    const [task] = body as [StartTask];
    expect(task.status, task.detail ?? '').toBe('READY');
    return task;
  }, within);

const ready = (api = 0) =>
  vi.waitFor(async () => expect((await call('GET', '/ready', { api })).status).toBe(200), RECOVERY);

/** One route of each kind. */
const REQUESTS: Record<string, () => Promise<Answer>> = {
  'a list': () => call('GET', '/api/v1/app-conversations/search'),
  'one thing': () => call('GET', `/api/v1/app-conversations?ids=${'0'.repeat(32)}`),
  'a search of events': () => call('GET', `/api/v1/conversation/${'0'.repeat(32)}/events/search`),
  'a change of settings': () =>
    call('POST', '/api/v1/settings', { body: { agent_settings_diff: { llm: { model: 'openai/x' } } } }),
  'a start': () => post(newKey()),
  'a streamed start': () =>
    call('POST', '/api/v1/app-conversations/stream-start', { body: { initial_message: message('hello') } }),
  'a new sandbox': () => call('POST', '/api/v1/sandboxes'),
  'an order to a sandbox': () => call('POST', `/api/v1/sandboxes/${'0'.repeat(22)}/pause`),
  'a deletion': () => call('DELETE', `/api/v1/app-conversations/${'0'.repeat(32)}`),
  'a webhook': () =>
    call('POST', `/api/v1/webhooks/events/${'0'.repeat(32)}`, {
      body: [],
      headers: { 'x-session-api-key': 'any' },
    }),
};

async function expectUnavailable(names: readonly string[], part: string): Promise<void> {
  const answers = await Promise.all(names.map(async (name) => [name, await REQUESTS[name]!()] as const));
  for (const [name, { status, retryAfter, body }] of answers) {
    expect(status, `${name}: ${JSON.stringify(body)}`).toBe(503);
    expect(Number(retryAfter), name).toBeGreaterThan(0);
    expect(body, name).toEqual({ detail: expect.stringContaining(part) as string });
  }
  expect(await call('GET', '/health')).toMatchObject({ status: 200 });
  const readiness = await call('GET', '/ready');
  expect(readiness.status).toBe(503);
  expect(JSON.stringify(readiness.body)).toContain(part);
}

describe('while PostgreSQL is', () => {
  const away: Record<string, [() => void, () => void]> = {
    gone: [() => cluster.postgres.stayAway(), () => cluster.postgres.comeBack()],
    frozen: [() => cluster.postgres.freeze(), () => cluster.postgres.thaw()],
  };
  it.each(Object.keys(away))(
    '%s, every route answers 503 in time and says when to come back, and everything goes on by itself afterwards (D34)',
    async (how) => {
      const [leave, comeBack] = away[how]!;
      leave();
      try {
        // A server that is killed leaves processes that may answer once more.
        await vi.waitFor(async () => expect((await REQUESTS['a list']!()).status).toBe(503), RECOVERY);
        await expectUnavailable(Object.keys(REQUESTS), 'database');
      } finally {
        comeBack();
      }
      await ready();
      await started();
    },
    180_000,
  );
});

describe('while Temporal is', () => {
  const away: Record<string, [() => void, () => void]> = {
    gone: [() => cluster.temporal.stayAway(), () => cluster.temporal.comeBack()],
    frozen: [() => cluster.temporal.freeze(), () => cluster.temporal.thaw()],
  };
  it.each(Object.keys(away))(
    '%s, orders answer 503, reads and webhooks go on, and everything goes on by itself afterwards',
    async (how) => {
      const { sandbox_id: box, app_conversation_id: conversation } = await started();
      const key = newKey();
      const [leave, comeBack] = away[how]!;
      leave();
      try {
        const reads = ['a list', 'one thing', 'a search of events', 'a change of settings'];
        const before = await eventCount(conversation!);
        await Promise.all([
          expectUnavailable(['a start', 'a streamed start', 'a new sandbox'], 'workflow service'),
          expect(post(key)).resolves.toMatchObject({ status: 503 }),
          expect(call('POST', `/api/v1/sandboxes/${box}/pause`)).resolves.toMatchObject({ status: 503 }),
          ...reads.map(async (name) => expect((await REQUESTS[name]!()).status, name).toBe(200)),
        ]);
        // The agent works on, and what it says is stored.
        await call('POST', `/api/v1/app-conversations/${conversation}/send-message`, {
          body: message('Go on'),
        });
        await vi.waitFor(
          async () => expect(await eventCount(conversation!)).toBeGreaterThan(before),
          RECOVERY,
        );
      } finally {
        comeBack();
      }
      await ready();
      await started(key);
    },
    180_000,
  );
});

const eventCount = async (conversationId: string): Promise<number> =>
  Number((await call('GET', `/api/v1/conversation/${conversationId}/events/count`)).body);

describe('when the API is killed', () => {
  it('in the middle of a request to start, the same request at another API finds the start, or makes it', async () => {
    const key = newKey();
    const cut = post(key).catch((error: unknown) => error);
    cluster.apis[0]!.kill();
    await cut;
    const first = await vi.waitFor(async () => {
      const answer = await post(key, 1);
      expect(answer.status).toBe(200);
      return answer.body as StartTask;
    }, RECOVERY);
    await ready();
    expect((await post(key)).body).toMatchObject({ id: first.id });
    await ended(first.id);
  });

  it('in the middle of a stream, the start goes on and can be asked for', async () => {
    const response = await fetch(`${cluster.urls[0]}/api/v1/app-conversations/stream-start`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ initial_message: message('hello') }),
    });
    let taskId: string | null = null;
    const broken = (async () => {
      for await (const { id } of startTasksOf(response.body!)) {
        taskId ??= id;
        cluster.apis[0]!.kill();
      }
    })();
    await expect(broken).rejects.toThrow();
    await ready();
    await ended(taskId!);
  });
});

describe('when a worker is frozen for longer than its heartbeats may be late', () => {
  it('the start is taken over, and what the frozen one does afterwards makes nothing twice', async () => {
    const { body } = await post(newKey());
    const { id } = body as StartTask;
    cluster.workers[0]!.freeze();
    try {
      await ended(id, TAKEOVER);
    } finally {
      cluster.workers[0]!.thaw();
    }
    const { sandbox_id: box, app_conversation_id: conversation } = await ended(id);
    const created = readLedger(cluster.ledgerDirectory).filter(
      (line) => line.what === 'created' && line.conversation === conversation,
    );
    expect(created).toMatchObject([{ sandbox: box }]);
  }, 420_000);
});

describe('when an agent-server', () => {
  const statusOf = async (box: string): Promise<string> => {
    const { body } = await call('GET', `/api/v1/sandboxes?id=${box}`);
    return (body as [{ status: string }])[0].status;
  };
  const becomes = (box: string, status: string) =>
    vi.waitFor(async () => expect(await statusOf(box)).toBe(status), RECOVERY);
  const serverOf = (box: string) =>
    recordedAgents(cluster.hostDirectories).find(({ sandboxId }) => sandboxId === box);

  it('is killed while it boots, the start ends READY or says what happened', async () => {
    const { body } = await post(newKey());
    const { id } = body as StartTask;
    await vi.waitFor(async () => {
      const { body: tasks } = await call('GET', `/api/v1/app-conversations/start-tasks?ids=${id}`);
      const box = (tasks as [StartTask])[0].sandbox_id;
      signal(serverOf(box ?? '')!.pid, 'SIGKILL');
    }, RECOVERY);
    const task = await vi.waitFor(async () => {
      const { body: tasks } = await call('GET', `/api/v1/app-conversations/start-tasks?ids=${id}`);
      const [one] = tasks as [StartTask];
      expect(['READY', 'ERROR']).toContain(one.status);
      return one;
    }, RECOVERY);
    if (task.status === 'ERROR') expect(task.detail).toMatch(/agent-server/);
  });

  it('is killed while it runs, its sandbox is MISSING, and comes back with its conversation when resumed', async () => {
    const { sandbox_id: box, app_conversation_id: conversation } = await started();
    signal(serverOf(box!)!.pid, 'SIGKILL');
    await becomes(box!, 'MISSING');
    expect(await call('POST', `/api/v1/sandboxes/${box}/resume`)).toMatchObject({ status: 200 });
    await becomes(box!, 'RUNNING');
    const sent = await call('POST', `/api/v1/app-conversations/${conversation}/send-message`, {
      body: message('Are you there?'),
    });
    expect(sent.status).toBe(200);
  });

  it('is frozen by somebody, its sandbox is PAUSED, and RUNNING again when it is thawed', async () => {
    const { sandbox_id: box } = await started();
    const { pid } = serverOf(box!)!;
    signal(pid, 'SIGSTOP');
    await becomes(box!, 'PAUSED');
    signal(pid, 'SIGCONT');
    await becomes(box!, 'RUNNING');
  });
});
