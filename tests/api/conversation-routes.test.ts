import { eq } from 'drizzle-orm';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { NO_METRICS, type AppConversation } from '../../contract/conversation.js';
import { dashedId } from '../../contract/ids.js';
import type { Page } from '../../contract/primitives.js';
import type { StartTask } from '../../contract/start-task.js';
import type { conversations, sandboxes } from '../../db/schema/index.js';
import { eventIndex } from '../../db/schema/index.js';
import { purposes } from '../../identity/vault.js';
import { openApi, type ApiFixture } from '../support/api-fixture.js';
import { FakeAgentServer } from '../support/fake-agent-server.js';
import { insertConversation, insertSandbox, insertStartTask, newId } from '../support/rows.js';
import { testVault } from '../support/test-vault.js';

const BASE = '/api/v1/app-conversations';
const SESSION_KEY = 'the session key of the sandbox';

let api: ApiFixture;
beforeAll(async () => {
  api = await openApi({ deadlines: { accept: 5_000 } });
});
afterEach(() => {
  Object.assign(api.agentServer, { status: 200, hung: false, executionStatus: 'idle' });
  api.agentServer.requests.length = 0;
  api.conduct.held.clear();
  vi.restoreAllMocks();
});
afterAll(() => api.close());

/** A conversation in a RUNNING sandbox whose agent-server is the fake one, or another. */
async function running(
  values: Partial<typeof conversations.$inferInsert> = {},
  sandbox: Partial<typeof sandboxes.$inferInsert> = {},
  agentServer = api.agentServer,
): Promise<string> {
  const sandboxId = values.sandboxId ?? newId();
  await insertSandbox(api.database, {
    id: sandboxId,
    createdByUserId: 'ann',
    sessionApiKey: await testVault.seal(purposes.sessionKey(sandboxId), SESSION_KEY),
    agentServerUrl: agentServer.url,
    exposedUrls: [{ name: 'AGENT_SERVER', url: 'http://sandbox.example:8000', port: 8000 }],
    ...sandbox,
  });
  return insertConversation(api.database, { createdByUserId: 'ann', ...values, sandboxId });
}

const get = async (ids: string[], user = 'ann') => {
  const query = ids.map((id) => `ids=${id}`).join('&');
  return (await api.call<(AppConversation | null)[]>('GET', `${BASE}?${query}`, { user })).body;
};
const one = async (id: string) => (await get([id]))[0]!;
const patch = (id: string, body: object, user = 'ann') =>
  api.call<AppConversation & { detail: unknown }>('PATCH', `${BASE}/${id}`, { user, body });
const remove = (id: string, user = 'ann') =>
  api.call<{ success?: boolean; detail?: string }>('DELETE', `${BASE}/${id}`, { user });

describe('a conversation', () => {
  it('is shown with every member of the contract', async () => {
    const createdAt = new Date('2026-11-21T22:31:38.158Z');
    const id = await running({
      title: 'T',
      createdAt,
      updatedAt: createdAt,
      executionStatus: 'finished',
      executionStatusAt: new Date(),
      tags: { agentprofileid: '0123456789abcdef0123456789abcdef', agentprofilerevision: 'x', acpserver: 'a' },
    });
    const conversation = await one(id);
    expect(conversation).toEqual({
      id,
      created_by_user_id: 'ann',
      sandbox_id: conversation.sandbox_id,
      selected_repository: null,
      selected_branch: null,
      git_provider: null,
      title: 'T',
      trigger: null,
      pr_number: [],
      llm_model: null,
      agent_kind: 'openhands',
      metrics: NO_METRICS,
      parent_conversation_id: null,
      sub_conversation_ids: [],
      public: null,
      tags: { agentprofileid: '0123456789abcdef0123456789abcdef', agentprofilerevision: 'x', acpserver: 'a' },
      created_at: '2026-11-21T22:31:38.158000Z',
      updated_at: '2026-11-21T22:31:38.158000Z',
      sandbox_status: 'RUNNING',
      execution_status: 'finished',
      conversation_url: `http://sandbox.example:8000/api/conversations/${id}`,
      session_api_key: SESSION_KEY,
      acp_server: null,
      launched_agent_profile: { agent_profile_id: '01234567-89ab-cdef-0123-456789abcdef', revision: 0 },
    });
  });

  it.each(['STARTING', 'PAUSED', 'ERROR', 'MISSING'] as const)(
    'in a sandbox that is %s shows neither key nor address nor status of the run',
    async (status) => {
      const id = await running({ executionStatus: 'finished' }, { status });
      expect(await one(id)).toMatchObject({
        sandbox_status: status,
        execution_status: null,
        conversation_url: null,
        session_api_key: null,
      });
    },
  );

  it('of which webhooks have told nothing has the status its agent-server tells', async () => {
    api.agentServer.executionStatus = 'waiting_for_confirmation';
    const id = await running();
    expect((await one(id)).execution_status).toBe('waiting_for_confirmation');
    expect(api.agentServer.requests[0]).toMatchObject({
      path: '/api/conversations',
      ids: [dashedId(id)],
      sessionKey: SESSION_KEY,
    });
  });

  it('with a key that cannot be decrypted is listed without it, and the log says so', async () => {
    const id = await running({}, { sessionApiKey: 'broken' });
    expect((await one(id)).session_api_key).toBeNull();
    expect(api.logged.join()).toContain('a session key cannot be decrypted');
  });
});

describe('the list of conversations', () => {
  it('waits for one hung sandbox no longer than its limit, and has all the others', async () => {
    const hung = await new FakeAgentServer().listen();
    hung.hung = true;
    try {
      await running({ createdByUserId: 'hanging' }, {}, hung);
      const fine = await running({ createdByUserId: 'hanging' });
      // The hung one never answers: without a limit this would not end.
      const { status, body } = await api.call<Page<AppConversation>>('GET', `${BASE}/search`, {
        user: 'hanging',
      });
      expect(status).toBe(200);
      expect(new Set(body.items.map((item) => item.execution_status))).toEqual(new Set([null, 'idle']));
      expect(body.items.find((item) => item.id === fine)?.execution_status).toBe('idle');
    } finally {
      await hung.close();
    }
  });

  it('pages with an opaque cursor, filters, and hides what is somebody else’s (D7, D28)', async () => {
    for (const title of ['one', 'two', 'three']) {
      await insertConversation(api.database, { createdByUserId: 'pager', title });
    }
    const page = async (query: string) =>
      (await api.call<Page<AppConversation>>('GET', `${BASE}/search?${query}`, { user: 'pager' })).body;
    const first = await page('limit=2');
    const second = await page(`limit=2&page_id=${first.next_page_id}`);
    expect([...first.items, ...second.items].map((item) => item.title).sort()).toEqual([
      'one',
      'three',
      'two',
    ]);
    expect(second.next_page_id).toBeNull();
    expect((await page('title__contains=TH')).items.map((item) => item.title)).toEqual(['three']);
    expect((await page('page_id=%00%ff')).items).toHaveLength(3);
    const count = await api.call<number>('GET', `${BASE}/count?title__contains=t`, { user: 'pager' });
    expect(count.body).toBe(2);
    expect((await api.call<number>('GET', `${BASE}/count`, { user: 'nobody else' })).body).toBe(0);
  });

  it.each([
    'limit=0',
    'limit=101',
    'limit=x',
    'created_at__gte=yesterday',
    'include_sub_conversations=perhaps',
  ])('refuses ?%s with 422', async (query) => {
    expect((await api.call('GET', `${BASE}/search?${query}`)).status).toBe(422);
  });
});

describe('the batch of conversations', () => {
  it('is aligned with the ids, in any spelling, with null for what is missing or foreign', async () => {
    const [mine, theirs] = [
      await insertConversation(api.database, { createdByUserId: 'ann' }),
      await insertConversation(api.database, { createdByUserId: 'bob' }),
    ];
    const answer = await get([theirs, dashedId(mine).toUpperCase(), newId(), mine]);
    expect(answer.map((item) => item?.id ?? null)).toEqual([null, mine, null, mine]);
  });

  it('takes a hundred ids and refuses more, none, and what is no UUID', async () => {
    const batch = (ids: string[]) =>
      api.call<{ detail: unknown }>('GET', `${BASE}?${ids.map((id) => `ids=${id}`).join('&')}`);
    expect((await batch(Array.from({ length: 100 }, newId))).status).toBe(200);
    expect(await batch(Array.from({ length: 101 }, newId))).toMatchObject({
      status: 400,
      body: { detail: 'Too many ids requested. Maximum is 100.' },
    });
    expect(await batch(['abc', newId(), 'def'])).toMatchObject({
      status: 400,
      body: { detail: "Invalid UUID format for ids: ['abc', 'def']" },
    });
    expect(await batch([])).toMatchObject({
      status: 422,
      body: { detail: [{ type: 'missing', loc: ['query', 'ids'] }] },
    });
  });
});

describe('PATCH of a conversation', () => {
  it('changes what it names and nothing else, and moves updated_at but never created_at (D12, D30, D31)', async () => {
    const past = new Date('2020-01-01T00:00:00Z');
    const id = await insertConversation(api.database, {
      createdByUserId: 'ann',
      title: 'old',
      selectedRepository: 'o/r',
      createdAt: past,
      updatedAt: past,
    });
    const { status, body } = await patch(id, { title: 'new', public: true });
    expect(status).toBe(200);
    expect(body).toMatchObject({
      id,
      title: 'new',
      public: true,
      selected_repository: 'o/r',
      created_at: '2020-01-01T00:00:00Z',
    });
    expect(Date.parse(body.updated_at)).toBeGreaterThan(Date.now() - 60_000);
    const cleared = await patch(id, { title: null });
    expect(cleared.body).toMatchObject({ title: null, public: true });
  });

  it('that changes nothing does not move updated_at', async () => {
    const past = new Date('2020-01-01T00:00:00Z');
    const id = await insertConversation(api.database, {
      createdByUserId: 'ann',
      title: 'same',
      updatedAt: past,
    });
    for (const body of [{}, { title: 'same' }]) {
      expect((await patch(id, body)).body.updated_at).toBe('2020-01-01T00:00:00Z');
    }
  });

  it.each([
    [{ selected_repository: 'no-slash' }, 400],
    [{ selected_repository: 'a/b/c' }, 400],
    [{ selected_repository: 'a/b;rm' }, 400],
    [{ selected_repository: 'a/$(x)' }, 400],
    [{ selected_repository: null, selected_branch: 'main' }, 400],
    [{ selected_repository: null, git_provider: 'github' }, 400],
    [{ selected_branch: '-x' }, 400],
    [{ selected_branch: 'a..b' }, 400],
    [{ title: 'a\0b' }, 400],
    [{ git_provider: 'sourceforge' }, 422],
    [{ public: 'perhaps' }, 422],
  ])('refuses %j with %i and leaves the conversation alone (D26)', async (body, status) => {
    const id = await insertConversation(api.database, { createdByUserId: 'ann', title: 'kept' });
    expect((await patch(id, body)).status).toBe(status);
    expect((await one(id)).title).toBe('kept');
  });

  it('of what is malformed, missing or foreign is 422 or 404, never 500 (D26, D7)', async () => {
    const foreign = await insertConversation(api.database, { createdByUserId: 'bob' });
    expect(await patch('abc', {})).toMatchObject({
      status: 422,
      body: { detail: [{ type: 'uuid_parsing' }] },
    });
    for (const id of [foreign, newId()]) {
      expect(await patch(id, { title: 'x' })).toMatchObject({
        status: 404,
        body: { detail: 'unknown_app_conversation' },
      });
    }
  });

  it('hands a new title to the agent-server, and does not fail when that fails', async () => {
    const id = await running({ title: 'old' });
    await patch(id, { title: 'new' });
    await vi.waitFor(
      () =>
        expect(api.agentServer.requests.find(({ method }) => method === 'PATCH')).toMatchObject({
          path: `/api/conversations/${id}`,
          body: { title: 'new' },
          sessionKey: SESSION_KEY,
        }),
      30_000,
    );
    api.agentServer.status = 500;
    expect((await patch(id, { title: 'newer' })).body.title).toBe('newer');
    await vi.waitFor(
      () => expect(api.logged.join()).toContain('an agent-server did not take over a new title'),
      30_000,
    );
  });
});

describe('DELETE of a conversation', () => {
  it('hides it, its sub-conversations, events and start tasks at once, and orders the rest from its actors', async () => {
    const parent = await running();
    const child = await insertConversation(api.database, {
      createdByUserId: 'ann',
      parentConversationId: parent,
    });
    const task = await insertStartTask(api.database, {
      createdByUserId: 'ann',
      conversationId: parent,
      appConversationId: parent,
    });
    await api.database.insert(eventIndex).values({
      conversationId: parent,
      eventId: newId(),
      kind: 'MessageEvent',
      timestamp: '2026-01-01T00:00:00Z',
      fileName: 'file',
    });
    expect(await remove(parent)).toMatchObject({ status: 200, body: { success: true } });
    expect(await get([parent, child])).toEqual([null, null]);
    const events = await api.database.select().from(eventIndex).where(eq(eventIndex.conversationId, parent));
    expect(events).toEqual([]);
    const tasks = await api.call<(StartTask | null)[]>('GET', `${BASE}/start-tasks?ids=${task}`, {
      user: 'ann',
    });
    expect(tasks.body).toEqual([null]);
    await vi.waitFor(
      () => expect(api.deletions.deleted).toEqual(expect.arrayContaining([parent, child])),
      30_000,
    );
    expect(await remove(parent)).toMatchObject({ status: 404, body: { detail: 'Conversation not found' } });
  });

  it('leaves the parent of a deleted sub-conversation', async () => {
    const parent = await running();
    const child = await insertConversation(api.database, {
      createdByUserId: 'ann',
      parentConversationId: parent,
    });
    expect((await one(parent)).sub_conversation_ids).toEqual([child]);
    expect((await remove(child)).status).toBe(200);
    expect((await one(parent)).sub_conversation_ids).toEqual([]);
  });

  it('refuses what is no UUID with 400, and what is missing or foreign with 404 (D7)', async () => {
    const foreign = await insertConversation(api.database, { createdByUserId: 'bob' });
    expect(await remove('abc')).toMatchObject({
      status: 400,
      body: { detail: 'Invalid conversation ID format' },
    });
    expect((await remove(foreign)).status).toBe(404);
    expect((await remove(newId())).status).toBe(404);
    expect((await get([foreign], 'bob'))[0]?.id).toBe(foreign);
  });

  it('while it is being started cancels the start, whose task ends in ERROR', async () => {
    api.conduct.held.add('prepareSkills');
    const conversation_id = newId();
    const { body: task } = await api.call<StartTask>('POST', BASE, {
      user: 'ann',
      body: { conversation_id },
    });
    const read = async () => {
      const { body } = await api.call<StartTask[]>('GET', `${BASE}/start-tasks?ids=${task.id}`, {
        user: 'ann',
      });
      return body[0];
    };
    await vi.waitFor(async () => expect((await read())?.status).toBe('SETTING_UP_SKILLS'), 90_000);
    expect((await remove(conversation_id, 'bob')).status).toBe(404);
    expect((await remove(conversation_id)).status).toBe(200);
    await vi.waitFor(
      async () => expect(await read()).toMatchObject({ status: 'ERROR', detail: 'cancelled' }),
      30_000,
    );
    expect(await get([conversation_id])).toEqual([null]);
  });

  it('that could not reach the actor says so, and reaches it when it is repeated', async () => {
    const id = await running();
    const outage = Object.assign(new Error('14 UNAVAILABLE'), { code: 14, details: '', metadata: {} });
    vi.spyOn(api.actors, 'deleteConversation').mockRejectedValueOnce(outage);
    expect((await remove(id)).status).toBe(503);
    expect(await get([id])).toEqual([null]);
    expect((await remove(id)).status).toBe(404);
    await vi.waitFor(() => expect(api.deletions.deleted).toContain(id), 90_000);
  });
});

describe('start tasks', () => {
  const TASKS = `${BASE}/start-tasks`;

  it('are searched, counted and read in batches within what the caller may see (D7)', async () => {
    const conversationId = newId();
    const mine = await insertStartTask(api.database, {
      createdByUserId: 'cat',
      appConversationId: conversationId,
    });
    const theirs = await insertStartTask(api.database, { createdByUserId: 'dog' });
    const call = async (path: string) => (await api.call(`GET`, `${TASKS}${path}`, { user: 'cat' })).body;
    expect(((await call('/search')) as Page<StartTask>).items.map((task) => task.id)).toEqual([mine]);
    expect(await call(`/search?conversation_id__eq=${newId()}`)).toEqual({ items: [], next_page_id: null });
    expect(await call(`/count?conversation_id__eq=${dashedId(conversationId)}`)).toBe(1);
    const batch = (await call(`?ids=${theirs}&ids=${mine}`)) as (StartTask | null)[];
    expect(batch.map((task) => task?.id ?? null)).toEqual([null, mine]);
  });

  it('refuse more than a hundred ids, malformed ids and unknown orders', async () => {
    const call = (path: string) => api.call<{ detail: unknown }>('GET', `${TASKS}${path}`);
    const ids = Array.from({ length: 101 }, () => `ids=${newId()}`).join('&');
    expect(await call(`?${ids}`)).toMatchObject({
      status: 400,
      body: { detail: 'Cannot request more than 100 start tasks at once, got 101' },
    });
    expect((await call('?ids=abc')).status).toBe(422);
    expect((await call('')).status).toBe(422);
    expect((await call('/search?sort_order=TITLE')).status).toBe(422);
    expect((await call('/search?conversation_id__eq=abc')).status).toBe(422);
  });
});
