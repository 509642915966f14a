import { eq } from 'drizzle-orm';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { isTerminal, type StartTask } from '../../contract/start-task.js';
import { conversations, sandboxes, startRequests, startTasks } from '../../db/schema/index.js';
import { purposes } from '../../identity/vault.js';
import { openApi, type ApiFixture } from '../support/api-fixture.js';
import { insertSandbox, insertStartTask, newId } from '../support/rows.js';
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
const post = async (body: object) => (await api.call<StartTask>('POST', START, { user: 'ann', body })).body;
const retry = (id: string, user = 'ann') =>
  api.call<StartTask & { detail: string }>('POST', `${START}/start-tasks/${id}/retry`, { user });
const taskOf = async (id: string) => {
  const { body } = await api.call<(StartTask | null)[]>('GET', `${START}/start-tasks?ids=${id}`, {
    user: 'ann',
  });
  return body[0] ?? null;
};
const ended = (id: string) =>
  vi.waitFor(async () => {
    const task = await taskOf(id);
    expect(task && isTerminal(task.status)).toBe(true);
    return task!;
  }, 90_000);
const requestOf = async (id: string) =>
  (await api.database.select().from(startRequests).where(eq(startRequests.id, id)))[0]!;
const sandboxOf = async (id: string | null) =>
  (await api.database.select().from(sandboxes).where(eq(sandboxes.id, id!)))[0]!;

/** A start that ends in ERROR in the given phase. */
async function failed(body: object, phase = 'prepareSkills'): Promise<StartTask> {
  api.conduct.failing = phase;
  const { id } = await post(body);
  const task = await ended(id);
  expect(task.status).toBe('ERROR');
  api.conduct.failing = null;
  return task;
}

describe('a start that failed', () => {
  it('is tried again as a new task: same request, same conversation id, same secrets, a new sandbox', async () => {
    const first = await failed({
      title: 'as sent',
      secrets: { TOKEN: 'kept for the next try' },
      conversation_id: newId(),
    });
    const { status, body: second } = await retry(first.id);
    expect(status).toBe(200);
    expect(second).toMatchObject({ status: 'WORKING', request: first.request });
    expect(second.id).not.toBe(first.id);
    const done = await ended(second.id);
    expect(done).toMatchObject({
      status: 'READY',
      app_conversation_id: first.request.conversation_id!.replaceAll('-', ''),
    });
    expect(done.sandbox_id).not.toBe(first.sandbox_id);
    // Who asks for the old task goes on to see how it ended.
    expect(await taskOf(first.id)).toEqual(first);
    expect((await requestOf(first.id)).secrets).toBeNull();
    expect((await requestOf(second.id)).secrets).toBeNull();
  });

  it('hands its secrets on, encrypted for the new task', async () => {
    const first = await failed({ secrets: { TOKEN: 'handed on' } });
    expect((await requestOf(first.id)).secrets).not.toBeNull();
    api.conduct.held.add('prepareRepository');
    const { body: second } = await retry(first.id);
    const { secrets } = await requestOf(second.id);
    expect(await testVault.open(purposes.startSecrets(second.id), secrets!)).toBe('{"TOKEN":"handed on"}');
    expect((await requestOf(first.id)).secrets).toBeNull();
    api.conduct.held.clear();
    expect((await ended(second.id)).status).toBe('READY');
  });

  it('asked to be tried again ten times at once, and later, is tried again once', async () => {
    const first = await failed({});
    const answers = await Promise.all(Array.from({ length: 10 }, () => retry(first.id)));
    expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 10 }, () => 200));
    const ids = new Set(answers.map(({ body }) => body.id));
    expect(ids.size).toBe(1);
    const [id] = ids;
    const done = await ended(id!);
    expect(done.status).toBe('READY');
    expect((await retry(first.id)).body).toEqual(done);
    const { status, body } = await retry(id!);
    expect(status).toBe(409);
    expect(body.detail).toContain('READY');
  });

  it('can fail again, and be tried again from there', async () => {
    const first = await failed({});
    api.conduct.failing = 'prepareSkills';
    const second = (await retry(first.id)).body;
    expect((await ended(second.id)).status).toBe('ERROR');
    api.conduct.failing = null;
    expect((await retry(first.id)).body.id).toBe(second.id); // its successor, whatever became of that
    const third = (await retry(second.id)).body;
    expect((await ended(third.id)).status).toBe('READY');
  });

  it('in a sandbox that was given uses it again, also when it is paused meanwhile', async () => {
    const box = await insertSandbox(api.database, {
      createdByUserId: 'ann',
      agentServerUrl: api.agentServer.url,
    });
    const first = await failed({ sandbox_id: box });
    expect((await sandboxOf(box)).deletedAt).toBeNull();
    await vi.waitFor(async () => {
      expect(
        (await api.call('POST', `/api/v1/sandboxes/${box}/pause`, { user: 'ann', body: {} })).status,
      ).toBe(200);
      expect((await sandboxOf(box)).status).toBe('PAUSED');
    }, 90_000);
    const second = (await retry(first.id)).body;
    expect(await ended(second.id)).toMatchObject({ status: 'READY', sandbox_id: box });
    expect((await sandboxOf(box)).status).toBe('RUNNING');
  });

  it('says what is missing when it cannot be tried again', async () => {
    const erased = await failed({ secrets: { TOKEN: 'to be erased' } });
    await api.database.update(startRequests).set({ secrets: null }).where(eq(startRequests.id, erased.id));
    const gone = await retry(erased.id);
    expect(gone.status).toBe(409);
    expect(gone.body.detail).toContain('secrets');

    const conversationId = newId();
    const deleted = await insertStartTask(api.database, {
      createdByUserId: 'ann',
      status: 'ERROR',
      conversationId,
    });
    const now = new Date();
    await api.database.insert(conversations).values({
      id: conversationId,
      createdByUserId: 'ann',
      sandboxId: 'box',
      createdAt: now,
      updatedAt: now,
      deletedAt: now,
    });
    expect((await retry(deleted)).status).toBe(409);
  });

  it('is nobody else’s to try again, nor is one that is under way', async () => {
    const first = await failed({});
    expect((await retry(first.id, 'bob')).status).toBe(404);
    expect((await retry(newId())).status).toBe(404);
    expect((await retry('not-an-id')).status).toBe(422);
    api.conduct.held.add('prepareRepository');
    const running = await post({});
    const refused = await retry(running.id);
    expect(refused.status).toBe(409);
    expect(refused.body.detail).toMatch(/under way/);
    api.conduct.held.clear();
    await ended(running.id);
  });

  it('stays as it was when the workflow service is away, and can be tried again afterwards', async () => {
    const first = await failed({ secrets: { TOKEN: 'not lost' } });
    const working = api.actors.startConversation.bind(api.actors);
    api.actors.startConversation = () =>
      Promise.reject(Object.assign(new Error('14 UNAVAILABLE'), { code: 14, details: '', metadata: {} }));
    try {
      expect((await retry(first.id)).status).toBe(503);
    } finally {
      api.actors.startConversation = working;
    }
    const { body } = await retry(first.id);
    expect((await ended(body.id)).status).toBe('READY');
  });
});

describe('the ERROR of a start', () => {
  it('hides the sandbox that was made for it in the same moment, and forgets its conversation', async () => {
    const task = await failed({}, 'createConversation');
    const row = await sandboxOf(task.sandbox_id);
    expect(row.deletedAt).not.toBeNull();
    await vi.waitFor(async () => expect((await sandboxOf(task.sandbox_id)).status).toBe('MISSING'), 90_000);
    const [stored] = await api.database.select().from(startTasks).where(eq(startTasks.id, task.id));
    const rows = await api.database
      .select()
      .from(conversations)
      .where(eq(conversations.id, stored!.conversationId));
    expect(rows).toEqual([]);
  });

  it('leaves a sandbox alone into which another conversation has come meanwhile', async () => {
    api.conduct.held.add('prepareRepository');
    const first = await post({});
    const box = await vi.waitFor(async () => {
      const task = await taskOf(first.id);
      expect(task?.status).toBe('PREPARING_REPOSITORY');
      return task!.sandbox_id!;
    }, 90_000);
    const second = await post({ sandbox_id: box });
    await vi.waitFor(async () => expect((await taskOf(second.id))?.sandbox_id).toBe(box), 90_000);
    await api.temporal.client.workflow.getHandle(`start-task/${first.id}`).cancel();
    expect(await ended(first.id)).toMatchObject({ status: 'ERROR', detail: 'cancelled' });
    api.conduct.held.clear();
    expect(await ended(second.id)).toMatchObject({ status: 'READY', sandbox_id: box });
    expect(await sandboxOf(box)).toMatchObject({ status: 'RUNNING', deletedAt: null });
  });

  it('by cancelling erases the secrets at once', async () => {
    api.conduct.held.add('prepareRepository');
    const { id } = await post({ secrets: { TOKEN: 'called off' } });
    await vi.waitFor(async () => expect((await taskOf(id))?.status).toBe('PREPARING_REPOSITORY'), 90_000);
    await api.temporal.client.workflow.getHandle(`start-task/${id}`).cancel();
    expect((await ended(id)).detail).toBe('cancelled');
    expect((await requestOf(id)).secrets).toBeNull();
    const { status, body } = await retry(id);
    expect({ status, detail: body.detail }).toEqual({
      status: 409,
      detail:
        'This start was cancelled, and the secrets given with it were erased with that: start a new conversation, and send them again.',
    });
  });

  it('by cancelling can be tried again where there were no secrets to erase', async () => {
    api.conduct.held.add('prepareRepository');
    const { id } = await post({ title: 'on second thoughts' });
    await vi.waitFor(async () => expect((await taskOf(id))?.status).toBe('PREPARING_REPOSITORY'), 90_000);
    await api.temporal.client.workflow.getHandle(`start-task/${id}`).cancel();
    expect((await ended(id)).detail).toBe('cancelled');
    api.conduct.held.clear();
    const { body } = await retry(id);
    expect(await ended(body.id)).toMatchObject({
      status: 'READY',
      request: { title: 'on second thoughts' },
    });
  });
});
