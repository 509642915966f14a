import { eq } from 'drizzle-orm';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { pino } from 'pino';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createAgentServerClient } from '../../agent-server/client.js';
import { createAgentServerAccess } from '../../api/agent-server-access.js';
import { profileRoutes } from '../../api/profile-routes.js';
import { settingsRoutes } from '../../api/settings-routes.js';
import { switchRoutes } from '../../api/switch-routes.js';
import { dashedId } from '../../contract/ids.js';
import { ConversationReadModel } from '../../db/conversation-read-model.js';
import { ConversationRepository } from '../../db/conversation-repository.js';
import { conversations, settings, type sandboxes } from '../../db/schema/index.js';
import { SettingsStore } from '../../identity/settings-store.js';
import { purposes } from '../../identity/vault.js';
import { openTestStores, type TestStores } from '../support/identity.js';
import { insertConversation, insertSandbox, newId } from '../support/rows.js';
import { startTestServer, type TestServer } from '../support/test-server.js';

const INSTANCE = { model: 'inst/model', apiKey: 'key-of-the-instance', baseUrl: 'http://inst.example' };
let stores: TestStores;
let store: SettingsStore;
let api: TestServer;
let runtime: Server;
/** What the agent-server answers, and what it was told. */
let status: number;
let orders: { path: string; body: { llm?: Record<string, unknown>; model?: string } }[];

beforeAll(async () => {
  stores = await openTestStores();
  const { database } = stores.connection;
  store = new SettingsStore({ database, vault: stores.vault, instanceLlm: INSTANCE });
  runtime = createServer((request, response) => {
    let text = '';
    request.on('data', (chunk: Buffer) => (text += chunk.toString()));
    request.on('end', () => {
      orders.push({ path: request.url ?? '', body: JSON.parse(text) as never });
      const body = status === 200 ? { success: true } : { detail: `refused: ${text}` };
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    });
  });
  await new Promise<void>((resolve) => runtime.listen(0, '127.0.0.1', resolve));
  const logger = pino({ level: 'silent' });
  api = await startTestServer(
    [
      ...profileRoutes({ settings: store }),
      ...settingsRoutes({ settings: store, secrets: stores.secrets }),
      ...switchRoutes({
        settings: store,
        rows: new ConversationRepository(database),
        conversations: new ConversationReadModel(database),
        agentServers: createAgentServerAccess({
          vault: stores.vault,
          connect: createAgentServerClient,
          logger,
        }),
      }),
    ],
    { auth: stores.auth },
  );
});
beforeEach(() => {
  status = 200;
  orders = [];
});
afterAll(async () => {
  await api.close();
  runtime.closeAllConnections();
  await new Promise((resolve) => runtime.close(resolve));
  await stores.close();
});

/** Calls of a user of their own; no answer and no log line holds a key. */
function newUser(user: string = crypto.randomUUID()) {
  const call = async (method: string, path: string, body?: unknown) => {
    const response = await api.send(method, path, body, { 'x-test-user': user });
    const text = await response.text();
    expect(text).not.toContain('key-of');
    return { status: response.status, body: JSON.parse(text) as Record<string, unknown> };
  };
  const profiles = (method: string, path = '', body?: unknown) =>
    call(method, `/api/v1/settings/profiles${path}`, body);
  return {
    user,
    call,
    profiles,
    list: async () => (await profiles('GET')).body,
    use: (llm: Record<string, unknown>) => call('POST', '/api/v1/settings', { agent_settings_diff: { llm } }),
    llm: async () => (await store.read(user)).agent_settings.llm,
    saved: (name: string) => store.profile(user, name),
  };
}
type User = ReturnType<typeof newUser>;

async function withSettings(): Promise<User> {
  const user = newUser();
  await user.use({ model: 'openai/gpt-5', api_key: 'key-of-the-user', temperature: 0.5 });
  return user;
}

const summary = (name: string, more: Record<string, unknown> = {}) => ({
  name,
  model: 'openai/gpt-5',
  base_url: 'https://api.openai.com/v1',
  api_key_set: true,
  ...more,
});

describe('a saved model', () => {
  it('is that of the settings unless another one is sent, and is shown without its key', async () => {
    const user = await withSettings();
    expect(await user.profiles('POST', '/Default')).toEqual({
      status: 201,
      body: { name: 'Default', message: "Profile 'Default' saved" },
    });
    const sent = {
      llm: { model: 'local/llama', base_url: 'http://127.0.0.1:1234', api_key: 'key-of-llama' },
    };
    expect((await user.profiles('POST', '/second', sent)).status).toBe(201);
    expect(await user.list()).toEqual({
      profiles: [
        summary('Default'),
        summary('second', { model: 'local/llama', base_url: 'http://127.0.0.1:1234' }),
      ],
      active_profile: null,
    });
    expect(await user.profiles('GET', '/Default')).toMatchObject({
      status: 200,
      body: {
        name: 'Default',
        api_key_set: true,
        config: { model: 'openai/gpt-5', temperature: 0.5, api_key: null, num_retries: 5 },
      },
    });
    const { database } = stores.connection;
    const [row] = await database.select().from(settings).where(eq(settings.userId, user.user));
    expect(JSON.stringify(row)).not.toContain('key-of');
    expect(row?.content['llm_profiles']).toMatchObject({ profiles: { second: { model: 'local/llama' } } });
  });

  it('keeps the key that is not sent again, forgets one that is cleared, or not to be stored', async () => {
    const user = await withSettings();
    const key = async () => (await store.find(user.user))?.llm_profiles.profiles['p']?.['api_key'] ?? null;
    const save = (body?: unknown) => user.profiles('POST', '/p', body);
    await save({ llm: { model: 'a/b', api_key: 'key-of-p', aws_secret_access_key: 'key-of-aws' } });
    await save({ llm: { model: 'a/c' } });
    expect(await key()).toBe('key-of-p');
    // As clients do: read, edit, send back.
    const { body } = await user.profiles('GET', '/p');
    await save({ llm: { ...(body['config'] as object), temperature: 1 } });
    expect(await user.saved('p')).toMatchObject({
      api_key: 'key-of-p',
      aws_secret_access_key: 'key-of-aws',
      temperature: 1,
      model: 'a/c',
    });
    await save({ preserve_existing_api_key: true });
    expect(await user.saved('p')).toMatchObject({ model: 'openai/gpt-5', api_key: 'key-of-p' });
    await save();
    expect(await key()).toBe('key-of-the-user');
    await save({ llm: { model: 'a/b', api_key: '' } });
    expect(await key()).toBe('');
    expect((await user.profiles('GET', '/p')).body).toMatchObject({ api_key_set: false });
    await save({ include_secrets: false });
    expect(await key()).toBeNull();
  });

  it.each([
    ['a member that nobody knows', { llm: { model: 'a/b', custom_header: 'x' } }, 'extra_forbidden'],
    ['a number out of bounds', { llm: { temperature: -1 } }, 'greater_than_equal'],
    ['no object', { llm: 'a/b' }, undefined],
  ])('with %s is refused', async (_what, body, type) => {
    const user = await withSettings();
    const answer = await user.profiles('POST', '/p', body);
    expect(answer.status).toBe(422);
    if (type) expect(answer.body).toMatchObject({ detail: [{ type }] });
    expect(await user.list()).toMatchObject({ profiles: [] });
  });

  it.each(['a b', 'ü', '', 'x'.repeat(65), 'a/b', '..%2Fx', '__proto__'])(
    'is not called %j',
    async (name) => {
      const user = await withSettings();
      const path = `/${name.includes('%') ? name : encodeURIComponent(name)}`;
      if (name !== '') expect((await user.profiles('POST', path)).status).toBe(422);
      await user.profiles('POST', '/fine');
      const renamed = await user.profiles('POST', '/fine/rename', { new_name: decodeURIComponent(name) });
      expect(renamed.status).toBe(422);
    },
  );

  it('needs settings, and is not found where there are none', async () => {
    const user = newUser();
    expect(await user.list()).toEqual({ profiles: [], active_profile: null });
    expect(await user.profiles('POST', '/p', { llm: { model: 'a/b' } })).toEqual({
      status: 404,
      body: { detail: 'Settings not found' },
    });
    const none = { status: 404, body: { detail: "Profile 'p' not found" } };
    expect(await user.profiles('GET', '/p')).toEqual(none);
    expect(await user.profiles('POST', '/p/activate')).toEqual(none);
    expect(await user.profiles('POST', '/p/rename', { new_name: 'q' })).toEqual(none);
    expect((await user.profiles('DELETE', '/p')).status).toBe(200);
    expect(await store.find(user.user)).toBeNull();
    expect(await user.profiles('GET', '/constructor')).toMatchObject({ status: 404 });
  });

  it('is one of ten at most', async () => {
    const user = await withSettings();
    for (let count = 0; count < 10; count++) await user.profiles('POST', `/p${count}`);
    expect(await user.profiles('POST', '/p10')).toEqual({
      status: 409,
      body: { detail: 'Profile limit reached (10). Delete a profile before saving a new one.' },
    });
    expect((await user.profiles('POST', '/p9')).status).toBe(201);
  });

  it('is not lost when others are saved at the same moment', async () => {
    const user = await withSettings();
    const names = Array.from({ length: 10 }, (_, place) => `p${place}`);
    await Promise.all([
      ...names.map((name) => user.profiles('POST', `/${name}`, { llm: { model: `m/${name}` } })),
      user.call('POST', '/api/v1/settings', { language: 'de' }),
    ]);
    const { profiles } = (await user.list()) as { profiles: { name: string; model: string }[] };
    expect(profiles.map(({ name, model }) => [name, model]).sort()).toEqual(
      names.map((name) => [name, `m/${name}`]),
    );
    expect((await store.read(user.user)).language).toBe('de');
  });

  it('of the instance does not take its key along, and is called with it all the same', async () => {
    const user = newUser();
    await user.call('POST', '/api/v1/settings', { language: 'en' });
    await user.profiles('POST', '/instance');
    expect(await user.list()).toMatchObject({
      profiles: [{ name: 'instance', model: INSTANCE.model, base_url: INSTANCE.baseUrl, api_key_set: false }],
    });
    expect(await user.saved('instance')).toMatchObject({ api_key: INSTANCE.apiKey });
    await user.profiles('POST', '/elsewhere', {
      llm: { model: INSTANCE.model, base_url: 'http://elsewhere.example' },
    });
    expect(await user.saved('elsewhere')).toMatchObject({ api_key: null });
    await user.profiles('POST', '/instance/activate');
    expect(await user.llm()).toMatchObject({ model: INSTANCE.model, api_key: INSTANCE.apiKey });
    await user.profiles('POST', '/elsewhere/activate');
    expect(await user.llm()).toMatchObject({ base_url: 'http://elsewhere.example', api_key: null });
  });
});

describe('the active model', () => {
  it('is that of the settings until those are changed', async () => {
    const user = await withSettings();
    await user.profiles('POST', '/a', { llm: { model: 'm/a', api_key: 'key-of-a' } });
    await user.profiles('POST', '/b', { llm: { model: 'm/b' } });
    expect(await user.profiles('POST', '/a/activate')).toEqual({
      status: 200,
      body: { name: 'a', message: "Switched to profile 'a'", model: 'm/a' },
    });
    expect(await user.llm()).toMatchObject({ model: 'm/a', api_key: 'key-of-a' });
    // One without a key is called with the key that is there.
    await user.profiles('POST', '/b/activate');
    expect(await user.llm()).toMatchObject({ model: 'm/b', api_key: 'key-of-a' });
    expect(await user.list()).toMatchObject({ active_profile: 'b' });
    await user.use({ temperature: 0.1 });
    expect(await user.list()).toMatchObject({ active_profile: null });
  });

  it('stays active when the same is saved over it, and not when another one is', async () => {
    const user = await withSettings();
    await user.profiles('POST', '/a', { llm: { model: 'm/a', api_key: 'key-of-a' } });
    await user.profiles('POST', '/a/activate');
    await user.profiles('POST', '/a');
    expect(await user.list()).toMatchObject({ active_profile: 'a' });
    await user.profiles('POST', '/a', { llm: { model: 'm/other' } });
    expect(await user.list()).toMatchObject({ active_profile: null });
  });

  it('goes with its name when that changes, and to the first of the others when it is deleted', async () => {
    const user = await withSettings();
    for (const name of ['a', 'b', 'c']) {
      await user.profiles('POST', `/${name}`, { llm: { model: `m/${name}` } });
    }
    await user.profiles('POST', '/b/activate');
    expect(await user.profiles('POST', '/b/rename', { new_name: 'b2' })).toEqual({
      status: 200,
      body: { name: 'b2', message: "Profile 'b' renamed to 'b2'" },
    });
    expect((await user.profiles('POST', '/b2/rename', { new_name: 'b2' })).status).toBe(200);
    expect(await user.profiles('POST', '/b2/rename', { new_name: 'c' })).toEqual({
      status: 409,
      body: { detail: "Profile 'c' already exists" },
    });
    const names = async () =>
      ((await user.list())['profiles'] as { name: string }[]).map(({ name }) => name).sort();
    expect(await names()).toEqual(['a', 'b2', 'c']);
    expect(await user.profiles('DELETE', '/b2')).toEqual({
      status: 200,
      body: { name: 'b2', message: "Profile 'b2' deleted" },
    });
    expect((await user.profiles('DELETE', '/b2')).status).toBe(200);
    expect(await user.list()).toMatchObject({ active_profile: 'a' });
    expect(await user.llm()).toMatchObject({ model: 'm/a' });
    expect(await names()).toEqual(['a', 'c']);
  });
});

describe('switching the model of a conversation', () => {
  async function conversationOf(
    { user }: User,
    sandbox: Partial<typeof sandboxes.$inferInsert> = {},
  ): Promise<string> {
    const sandboxId = newId();
    await insertSandbox(stores.connection.database, {
      id: sandboxId,
      createdByUserId: user,
      sessionApiKey: await stores.vault.seal(purposes.sessionKey(sandboxId), 'key-of-the-sandbox'),
      agentServerUrl: `http://127.0.0.1:${(runtime.address() as AddressInfo).port}`,
      ...sandbox,
    });
    return insertConversation(stores.connection.database, { createdByUserId: user, sandboxId });
  }
  const switchTo = (user: User, id: string, name = 'p') =>
    user.call('POST', `/api/v1/app-conversations/${id}/switch_profile`, { profile_name: name });
  const switchAcp = (user: User, id: string) =>
    user.call('POST', `/api/v1/app-conversations/${id}/switch_acp_model`, { model: 'opus' });
  const modelOf = async (id: string) => {
    const { database } = stores.connection;
    const [row] = await database.select().from(conversations).where(eq(conversations.id, id));
    return row?.llmModel;
  };
  async function withProfile(): Promise<User> {
    const user = await withSettings();
    await user.profiles('POST', '/p', { llm: { model: 'm/p' } });
    return user;
  }

  it('hands over a saved one with a key and a name of its own, and is remembered', async () => {
    const user = await withProfile();
    const id = await conversationOf(user);
    expect(await switchTo(user, id)).toEqual({ status: 200, body: { success: true } });
    expect(orders).toMatchObject([
      {
        path: `/api/conversations/${dashedId(id)}/switch_llm`,
        body: {
          llm: {
            model: 'm/p',
            api_key: 'key-of-the-user',
            stream: true,
            usage_id: expect.stringMatching(/^profile:p:[0-9a-f]{12}$/) as string,
          },
        },
      },
    ]);
    expect(await modelOf(id)).toBe('m/p');
    // The same is the same for the agent-server; a changed one is another.
    await switchTo(user, id);
    await user.profiles('POST', '/p', { llm: { model: 'm/p', temperature: 1 } });
    await switchTo(user, id);
    const [first, second, third] = orders.map(({ body }) => body.llm?.['usage_id']);
    expect(first).toBe(second);
    expect(third).not.toBe(first);
  });

  it('is done by an agent of another kind itself', async () => {
    const user = await withSettings();
    const id = await conversationOf(user);
    expect(await switchAcp(user, id)).toEqual({ status: 200, body: { success: true } });
    expect(orders).toEqual([
      { path: `/api/conversations/${dashedId(id)}/switch_acp_model`, body: { model: 'opus' } },
    ]);
    expect(await modelOf(id)).toBe('opus');
  });

  it('looks for the profile first, then for the conversation and its sandbox', async () => {
    const nobody = newUser();
    expect(await switchTo(nobody, newId())).toEqual({ status: 404, body: { detail: 'Settings not found' } });
    const user = await withProfile();
    expect(await switchTo(user, newId(), 'q')).toMatchObject({ body: { detail: "Profile 'q' not found" } });
    const foreign = await conversationOf(newUser());
    const gone = await conversationOf(user, { status: 'MISSING' });
    const starting = await conversationOf(user, { status: 'STARTING' });
    for (const id of [newId(), foreign, gone, starting]) {
      const unreachable = {
        status: 404,
        body: { detail: `Conversation ${dashedId(id)} is not reachable` },
      };
      expect(await switchTo(user, id)).toEqual(unreachable);
      expect(await switchAcp(user, id)).toEqual(unreachable);
    }
    const paused = await conversationOf(user, { status: 'PAUSED' });
    expect(await switchTo(user, paused)).toEqual({
      status: 409,
      body: { detail: 'Sandbox is paused; resume it before switching profiles.' },
    });
    expect(await switchAcp(user, paused)).toEqual({
      status: 409,
      body: { detail: 'Sandbox is paused; resume it before switching models.' },
    });
    expect((await switchTo(user, paused, '')).status).toBe(422);
    expect(orders).toEqual([]);
  });

  it('that the agent-server refuses is 502, or its own status where that says something', async () => {
    const user = await withProfile();
    const id = await conversationOf(user);
    for (const [answered, profile, acp] of [
      [400, 502, 400],
      [422, 502, 502],
      [500, 502, 502],
      [504, 502, 504],
    ] as const) {
      status = answered;
      const detail = `Agent server error: ${answered}`;
      expect(await switchTo(user, id)).toEqual({ status: profile, body: { detail } });
      expect(await switchAcp(user, id)).toEqual({ status: acp, body: { detail } });
    }
    const away = await conversationOf(user, { agentServerUrl: 'http://127.0.0.1:9' });
    const detail = 'Failed to reach agent server.';
    expect(await switchTo(user, away)).toEqual({ status: 502, body: { detail } });
    expect(await modelOf(id)).toBeNull();
    expect(JSON.stringify(api.log)).not.toContain('key-of');
  });
});
