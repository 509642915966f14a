/** `/api/conversations` as the clients of 2025-11 use it (contract 16.2 to 16.7), over the product's workflows. */
import pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { base62, dashedId } from '../../contract/ids.js';
import { LegacyConversation } from '../../contract/legacy-conversation.js';
import type { StartTask } from '../../contract/start-task.js';
import type { conversations, sandboxes } from '../../db/schema/index.js';
import { purposes } from '../../identity/vault.js';
import { openApi, type ApiFixture } from '../support/api-fixture.js';
import { insertConversation, insertSandbox, newId } from '../support/rows.js';
import { testVault } from '../support/test-vault.js';

const BASE = '/api/conversations';
const SESSION_KEY = 'the session key of the sandbox';

let api: ApiFixture;
beforeAll(async () => {
  api = await openApi();
});
afterEach(() => {
  Object.assign(api.agentServer, { status: 200, hung: false, executionStatus: 'idle' });
  api.agentServer.requests.length = 0;
  api.conduct.held.clear();
  api.conduct.failing = null;
  vi.restoreAllMocks();
});
afterAll(() => api.close());

/** A conversation of Ann's in a RUNNING sandbox whose agent-server is the fake one. */
async function running(
  values: Partial<typeof conversations.$inferInsert> = {},
  sandbox: Partial<typeof sandboxes.$inferInsert> = {},
): Promise<string> {
  const sandboxId = newId();
  await insertSandbox(api.database, {
    id: sandboxId,
    createdByUserId: values.createdByUserId ?? 'ann',
    sessionApiKey: await testVault.seal(purposes.sessionKey(sandboxId), SESSION_KEY),
    agentServerUrl: api.agentServer.url,
    exposedUrls: [
      { name: 'AGENT_SERVER', url: 'http://sandbox.example:8000', port: 8000 },
      { name: 'VSCODE', url: 'http://sandbox.example:8001/?tkn=x', port: 8001 },
      { name: 'WORKER_1', url: 'http://sandbox.example:8011', port: 8011 },
    ],
    ...sandbox,
  });
  return insertConversation(api.database, { createdByUserId: 'ann', ...values, sandboxId });
}

const call = <Body = Record<string, unknown>>(method: string, path: string, body?: unknown, user = 'ann') =>
  api.call<Body>(method, `${BASE}${path}`, { user, ...(body === undefined ? {} : { body }) });
const get = async (id: string) => (await call<LegacyConversation | null>('GET', `/${id}`)).body;

interface ListPage {
  results: LegacyConversation[];
  next_page_id: string | null;
}
const list = async (query: string, user = 'ann') =>
  (await call<ListPage>('GET', `?${query}`, undefined, user)).body;

describe('a conversation of older clients', () => {
  it('has every member that they read, in the order and spelling of the contract', async () => {
    const createdAt = new Date('2026-11-21T22:31:38.158Z');
    const id = await running({
      title: null,
      createdAt,
      updatedAt: createdAt,
      selectedRepository: 'o/r',
      selectedBranch: 'main',
      gitProvider: 'github',
      trigger: 'gui',
      prNumber: [7],
      executionStatus: 'finished',
      executionStatusAt: new Date(),
    });
    const child = await insertConversation(api.database, {
      createdByUserId: 'ann',
      parentConversationId: id,
    });
    expect(await get(dashedId(id).toUpperCase())).toEqual({
      conversation_id: id,
      title: `Conversation ${base62(Buffer.from(id, 'hex'))}`,
      last_updated_at: '2026-11-21T22:31:38.158000Z',
      created_at: '2026-11-21T22:31:38.158000Z',
      status: 'RUNNING',
      runtime_status: 'STATUS$READY',
      selected_repository: 'o/r',
      selected_branch: 'main',
      git_provider: 'github',
      trigger: 'gui',
      num_connections: 0,
      url: `http://sandbox.example:8000/api/conversations/${id}`,
      session_api_key: SESSION_KEY,
      pr_number: [7],
      conversation_version: 'V1',
      sub_conversation_ids: [child],
    });
  });

  it.each([
    ['STARTING', 'STARTING'],
    ['PAUSED', 'STOPPED'],
    ['ERROR', 'ERROR'],
    ['MISSING', 'ARCHIVED'],
  ] as const)(
    'in a sandbox that is %s is %s, without key, address and state of the run',
    async (state, status) => {
      const id = await running({ executionStatus: 'finished' }, { status: state });
      expect(await get(id)).toMatchObject({ status, runtime_status: null, url: null, session_api_key: null });
    },
  );

  it.each([
    ['waiting_for_confirmation', 'STATUS$READY'],
    ['stuck', 'STATUS$ERROR'],
    ['error', 'STATUS$ERROR'],
  ] as const)('whose run is %s is %s', async (executionStatus, runtime_status) => {
    const id = await running({ executionStatus, executionStatusAt: new Date() });
    expect(await get(id)).toMatchObject({ status: 'RUNNING', runtime_status });
  });

  it('whose agent-server does not answer is running with an error', async () => {
    api.agentServer.hung = true;
    expect(await get(await running())).toMatchObject({ status: 'RUNNING', runtime_status: 'STATUS$ERROR' });
  });

  it('that is unknown, foreign or no id at all is null, and an id that cannot be one is 400', async () => {
    const foreign = await running({ createdByUserId: 'bob' });
    for (const id of [newId(), foreign, 'abc']) expect(await get(id)).toBeNull();
    for (const id of ['x'.repeat(101), 'a..b', 'a%5Cb', 'a%2Fb', 'a%01b', 'a%00b']) {
      expect(await call('GET', `/${id}`), id).toMatchObject({
        status: 400,
        body: { detail: expect.stringMatching(/^Conversation ID /) as string },
      });
    }
  });

  it('tells which sandbox it is in, its editor and its apps, the latter two to its author alone', async () => {
    const id = await running();
    const { body } = await call('GET', `/${dashedId(id)}/config`);
    expect(body).toMatchObject({ session_id: dashedId(id) });
    const [sandbox] = (
      await api.call<{ id: string }[]>('GET', `/api/v1/sandboxes?id=${String(body['runtime_id'])}`, {
        user: 'ann',
      })
    ).body;
    expect(sandbox?.id).toBe(body['runtime_id']);
    expect((await call('GET', `/${id}/vscode-url`)).body).toEqual({
      vscode_url: 'http://sandbox.example:8001/?tkn=x',
    });
    expect((await call('GET', `/${id}/web-hosts`)).body).toEqual({
      hosts: { 'http://sandbox.example:8011': 8011 },
    });
    const paused = await running({}, { status: 'PAUSED' });
    expect((await call('GET', `/${paused}/vscode-url`)).body).toEqual({ vscode_url: null });
    for (const what of ['config', 'vscode-url', 'web-hosts']) {
      expect(await call('GET', `/abc/${what}`)).toMatchObject({
        status: 404,
        body: { detail: 'Conversation abc not found' },
      });
    }
  });
});

describe('the list of older clients', () => {
  it('has every conversation once and newest first, over pages that grow meanwhile (D22)', async () => {
    const made: string[] = [];
    const add = async (age: number) =>
      made.push(
        await insertConversation(api.database, {
          createdByUserId: 'pager',
          createdAt: new Date(Date.now() - age * 60_000),
        }),
      );
    for (let age = 20_000; age < 20_005; age++) await add(age); // older than the ten days that the reference shows
    const expected = [...made];
    const seen: string[] = [];
    let page = await list('limit=2', 'pager');
    for (;;) {
      seen.push(...page.results.map(({ conversation_id }) => conversation_id));
      if (page.next_page_id === null) break;
      await add(1);
      page = await list(`limit=2&page_id=${page.next_page_id}`, 'pager');
    }
    expect(seen).toEqual(expected);
    expect((await list('page_id=eyJ2MCI6bnVsbH0', 'pager')).results).toHaveLength(made.length);
  });

  it('filters before it pages, and has sub-conversations only when asked', async () => {
    const rows = { createdByUserId: 'filter', selectedRepository: 'o/r' };
    const [a, b] = [
      await insertConversation(api.database, {
        ...rows,
        trigger: 'microagent_management',
        createdAt: new Date(1),
      }),
      await insertConversation(api.database, { ...rows, trigger: 'gui', createdAt: new Date(2) }),
    ];
    const sub = await insertConversation(api.database, {
      ...rows,
      parentConversationId: a,
      createdAt: new Date(3),
    });
    for (let more = 0; more < 3; more++)
      await insertConversation(api.database, { createdByUserId: 'filter' });
    const ids = async (query: string) =>
      (await list(query, 'filter')).results.map((one) => one.conversation_id);
    expect(await ids('limit=2&selected_repository=o/r')).toEqual([b, a]);
    expect(await ids('selected_repository=o/r&conversation_trigger=gui')).toEqual([b]);
    expect(await ids('selected_repository=o/r&include_sub_conversations=true')).toEqual([sub, b, a]);
    expect(await ids('selected_repository=o/other')).toEqual([]);
    const managed = await api.call<ListPage>(
      'GET',
      '/api/microagent-management/conversations?selected_repository=o/r',
      {
        user: 'filter',
      },
    );
    expect(managed.body.results.map((one) => one.conversation_id)).toEqual([a]);
  });

  it('costs one statement and one question to each agent-server, however long the page is', async () => {
    for (let index = 0; index < 8; index++) await running({ createdByUserId: 'cost' });
    const statements = vi.spyOn(pg.Client.prototype, 'query');
    const { results } = await list('limit=8', 'cost');
    expect(results).toHaveLength(8);
    const asked = statements.mock.calls.filter(([statement]: unknown[]) =>
      JSON.stringify(statement).includes('from \\"conversations\\"'),
    );
    expect(asked).toHaveLength(1);
    expect(api.agentServer.requests.filter(({ path }) => path === '/api/conversations')).toHaveLength(8);
  });

  it.each(['limit=0', 'limit=101', 'conversation_trigger=moon', 'include_sub_conversations=perhaps'])(
    'refuses ?%s with 422',
    async (query) => {
      expect((await call('GET', `?${query}`)).status).toBe(422);
    },
  );

  it('wants the repository named where microagents are managed', async () => {
    expect((await api.call('GET', '/api/microagent-management/conversations')).status).toBe(422);
  });
});

describe('PATCH and DELETE of older clients', () => {
  it('rename with true, and hand the trimmed title on', async () => {
    const id = await running({ title: 'old' });
    expect(await call<unknown>('PATCH', `/${id}`, { title: '  new ' })).toMatchObject({
      status: 200,
      body: true,
    });
    expect((await get(id))?.title).toBe('new');
    await vi.waitFor(
      () =>
        expect(api.agentServer.requests.find(({ method }) => method === 'PATCH')?.body).toEqual({
          title: 'new',
        }),
      30_000,
    );
  });

  it.each([
    [{ title: '' }, 422],
    [{ title: 'x'.repeat(201) }, 422],
    [{ title: 'x', public: true }, 422],
    [{}, 422],
    [{ title: '   ' }, 400],
  ])('refuse %j with %i', async (body, status) => {
    const id = await running({ title: 'kept' });
    expect((await call('PATCH', `/${id}`, body)).status).toBe(status);
    expect((await get(id))?.title).toBe('kept');
  });

  it('say in their own words that there is nothing to change or delete', async () => {
    const foreign = await running({ createdByUserId: 'bob' });
    for (const id of [newId(), foreign, 'abc']) {
      expect(await call('PATCH', `/${id}`, { title: 'x' })).toMatchObject({
        status: 404,
        body: { status: 'error', msg_id: 'CONVERSATION$NOT_FOUND', conversation_id: id },
      });
      expect(await call<unknown>('DELETE', `/${id}`)).toMatchObject({ status: 200, body: false });
    }
  });

  it('delete with true; the list and the conversation are without it at once', async () => {
    const id = await running({ createdByUserId: 'leaver' });
    expect((await call<unknown>('DELETE', `/${id}`, undefined, 'leaver')).body).toBe(true);
    expect((await list('', 'leaver')).results).toEqual([]);
    expect((await call<unknown>('GET', `/${id}`, undefined, 'leaver')).body).toBeNull();
    await vi.waitFor(() => expect(api.deletions.deleted).toContain(id), 90_000);
  });
});

describe('POST /api/conversations', () => {
  const create = (body: object, headers: Record<string, string> = {}) =>
    api.call<{ status: string; conversation_id: string; message: string; conversation_status: string }>(
      'POST',
      BASE,
      { user: 'ann', body, headers },
    );
  const startOf = async (id: string) => {
    const { body } = await api.call<{ items: StartTask[] }>(
      'GET',
      '/api/v1/app-conversations/start-tasks/search?limit=1',
      {
        user: 'ann',
      },
    );
    expect(body.items[0]?.request.conversation_id ?? id).toBe(id);
    return body.items[0]!;
  };

  it('starts a V1 conversation, which can be read from the first moment until it runs', async () => {
    api.conduct.held.add('prepareSkills');
    const { status, body } = await create({
      repository: 'o/r',
      git_provider: 'github',
      selected_branch: 'main',
      initial_user_msg: 'Write a test',
      image_urls: ['data:image/png;base64,xx'],
      conversation_instructions: 'Be brief',
    });
    expect(status).toBe(200);
    expect(body).toMatchObject({ status: 'ok', conversation_status: 'STARTING' });
    const id = body.conversation_id;
    expect(id).toMatch(/^[0-9a-f]{32}$/);
    const starting = LegacyConversation.parse(await get(id));
    expect(starting).toMatchObject({
      conversation_id: id,
      status: 'STARTING',
      selected_repository: 'o/r',
      selected_branch: 'main',
      git_provider: 'github',
      trigger: 'openhands_api', // whoever shows a token is a program
    });
    expect((await startOf(id)).request).toMatchObject({
      system_message_suffix: 'Be brief',
      initial_message: {
        content: [
          { type: 'text', text: 'Write a test' },
          { type: 'image', image_urls: ['data:image/png;base64,xx'] },
        ],
        run: true,
      },
    });
    expect((await call('POST', `/${id}/start`)).body).toMatchObject({ conversation_status: 'STARTING' });
    expect((await call('POST', `/${id}/stop`)).body).toMatchObject({
      message: 'Conversation was not running',
    });
    api.conduct.held.clear();
    await vi.waitFor(async () => expect((await get(id))?.status).toBe('RUNNING'), 90_000);
    expect((await get(id))?.session_api_key).not.toBeNull();
  });

  it('maps a suggested task and a microagent', async () => {
    const task = {
      git_provider: 'github',
      task_type: 'OPEN_ISSUE',
      repo: 'o/r',
      issue_number: 3,
      title: 'A title',
    };
    const suggested = (await create({ suggested_task: task, initial_user_msg: 'dropped' })).body;
    expect((await startOf(suggested.conversation_id)).request).toMatchObject({
      trigger: 'suggested_task',
      selected_repository: 'o/r',
    });
    const microagent = (await create({ create_microagent: { repo: 'o/m' }, initial_user_msg: 'x' })).body;
    expect((await startOf(microagent.conversation_id)).request).toMatchObject({
      trigger: 'microagent_management',
      selected_repository: 'o/m',
    });
  });

  it('leads to the same conversation when it is repeated with its Idempotency-Key', async () => {
    const headers = { 'Idempotency-Key': newId() };
    const first = await create({ initial_user_msg: 'once' }, headers);
    const second = await create({ initial_user_msg: 'once' }, headers);
    expect(second.body.conversation_id).toBe(first.body.conversation_id);
  });

  it('whose start fails is a conversation in ERROR, and one that was taken back is none', async () => {
    api.conduct.failing = 'prepareSkills';
    const failed = (await create({})).body.conversation_id;
    await vi.waitFor(async () => expect((await get(failed))?.status).toBe('ERROR'), 90_000);
    expect(await call('POST', `/${failed}/start`)).toMatchObject({
      status: 409,
      body: { status: 'error', message: expect.stringContaining('prepareSkills failed') as string },
    });
    api.conduct.failing = null;
    api.conduct.held.add('prepareSkills');
    const cancelled = (await create({})).body.conversation_id;
    expect((await call<unknown>('DELETE', `/${cancelled}`)).body).toBe(true);
    await vi.waitFor(async () => expect(await get(cancelled)).toBeNull(), 90_000);
  });

  it.each([
    [{ replay_json: '[]' }, 400, 'CONFIGURATION$REPLAY_NOT_SUPPORTED'],
    [{ mcp_config: { sse_servers: [] } }, 400, 'CONFIGURATION$MCP_NOT_SUPPORTED'],
    [{ replay: true }, 422, undefined],
    [{ git_provider: 'sourceforge' }, 422, undefined],
  ])('refuses %j with %i', async (body, status, msg_id) => {
    const answer = await create(body);
    expect(answer.status).toBe(status);
    if (msg_id) expect(answer.body).toMatchObject({ status: 'error', msg_id });
  });
});

describe('start and stop of older clients', () => {
  it('resume and pause the sandbox, and say when there is nothing to do', async () => {
    const id = await running();
    const steps = [
      ['start', { message: 'Conversation is running', conversation_status: 'RUNNING' }, 'RUNNING'],
      ['stop', { message: 'Conversation stopped', conversation_status: 'STOPPED' }, 'STOPPED'],
      ['stop', { message: 'Conversation was not running', conversation_status: 'STOPPED' }, 'STOPPED'],
      ['start', { message: 'Conversation started', conversation_status: 'STARTING' }, 'RUNNING'],
    ] as const;
    for (const [order, answer, afterwards] of steps) {
      const body = order === 'start' ? { providers_set: ['github'] } : undefined;
      expect(await call('POST', `/${id}/${order}`, body)).toMatchObject({
        status: 200,
        body: { status: 'ok', conversation_id: id, ...answer },
      });
      await vi.waitFor(async () => expect((await get(id))?.status).toBe(afterwards), 90_000);
    }
  });

  it('tell that there is no such conversation, or that its sandbox is gone', async () => {
    const gone = await running({}, { deletedAt: new Date() });
    for (const order of ['start', 'stop']) {
      for (const id of [newId(), 'abc']) {
        expect(await call('POST', `/${id}/${order}`)).toMatchObject({
          status: 404,
          body: { status: 'error', conversation_id: id },
        });
      }
      expect((await call('POST', `/${gone}/${order}`)).status).toBe(410);
    }
  });
});

describe('messages of older clients', () => {
  const heard = (id: string) => api.agentServer.heard(dashedId(id));

  it.each([
    ['events', { role: 'user', content: [{ type: 'text', text: 'hello' }] }],
    ['events', { action: 'message', args: { content: 'hello', timestamp: 'now' } }],
    ['message', { message: 'hello' }],
  ])('to /%s as %j reach the agent and are told back', async (path, body) => {
    const id = await running();
    expect(await call('POST', `/${id}/${path}`, body)).toMatchObject({
      status: 200,
      body: { success: true, role: 'user', content: [{ type: 'text', text: 'hello' }] },
    });
    expect(heard(id)).toEqual(['hello']);
  });

  it('are refused when they are none, and when there is nobody to hear them', async () => {
    const id = await running();
    const cases = [
      [id, 'events', { action: 'run', args: { command: 'ls' } }, 400],
      [id, 'events', { action: 'message', args: {} }, 400],
      [id, 'events', { role: 'system', content: [{ type: 'text', text: 'x' }] }, 422],
      [id, 'events', { role: 'user', content: [] }, 422],
      [id, 'events', [], 422],
      [id, 'message', { message: '' }, 422],
      [newId(), 'message', { message: 'x' }, 404],
      ['abc', 'message', { message: 'x' }, 404],
      [await running({}, { deletedAt: new Date() }), 'message', { message: 'x' }, 410],
    ] as const;
    for (const [to, path, body, status] of cases) {
      expect((await call('POST', `/${to}/${path}`, body)).status, JSON.stringify(body)).toBe(status);
    }
    expect(heard(id)).toEqual([]);
  });
});
