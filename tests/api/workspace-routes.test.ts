import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createAgentServerClient } from '../../agent-server/client.js';
import { agentContextRoutes } from '../../api/agent-context-routes.js';
import { createAgentServerAccess } from '../../api/agent-server-access.js';
import { legacyInsightRoutes, type LegacyInsightDeps } from '../../api/legacy/conversation-insight-routes.js';
import { createSkillShelf } from '../../api/skill-shelf.js';
import { workspaceRoutes } from '../../api/workspace-routes.js';
import { dashedId } from '../../contract/ids.js';
import { ConversationReadModel } from '../../db/conversation-read-model.js';
import type { sandboxes } from '../../db/schema/index.js';
import { purposes } from '../../identity/vault.js';
import { openTestStores, type TestStores } from '../support/identity.js';
import { insertConversation, insertSandbox, newId } from '../support/rows.js';
import { startTestServer, type TestServer } from '../support/test-server.js';

const SESSION_KEY = 'the session key of a sandbox';
const WORKING = '/data/sandboxes/box/workspace/project';
const PROJECT = `${WORKING}/rocket`;

let stores: TestStores;
let api: TestServer;
let runtime: Server;
let serverSkills: string;
/** What the agent-server answers, by path without query. */
let answers: Record<string, (request: IncomingMessage, response: ServerResponse) => void>;
const asked: { url: URL; body: unknown; key: string | undefined }[] = [];

const json =
  (value: unknown, status = 200) =>
  (_request: IncomingMessage, response: ServerResponse) =>
    void response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
const bytes = (value: string | Uint8Array) => (_request: IncomingMessage, response: ServerResponse) =>
  void response.writeHead(200, { 'content-type': 'application/octet-stream' }).end(value);

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  let body = '';
  for await (const chunk of request) body += String(chunk);
  const url = new URL(request.url ?? '/', 'http://runtime');
  const key = request.headers['x-session-api-key'] as string | undefined;
  asked.push({ url, body: body === '' ? null : JSON.parse(body), key });
  (answers[url.pathname] ?? json({ detail: 'Not Found' }, 404))(request, response);
}

beforeAll(async () => {
  stores = await openTestStores();
  serverSkills = await mkdtemp(join(tmpdir(), 'callboard-skills-'));
  runtime = createServer((request, response) => void answer(request, response));
  await new Promise<void>((resolve) => runtime.listen(0, '127.0.0.1', resolve));
  const logger = pino({ level: 'silent' });
  const conversations = new ConversationReadModel(stores.connection.database);
  const agentServers = createAgentServerAccess({
    vault: stores.vault,
    connect: createAgentServerClient,
    logger,
  });
  const context = {
    conversations,
    agentServers,
    settings: stores.settings,
    skills: createSkillShelf(0),
    skillDirectories: () => [serverSkills],
    logger,
  };
  const noEvents = { events: {} as LegacyInsightDeps['events'], maxEvents: 0 };
  api = await startTestServer(
    [
      ...workspaceRoutes({ conversations, agentServers }),
      ...agentContextRoutes(context),
      ...legacyInsightRoutes({ ...context, ...noEvents }),
    ],
    { auth: stores.auth },
  );
});
beforeEach(() => {
  answers = {};
  asked.length = 0;
});
afterEach(async () => {
  await rm(serverSkills, { recursive: true, force: true });
});
afterAll(async () => {
  await api.close();
  runtime.closeAllConnections();
  await new Promise((resolve) => runtime.close(resolve));
  await stores.close();
});

const runtimeUrl = () => `http://127.0.0.1:${(runtime.address() as AddressInfo).port}`;

/** A conversation of ann in a RUNNING sandbox, or one that is as told. */
async function conversation(sandbox: Partial<typeof sandboxes.$inferInsert> = {}): Promise<string> {
  const sandboxId = newId();
  await insertSandbox(stores.connection.database, {
    id: sandboxId,
    createdByUserId: 'ann',
    sessionApiKey: await stores.vault.seal(purposes.sessionKey(sandboxId), SESSION_KEY),
    agentServerUrl: runtimeUrl(),
    workingDirectory: WORKING,
    ...sandbox,
  });
  return insertConversation(stores.connection.database, {
    createdByUserId: 'ann',
    sandboxId,
    workingDirectory: PROJECT,
  });
}

async function get(id: string, path: string, user = 'ann') {
  const response = await api.fetch(`/api/v1/app-conversations/${id}/${path}`, {
    headers: { 'x-test-user': user },
  });
  const text = await response.text();
  expect(text).not.toContain(SESSION_KEY);
  return { status: response.status, body: JSON.parse(text) as unknown };
}

const CHANGES = 'git/changes?path=/workspace/project/rocket';
const ROUTES = ['file', CHANGES, 'git/diff?path=README.md', 'skills', 'hooks'] as const;
type Route = (typeof ROUTES)[number];

describe('a conversation whose sandbox cannot be asked', () => {
  const git = (id: string) => ({
    status: 404,
    body: { detail: `Conversation ${dashedId(id)} is not reachable` },
  });
  const unready = (why: string) => (id: string) => ({
    status: 404,
    body: { error: why.replace('<id>', dashedId(id)) },
  });
  const unknown = unready('Conversation <id> not found');
  const gone = unready('Sandbox not found for conversation <id>');
  const notReady = unready('Sandbox not ready for conversation <id>');
  const nothing = () => ({ status: 200, body: '' });
  const paused = { status: 409, body: { detail: 'Sandbox is paused; resume it before reading git state.' } };
  const none = (name: string) => () => ({ status: 200, body: { [name]: [] } });
  type Expected = (id: string) => { status: number; body: unknown };
  const all = (
    file: Expected,
    state: Expected,
    skills: Expected,
    hooks = skills,
  ): Record<Route, Expected> => ({
    file,
    [CHANGES]: state,
    'git/diff?path=README.md': state,
    skills,
    hooks,
  });

  it.each<[string, () => Promise<string>, Record<Route, Expected>]>([
    ['is not there', () => Promise.resolve(newId()), all(nothing, git, unknown)],
    [
      'has lost the record of its sandbox',
      () => insertConversation(stores.connection.database, { createdByUserId: 'ann' }),
      all(nothing, git, gone),
    ],
    ['has lost its sandbox', () => conversation({ deletedAt: new Date() }), all(nothing, git, gone)],
    ['is starting', () => conversation({ status: 'STARTING' }), all(nothing, git, notReady)],
    ['is broken', () => conversation({ status: 'ERROR' }), all(nothing, git, notReady)],
    ['has no address', () => conversation({ agentServerUrl: null }), all(nothing, git, notReady)],
    [
      'is paused',
      () => conversation({ status: 'PAUSED' }),
      all(nothing, () => paused, none('skills'), none('hooks')),
    ],
  ])('since it %s is answered as the contract says', async (_why, make, expected) => {
    const id = await make();
    for (const route of ROUTES) expect(await get(id, route), route).toEqual(expected[route](id));
    expect(asked).toEqual([]);
  });

  it('since it is of somebody else is as one that is not there', async () => {
    const id = await conversation();
    answers = { '/api/file/download': bytes('secret plans') };
    const expected = all(nothing, git, unknown);
    for (const route of ROUTES) expect(await get(id, route, 'bob'), route).toEqual(expected[route](id));
    expect(asked).toEqual([]);
  });

  it('by an id that is none is refused before anything is looked for', async () => {
    for (const route of ROUTES) {
      expect(await get('nonsense', route), route).toMatchObject({
        status: 422,
        body: { detail: [{ type: 'uuid_parsing', loc: ['path', 'conversation_id'] }] },
      });
    }
  });
});

describe('a file', () => {
  it('is read as text, the plan unless another one is named', async () => {
    const id = await conversation();
    answers['/api/file/download'] = bytes('# Plan\nünï\n');
    expect(await get(id, 'file')).toEqual({ status: 200, body: '# Plan\nünï\n' });
    expect(await get(id, 'file?file_path=docs/a%20b.md')).toMatchObject({ status: 200 });
    expect(asked.map(({ url }) => url.searchParams.get('path'))).toEqual([
      `${WORKING}/PLAN.md`,
      `${PROJECT}/docs/a b.md`,
    ]);
    expect(asked[0]?.key).toBe(SESSION_KEY);
  });

  it('outside of the working directory is not even asked for (D8)', async () => {
    const id = await conversation();
    answers['/api/file/download'] = bytes('root:x:0:0');
    for (const path of ['/etc/passwd', '../../../../../etc/passwd', '/workspace/project/../../etc/passwd']) {
      expect(await get(id, `file?file_path=${encodeURIComponent(path)}`)).toEqual({ status: 200, body: '' });
    }
    expect(asked).toEqual([]);
  });

  it.each<[string, (request: IncomingMessage, response: ServerResponse) => void]>([
    ['is not there', json({ detail: 'File not found' }, 404)],
    ['is a directory', json({ detail: 'Not a file' }, 400)],
    ['cannot be read', json({ detail: 'Internal Server Error', exception: SESSION_KEY }, 500)],
    ['is not UTF-8', bytes(Uint8Array.from([0xff, 0xfe, 0x00]))],
    ['is cut off', (_request, response) => void response.writeHead(200).write('x', () => response.destroy())],
  ])('that %s is an empty text', async (_why, reply) => {
    const id = await conversation();
    answers['/api/file/download'] = reply;
    expect(await get(id, 'file')).toEqual({ status: 200, body: '' });
  });

  it('that is huge is refused as soon as it is too large, however much more would come', async () => {
    const id = await conversation();
    let sent = 0;
    const cut = new Promise<void>((resolve) => {
      answers['/api/file/download'] = (_request, response) => {
        const chunk = Buffer.alloc(1024 * 1024, 0x61);
        response.on('close', resolve);
        const more = () => {
          while (!response.destroyed) {
            sent += chunk.length;
            if (!response.write(chunk)) break;
          }
          response.once('drain', more);
        };
        more();
      };
    });
    expect(await get(id, 'file')).toMatchObject({ status: 413 });
    await cut;
    expect(sent).toBeLessThan(64 * 1024 * 1024);
  });
});

describe('the git state', () => {
  it('is what the agent-server says of a directory, and of a file', async () => {
    const id = await conversation();
    const changes = [
      { status: 'ADDED', path: 'a.txt' },
      { status: 'MOVED', path: 'b.txt', old_path: 'c.txt' },
    ];
    answers['/api/git/changes'] = json(changes);
    answers['/api/git/diff'] = json({ modified: 'new', original: null });
    expect(await get(id, `${CHANGES}&ref=origin%2Fmain`)).toEqual({ status: 200, body: changes });
    expect(await get(id, 'git/diff?path=a.txt')).toEqual({
      status: 200,
      body: { modified: 'new', original: null },
    });
    expect(asked.map(({ url }) => Object.fromEntries(url.searchParams))).toEqual([
      { path: PROJECT, ref: 'origin/main' },
      { path: `${PROJECT}/a.txt` },
    ]);
  });

  it.each(['changes', 'diff'])('of %s is asked for with a path inside and a revision', async (what) => {
    const id = await conversation();
    const outside = await get(id, `git/${what}?path=/etc`);
    expect(outside.status).toBe(400);
    expect(JSON.stringify(outside.body)).toContain('name one inside');
    expect((await get(id, `git/${what}`)).body).toMatchObject({
      detail: [{ type: 'missing', loc: ['query', 'path'] }],
    });
    expect((await get(id, `git/${what}?path=.&ref=--output%3D%2Ftmp%2Fx`)).body).toMatchObject({
      detail: [{ type: 'value_error', loc: ['query', 'ref'] }],
    });
    expect(asked).toEqual([]);
  });

  it.each<[string, (request: IncomingMessage, response: ServerResponse) => void, string]>([
    ['refuses', json({ detail: `no such thing, ${SESSION_KEY}` }, 400), 'Agent server error: 400'],
    ['fails', json({ detail: 'Internal Server Error' }, 500), 'Agent server error: 500'],
    ['answers something else', json({ changes: [] }), 'Agent server returned unexpected response.'],
    ['breaks off', (_request, response) => void response.destroy(), 'Failed to reach agent server.'],
  ])('when the agent-server %s is 502 without its words', async (_how, reply, detail) => {
    const id = await conversation();
    answers['/api/git/changes'] = reply;
    expect(await get(id, CHANGES)).toEqual({ status: 502, body: { detail } });
  });

  it('when nobody listens is 502', async () => {
    const id = await conversation({ agentServerUrl: 'http://127.0.0.1:9' });
    expect(await get(id, CHANGES)).toEqual({
      status: 502,
      body: { detail: 'Failed to reach agent server.' },
    });
  });
});

describe('skills', () => {
  it('are those of this server and of the sandbox, without those that are turned off', async () => {
    await mkdir(serverSkills, { recursive: true });
    await writeFile(join(serverSkills, 'house.md'), 'Wipe your feet.\n');
    await writeFile(join(serverSkills, 'off.md'), 'Not wanted.\n');
    const id = await conversation();
    await stores.settings.update('ann', (stored) => ({ ...stored, disabled_skills: ['off'] }));
    answers['/api/skills'] = json({
      skills: [
        { name: 'deploy', type: 'knowledge', content: 'Ship it.', triggers: ['ship'] },
        { name: 'pdf', type: 'agentskills', content: 'Read.', triggers: [], is_agentskills_format: true },
      ],
    });
    expect(await get(id, 'skills')).toEqual({
      status: 200,
      body: {
        skills: [
          { name: 'house', type: 'repo', content: 'Wipe your feet.', triggers: [] },
          { name: 'deploy', type: 'knowledge', content: 'Ship it.', triggers: ['ship'] },
          { name: 'pdf', type: 'agentskills', content: 'Read.', triggers: [] },
        ],
      },
    });
    expect(asked[0]?.body).toMatchObject({ project_dir: PROJECT, load_project: true });
    expect(asked[0]?.body).not.toHaveProperty('registered_marketplaces');
  });

  it('that cannot be loaded leave those of this server', async () => {
    const id = await conversation();
    answers['/api/skills'] = json({ detail: 'no' }, 500);
    expect(await get(id, 'skills')).toEqual({ status: 200, body: { skills: [] } });
  });
});

describe('hooks', () => {
  it('are shown by occasion, with what the agent-server takes where nothing is said', async () => {
    const id = await conversation();
    const hook = { type: 'command', command: 'make check', timeout: 60, async: false };
    answers['/api/hooks'] = json({
      hook_config: {
        stop: [{ matcher: '*', hooks: [{ command: 'make check', async_: true, timeout: 5 }] }],
        pre_tool_use: [{ matcher: 'terminal', hooks: [{ command: 'make check' }] }],
        session_start: [],
        something_newer: [{ hooks: [] }],
      },
    });
    expect(await get(id, 'hooks')).toEqual({
      status: 200,
      body: {
        hooks: [
          { event_type: 'pre_tool_use', matchers: [{ matcher: 'terminal', hooks: [hook] }] },
          {
            event_type: 'stop',
            matchers: [{ matcher: '*', hooks: [{ ...hook, timeout: 5, async: true }] }],
          },
        ],
      },
    });
    expect(asked[0]?.body).toEqual({ project_dir: PROJECT });
  });

  it('are none where the project has none, and 502 where the agent-server fails', async () => {
    const id = await conversation();
    answers['/api/hooks'] = json({ hook_config: null });
    expect(await get(id, 'hooks')).toEqual({ status: 200, body: { hooks: [] } });
    answers['/api/hooks'] = json({ detail: 'no' }, 500);
    expect(await get(id, 'hooks')).toEqual({
      status: 502,
      body: { error: 'Agent-server returned status 500 when loading hooks' },
    });
    const away = await conversation({ agentServerUrl: 'http://127.0.0.1:9' });
    expect(await get(away, 'hooks')).toEqual({
      status: 502,
      body: { error: 'Failed to reach agent-server when loading hooks' },
    });
  });
});

describe('older clients', () => {
  const legacy = async (id: string, path: string, user = 'ann') => {
    const response = await api.fetch(`/api/conversations/${id}${path}`, { headers: { 'x-test-user': user } });
    return { status: response.status, body: (await response.json()) as Record<string, unknown> };
  };

  it('see the git state of the project, and skills as microagents', async () => {
    const changes = (...statuses: string[]) => statuses.map((status) => ({ status, path: 'a.txt' }));
    answers = {
      '/api/git/changes': json(changes('ADDED', 'DELETED', 'UPDATED', 'MOVED', 'SOMETHING_ELSE')),
      '/api/git/diff': json({ modified: 'new', original: 'old' }),
      '/api/skills': json({
        skills: [{ name: 'deploy', type: 'repo', content: 'How to', triggers: [] }],
        sources: {},
      }),
    };
    const id = await conversation();
    expect(await legacy(id, '/git/changes')).toEqual({
      status: 200,
      body: changes('A', 'D', 'M', 'R', 'SOMETHING_ELSE'),
    });
    expect(asked.at(-1)?.url.searchParams.get('path')).toBe(PROJECT);
    expect((await legacy(id, '/git/diff?path=a.txt')).body).toEqual({ modified: 'new', original: 'old' });
    expect((await legacy(id, '/microagents')).body).toEqual({
      microagents: [{ name: 'deploy', type: 'repo', content: 'How to', triggers: [], inputs: [], tools: [] }],
    });
    expect((await legacy(id, '/git/diff')).status).toBe(422);
    for (const path of ['/git/changes', '/microagents']) {
      expect(await legacy(id, path, 'bob')).toMatchObject({
        status: 404,
        body: { detail: `Conversation ${id} not found` },
      });
    }
  });
});
