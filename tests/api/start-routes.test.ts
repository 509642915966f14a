import { eq, sql } from 'drizzle-orm';
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';
import http from 'node:http';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { startTaskWorkflowId } from '../../contract/ids.js';
import { readStartSecrets } from '../../contract/start-secrets.js';
import { isTerminal, type StartTask } from '../../contract/start-task.js';
import { startRequests, startTasks } from '../../db/schema/index.js';
import { purposes } from '../../identity/vault.js';
import { openApi, type ApiFixture } from '../support/api-fixture.js';
import { STATUSES_OF_A_START } from '../support/fake-phases.js';
import { payloadTexts } from '../support/recorded-payloads.js';
import { insertConversation, newId } from '../support/rows.js';
import { testVault } from '../support/test-vault.js';

let api: ApiFixture;
beforeAll(async () => {
  api = await openApi({ deadlines: { accept: 5_000 } });
});
afterEach(() => {
  api.conduct.held.clear();
  api.conduct.failing = null;
});
afterAll(() => api.close());

const START = '/api/v1/app-conversations';
const STREAM = '/api/v1/app-conversations/stream-start';
const post = (body: object, user = 'ann', headers: Record<string, string> = {}) =>
  api.call<StartTask>('POST', START, { user, body, headers });
const refused = (body: object, path = START, user = 'ann') =>
  api.call<{ detail: string }>('POST', path, { user, body });
const taskOf = async (id: string, user = 'ann') => {
  const { body } = await api.call<(StartTask | null)[]>('GET', `${START}/start-tasks?ids=${id}`, { user });
  return body[0] ?? null;
};
const ended = (id: string, user = 'ann') =>
  vi.waitFor(async () => {
    const task = await taskOf(id, user);
    expect(task && isTerminal(task.status)).toBe(true);
    return task!;
  }, 90_000);
const numberOfRequests = async () => (await api.database.select().from(startRequests)).length;

/** A stream as it comes over the wire. */
interface RawStream {
  status: number;
  headers: http.IncomingHttpHeaders;
  pieces: string[];
  text(): string;
  /** Resolves when the server has ended it. */
  end: Promise<void>;
  hangUp(): void;
}

function openStream(body: object, user = 'ann'): Promise<RawStream> {
  return new Promise((resolve, reject) => {
    const request = http.request(
      `${api.url}${STREAM}`,
      { method: 'POST', headers: { 'content-type': 'application/json', 'x-test-user': user } },
      (response) => {
        const pieces: string[] = [];
        const end = new Promise<void>((ended) => {
          response.on('end', ended);
          response.on('close', ended);
        });
        response.setEncoding('utf8').on('data', (piece: string) => pieces.push(piece));
        response.on('error', () => undefined); // hung up by the test
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          pieces,
          text: () => pieces.join(''),
          end,
          hangUp: () => request.destroy(),
        });
      },
    );
    request.on('error', reject);
    request.end(JSON.stringify(body));
  });
}

describe('a start under way', () => {
  it('holds no database session, however long its phase takes (D37)', async () => {
    api.conduct.held.add('prepareRepository');
    const stream = await openStream({ selected_repository: 'acme/rocket', git_provider: 'github' });
    const { body: task } = await post({});
    await vi.waitFor(
      async () => expect((await taskOf(task.id))?.status).toBe('PREPARING_REPOSITORY'),
      30_000,
    );
    await vi.waitFor(async () => {
      const { rows } = await api.database.execute(sql`
        select count(*)::int as held from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid() and xact_start is not null`);
      expect(rows).toEqual([{ held: 0 }]);
    }, 90_000);
    expect((await taskOf(task.id))?.status).toBe('PREPARING_REPOSITORY');
    api.conduct.held.clear();
    expect((await ended(task.id)).status).toBe('READY');
    await stream.end;
  }, 90_000);
});

describe('POST app-conversations', () => {
  it('answers at once with the stored task in WORKING, which then reaches READY', async () => {
    api.conduct.held.add('prepareRepository');
    const { status, body } = await post({ title: 'kept as sent' });
    expect(status).toBe(200);
    expect(body).toMatchObject({
      created_by_user_id: 'ann',
      status: 'WORKING',
      detail: null,
      app_conversation_id: null,
      request: { title: 'kept as sent', conversation_id: null },
    });
    expect(body.created_at).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?Z$/); // D29
    expect(body.id).toMatch(/^[0-9a-f]{32}$/);
    api.conduct.held.clear();
    const task = await ended(body.id);
    expect(task.status).toBe('READY');
    expect(task.app_conversation_id).toMatch(/^[0-9a-f]{32}$/);
  });

  it('takes every member away from nobody: the request comes back as it was sent, in the order of the contract', async () => {
    const { body } = await post({
      public: true,
      initial_message: { content: [{ type: 'image_url', image_url: { url: 'data:,x' } }] },
      pr_number: [3],
    });
    expect(body.request).toMatchObject({
      public: true,
      pr_number: [3],
      initial_message: { role: 'user', content: [{ type: 'image', image_urls: ['data:,x'] }], run: false },
    });
    expect(Object.keys(body).slice(0, 4)).toEqual(['id', 'created_by_user_id', 'status', 'detail']);
    const { app_conversation_id: id } = await ended(body.id);
    const { body: conversation } = await api.call<{ public: boolean }[]>('GET', `${START}?ids=${id}`, {
      user: 'ann',
    });
    expect(conversation[0]?.public).toBe(true); // D30
  });

  it('keeps secrets masked in answers and encrypted at rest until the start has ended', async () => {
    api.conduct.held.add('prepareRepository');
    const { body } = await post({ secrets: { TOKEN: 'very secret value' } });
    expect(body.request.secrets).toEqual({ TOKEN: '**********' });
    const stored = async () =>
      (await api.database.select().from(startRequests).where(eq(startRequests.id, body.id)))[0];
    const row = await stored();
    expect(JSON.stringify(row)).not.toContain('very secret value');
    expect(await testVault.open(purposes.startSecrets(body.id), row!.secrets!)).toBe(
      '{"TOKEN":"very secret value"}',
    );
    api.conduct.held.clear();
    await ended(body.id);
    expect((await stored())?.secrets).toBeNull();
  });

  it('keeps what plugins are given, and credentials in their addresses, encrypted apart from the request', async () => {
    api.conduct.held.add('prepareRepository');
    const plugins = [
      { source: 'https://bot:pass-of-the-bot@git.example/one', parameters: { key: 'value-for-one' } },
    ];
    const { body } = await post({ plugins });
    expect(body.request.plugins).toMatchObject([
      { source: 'https://**********@git.example/one', parameters: { key: '**********' } },
    ]);
    const [row] = await api.database.select().from(startRequests).where(eq(startRequests.id, body.id));
    expect(JSON.stringify(row)).not.toMatch(/pass-of-the-bot|value-for-one/);
    const opened = await testVault.open(purposes.startSecrets(body.id), row!.secrets!);
    expect(readStartSecrets(opened).plugins).toMatchObject(plugins);
    api.conduct.held.clear();
    await ended(body.id);
  });

  it.each([START, STREAM])(
    'refuses what cannot be started at %s before anything is stored or streamed (D26, D27)',
    async (path) => {
      const before = await numberOfRequests();
      const task = {
        git_provider: 'github',
        task_type: 'OPEN_ISSUE',
        repo: 'o/r',
        issue_number: 1,
        title: 't',
      };
      const parent = newId();
      const missing = await refused({ parent_conversation_id: parent }, path);
      expect(missing).toMatchObject({
        status: 404,
        body: { detail: `Parent conversation not found: ${parent}` },
      });
      expect(missing.headers.get('content-type')).toBe('application/json');
      const both = { suggested_task: task, initial_message: { content: [{ type: 'text', text: 'x' }] } };
      expect((await refused(both, path)).status).toBe(400);
      expect((await refused({ suggested_task: { ...task, task_type: 'OPEN_PR' } }, path)).status).toBe(400);
      expect((await refused({ processors: [{ kind: 'Unheard' }] }, path)).status).toBe(422);
      expect((await refused({ secrets: { LLM_KEY: 'x' } }, path)).status).toBe(422);
      const foreign = await insertConversation(api.database, { createdByUserId: 'bob' });
      expect((await refused({ parent_conversation_id: foreign }, path)).status).toBe(404); // D7
      expect((await refused({ conversation_id: foreign }, path)).status).toBe(409);
      expect(await numberOfRequests()).toBe(before);
    },
  );

  it('sent twice with the same conversation id is one task, however the id is spelled', async () => {
    const id = newId();
    const dashed = `${id.slice(0, 8)}-${id.slice(8, 12)}-${id.slice(12, 16)}-${id.slice(16, 20)}-${id.slice(20)}`;
    const [first, second] = await Promise.all([
      post({ conversation_id: id }),
      post({ conversation_id: dashed.toUpperCase() }),
    ]);
    expect(second.body.id).toBe(first.body.id);
    expect(first.body.request.conversation_id).toBe(dashed);
    const task = await ended(first.body.id);
    expect(task.app_conversation_id).toBe(id);
    expect(task.sandbox_id).toBe(id); // a new sandbox takes the id that the client chose
    const again = await post({ conversation_id: id });
    expect(again.body).toEqual(task); // its end is not begun anew
    expect((await refused({ conversation_id: id }, START, 'bob')).status).toBe(409);
  });

  it('sent twice with the same Idempotency-Key is one task, for that user alone', async () => {
    const key = { 'Idempotency-Key': `key ${newId()}` };
    const first = await post({ secrets: { A: '1' } }, 'ann', key);
    expect((await post({ title: null, secrets: { A: '2' } }, 'ann', key)).body.id).toBe(first.body.id);
    expect((await post({}, 'bob', key)).body.id).not.toBe(first.body.id);
    expect((await post({}, 'ann', { 'Idempotency-Key': 'x'.repeat(256) })).status).toBe(400);
  });

  it('refuses an Idempotency-Key that comes with another request (RFC draft: 422), and starts nothing', async () => {
    const key = { 'Idempotency-Key': `key ${newId()}` };
    const first = await post({ title: 'one' }, 'ann', key);
    const before = await numberOfRequests();
    for (const path of [START, STREAM]) {
      const { status, body } = await api.call<{ detail: string }>('POST', path, {
        user: 'ann',
        body: { title: 'two' },
        headers: key,
      });
      expect(status).toBe(422);
      expect(body.detail).toContain(first.body.id);
    }
    expect(await numberOfRequests()).toBe(before);
  });

  it.each(['Idempotency-Key', 'conversation_id'])(
    'sent twenty times at once with one %s, to both routes, is one task with one sandbox',
    async (what) => {
      const id = newId();
      const body = what === 'conversation_id' ? { conversation_id: id } : {};
      const headers: Record<string, string> = what === 'conversation_id' ? {} : { [what]: id };
      const ids = await Promise.all(
        Array.from({ length: 20 }, async (_, number) => {
          const path = number % 2 === 0 ? START : STREAM;
          const answer = await api.call<StartTask | StartTask[]>('POST', path, {
            user: 'ann',
            body,
            headers,
          });
          expect(answer.status).toBe(200);
          return Array.isArray(answer.body) ? answer.body[0]?.id : answer.body.id;
        }),
      );
      expect(new Set(ids).size).toBe(1);
      const { sandbox_id: box } = await ended(ids[0]!);
      const made = await api.database.select().from(startTasks).where(eq(startTasks.sandboxId, box!));
      expect(made).toHaveLength(1);
    },
  );

  it('goes on at once with a request whose API process was killed before it began the start', async () => {
    const key = `key ${newId()}`;
    const working = api.actors.startConversation.bind(api.actors);
    api.actors.startConversation = () => new Promise(() => undefined); // killed: never heard of again
    void post({ title: 'mine' }, 'ann', { 'Idempotency-Key': key }).catch(() => undefined);
    await vi.waitFor(async () => {
      const rows = await api.database
        .select()
        .from(startRequests)
        .where(eq(startRequests.idempotencyKey, key));
      expect(rows).toHaveLength(1);
    }, 90_000);
    api.actors.startConversation = working;
    const { status, body } = await post({ title: 'mine' }, 'ann', { 'Idempotency-Key': key });
    expect(status).toBe(200);
    expect((await ended(body.id)).status).toBe('READY');
  });

  it('takes up a conversation id again whose start failed', async () => {
    api.conduct.failing = 'prepareSkills';
    const conversation_id = newId();
    const first = await post({ conversation_id });
    expect((await ended(first.body.id)).status).toBe('ERROR');
    api.conduct.failing = null;
    const second = await post({ conversation_id });
    expect(second.body.id).not.toBe(first.body.id);
    expect(await ended(second.body.id)).toMatchObject({
      status: 'READY',
      app_conversation_id: conversation_id,
    });
  });

  it('refuses the id of a conversation that did not come from a start, and of a deleted one', async () => {
    const direct = await insertConversation(api.database, { createdByUserId: 'ann' });
    const deleted = await insertConversation(api.database, { createdByUserId: 'ann', deletedAt: new Date() });
    for (const conversation_id of [direct, deleted]) {
      const { status, body } = await refused({ conversation_id });
      expect(status).toBe(409);
      expect(body.detail).toContain(conversation_id);
    }
  });

  it('answers 503 and leaves nothing behind when the workflow service is away', async () => {
    const before = await numberOfRequests();
    const working = api.actors.startConversation.bind(api.actors);
    api.actors.startConversation = () =>
      Promise.reject(Object.assign(new Error('14 UNAVAILABLE'), { code: 14, details: '', metadata: {} }));
    try {
      const { status, headers } = await refused({ conversation_id: newId() });
      expect(status).toBe(503);
      expect(headers.get('retry-after')).toBe('5');
      expect(await numberOfRequests()).toBe(before);
    } finally {
      api.actors.startConversation = working;
    }
  });

  it('answers the task when the start was accepted although the call for it failed', async () => {
    const working = api.actors.startConversation.bind(api.actors);
    api.actors.startConversation = async (taskId, userId) => {
      await working(taskId, userId);
      await vi.waitFor(async () => {
        const accepted = await api.database.select().from(startTasks).where(eq(startTasks.id, taskId));
        expect(accepted).toHaveLength(1);
      }, 90_000);
      throw new Error('the answer got lost');
    };
    try {
      const { status, body } = await post({});
      expect(status).toBe(200);
      expect((await ended(body.id)).status).toBe('READY');
    } finally {
      api.actors.startConversation = working;
    }
  });
});

describe('stream-start', () => {
  it('is byte for byte the array of the contract: one piece per status, nothing else', async () => {
    const stream = await openStream({});
    await stream.end;
    const [task] = JSON.parse(stream.text()) as StartTask[];
    const { items } = await transitionsOf(task!.id);
    expect(items.map((item) => item.status)).toEqual(STATUSES_OF_A_START);
    expect(stream.text()).toBe(`[\n${items.map((item) => JSON.stringify(item)).join(',\n')}]`);
    expect(stream.status).toBe(200);
    expect(stream.headers['content-type']).toBe('application/json');
    expect(stream.headers['transfer-encoding']).toBe('chunked');
    expect(stream.headers['content-length']).toBeUndefined();
    expect(api.streams.size).toBe(0);
  });

  it('sends each status when it is reached, and nothing while nothing happens', async () => {
    api.conduct.held.add('prepareRepository');
    const stream = await openStream({});
    await vi.waitFor(() => expect(stream.text()).toContain('"PREPARING_REPOSITORY"'), 90_000);
    expect(stream.pieces[0]).toMatch(/^\[\n\{"id":"[0-9a-f]{32}",.*"status":"WORKING"/);
    expect(stream.text().endsWith('}')).toBe(true);
    api.conduct.held.clear();
    await stream.end;
    expect(statusesIn(stream)).toEqual(STATUSES_OF_A_START);
  });

  it('ends with ERROR and why, when the start fails', async () => {
    api.conduct.failing = 'prepareRepository';
    const stream = await openStream({});
    await stream.end;
    const last = (JSON.parse(stream.text()) as StartTask[]).at(-1);
    expect(last).toMatchObject({ status: 'ERROR', detail: 'prepareRepository failed' });
  });

  it('shows ten statuses that follow each other at once, in order, none skipped', async () => {
    // Written by hand, as fast as the database takes them, while a stream of the same conversation watches.
    const conversation_id = newId();
    const taskId = newId();
    const { body: sample } = await post({});
    await api.starts.stage({
      taskId,
      conversationId: conversation_id,
      createdByUserId: 'ann',
      request: { ...sample.request, conversation_id },
      secrets: null,
      idempotencyKey: null,
    });
    await api.starts.accept(taskId);
    const stream = await openStream({ conversation_id });
    const written = [
      'WAITING_FOR_SANDBOX',
      'PREPARING_REPOSITORY',
      'RUNNING_SETUP_SCRIPT',
      'SETTING_UP_GIT_HOOKS',
      'SETTING_UP_SKILLS',
      'STARTING_CONVERSATION',
      'SETTING_UP_SKILLS',
      'STARTING_CONVERSATION',
      'READY',
    ] as const;
    for (const status of written) await api.starts.advance(taskId, status);
    await stream.end;
    expect(statusesIn(stream)).toEqual(['WORKING', ...written]);
  });

  it('begins with what has happened already, when a start is joined by its conversation id', async () => {
    const conversation_id = newId();
    const { body } = await post({ conversation_id });
    await ended(body.id);
    const stream = await openStream({ conversation_id });
    await stream.end;
    expect(statusesIn(stream)).toEqual(STATUSES_OF_A_START);
  });

  it('goes on without the client that went away: the start is not stopped and nobody listens any more', async () => {
    api.conduct.held.add('prepareRepository');
    const stream = await openStream({});
    await vi.waitFor(() => expect(stream.text()).toContain('"PREPARING_REPOSITORY"'), 90_000);
    const [first] = JSON.parse(`${stream.text()}]`) as StartTask[];
    stream.hangUp();
    await vi.waitFor(() => expect(api.streams.size).toBe(0), 90_000);
    api.conduct.held.clear();
    expect((await ended(first!.id)).status).toBe('READY');
  });

  it('goes on after the connection that listens was lost in the middle', async () => {
    api.conduct.held.add('prepareRepository');
    const stream = await openStream({});
    await vi.waitFor(() => expect(stream.text()).toContain('"PREPARING_REPOSITORY"'), 90_000);
    await api.database.execute(`select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and application_name = 'callboard notifications'`);
    api.conduct.held.clear();
    await stream.end;
    expect(statusesIn(stream)).toEqual(STATUSES_OF_A_START);
  });

  it('is ended as valid JSON when the server shuts down, and the start goes on', async () => {
    const other = await openApi();
    try {
      other.conduct.held.add('prepareRepository');
      const response = await fetch(`${other.url}${STREAM}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: '{}',
      });
      await vi.waitFor(async () => {
        const rows = await other.database.select().from(startTasks);
        expect(rows[0]?.status).toBe('PREPARING_REPOSITORY');
      }, 90_000);
      other.streams.endAll();
      const tasks = JSON.parse(await response.text()) as StartTask[];
      expect(tasks[0]?.status).toBe('WORKING');
      expect(tasks.length).toBeLessThan(STATUSES_OF_A_START.length);
      other.conduct.held.clear();
      await vi.waitFor(async () => {
        const [row] = await other.database.select().from(startTasks);
        expect(row?.status).toBe('READY');
      }, 90_000);
    } finally {
      await other.close();
    }
  });
});

describe('a start under way', () => {
  it('has one workflow, which carries no more than the id of its task', async () => {
    const { body } = await post({
      initial_message: { content: [{ type: 'text', text: 'sensitive words' }] },
    });
    await ended(body.id);
    const handle = api.temporal.client.workflow.getHandle(startTaskWorkflowId(body.id));
    const payloads = await payloadTexts(JSON.parse(historyToJSON(await handle.fetchHistory())));
    expect(payloads.join('\n')).toContain(body.id);
    expect(payloads.join('\n')).not.toContain('sensitive words');
  });
});

const statusesIn = (stream: RawStream) =>
  (JSON.parse(stream.text()) as StartTask[]).map((task) => task.status);

/** The task after each of its transitions, as SQL has them. */
async function transitionsOf(taskId: string): Promise<{ items: StartTask[] }> {
  const { StartTaskReadModel } = await import('../../db/start-task-read-model.js');
  const transitions = await new StartTaskReadModel(api.database).transitionsAfter(taskId, 0);
  return { items: transitions.map(({ task }) => task) };
}
