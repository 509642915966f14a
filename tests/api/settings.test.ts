import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { legacySettingsRoutes } from '../../api/legacy/settings-routes.js';
import { settingsRoutes } from '../../api/settings-routes.js';
import { userRoutes } from '../../api/user-routes.js';
import { Secret } from '../../contract/masking.js';
import { SandboxRepository } from '../../db/sandbox-repository.js';
import { lookupHash } from '../../identity/vault.js';
import { openTestStores, type TestStores } from '../support/identity.js';
import { startTestServer, type TestServer } from '../support/test-server.js';

const KEY = 'instance-key-of-the-test';
const MASK = '**********';
let stores: TestStores;
let server: TestServer;
let sandboxes: SandboxRepository;

beforeAll(async () => {
  stores = await openTestStores();
  sandboxes = new SandboxRepository(stores.connection.database);
  server = await startTestServer(
    [...settingsRoutes(stores), ...legacySettingsRoutes(stores), ...userRoutes({ ...stores, sandboxes })],
    { auth: stores.auth, server: { instanceKey: new Secret(KEY) } },
  );
});
afterAll(async () => {
  await server.close();
  await stores.close();
});

interface Answer {
  status: number;
  body: Record<string, unknown>;
  text: string;
}
type Call = (
  method: string,
  path: string,
  body?: unknown,
  headers?: Record<string, string>,
) => Promise<Answer>;
const newUser = (): Call => {
  const user = crypto.randomUUID();
  return async (method, path, body, headers = {}) => {
    const response = await server.send(method, path, body, {
      authorization: `Bearer ${KEY}`,
      'x-test-user': user,
      ...headers,
    });
    const text = await response.text();
    return { status: response.status, text, body: JSON.parse(text) as Record<string, unknown> };
  };
};

const SECRETS = {
  search_api_key: 'hunter2-search',
  sandbox_api_key: 'hunter2-sandbox',
  agent_settings_diff: {
    llm: { model: 'a/b', api_key: 'hunter2-llm', extra_headers: { Authorization: 'hunter2-header' } },
    mcp_config: {
      remote: {
        url: 'https://mcp/?key=hunter2-query',
        auth: { strategy: 'bearer', value: 'hunter2-bearer' },
      },
      local: { command: 'npx', env: { TOKEN: 'hunter2-env' } },
    },
  },
};

describe('settings of release 1.11', () => {
  it('are not found until some are stored', async () => {
    const call = newUser();
    expect(await call('GET', '/api/v1/settings')).toMatchObject({
      status: 404,
      body: { error: 'Settings not found' },
    });
    expect(await call('POST', '/api/v1/settings', { language: 'de' })).toMatchObject({
      status: 200,
      body: { message: 'Settings stored' },
    });
    const { status, body } = await call('GET', '/api/v1/settings');
    expect(status).toBe(200);
    expect(body).toMatchObject({
      language: 'de',
      secrets_store: { provider_tokens: {} },
      agent_settings: { agent_kind: 'openhands', llm: { api_key: null }, condenser: { max_size: 240 } },
      conversation_settings: { max_iterations: 500, security_analyzer: 'llm' },
      llm_profiles: { profiles: {}, active: null },
      provider_tokens_set: {},
      llm_api_key_set: false,
      search_api_key_set: false,
    });
    expect(body).not.toHaveProperty('enable_solvability_analysis');
  });

  it('never show a key, only whether there is one', async () => {
    const call = newUser();
    await call('POST', '/api/v1/settings', SECRETS);
    for (const path of ['/api/v1/settings', '/api/settings', '/api/v1/users/me']) {
      const { status, text, body } = await call('GET', path);
      expect(status).toBe(200);
      expect(text, path).not.toContain('hunter2');
      if (path !== '/api/v1/users/me') {
        expect(body).toMatchObject({ llm_api_key_set: true, search_api_key_set: true, search_api_key: null });
      }
    }
    expect((await call('GET', '/api/v1/settings')).body).toMatchObject({
      agent_settings: { llm: { api_key: null }, mcp_config: { local: { env: { TOKEN: MASK } } } },
    });
    expect(JSON.stringify(server.log)).not.toContain('hunter2');
  });

  it('survive a client that stores what it read', async () => {
    const call = newUser();
    await call('POST', '/api/v1/settings', SECRETS);
    const { body } = await call('GET', '/api/v1/settings');
    const { agent_settings: agent, conversation_settings: _, ...members } = body;
    const { llm: _llm, ...agentDiff } = agent as Record<string, unknown>;
    expect(
      (await call('POST', '/api/v1/settings', { ...members, agent_settings_diff: agentDiff })).status,
    ).toBe(200);
    const secret = (await call('GET', '/api/v1/settings')).body;
    expect(secret).toMatchObject({ llm_api_key_set: true, search_api_key_set: true });
    expect(secret).toEqual(body);
  });

  it('are changed by differences, which are validated before anything is stored (D23)', async () => {
    const call = newUser();
    await call('POST', '/api/v1/settings', {
      language: 'de',
      agent_settings_diff: { llm: { model: 'a/b' } },
    });
    const refused = await call('POST', '/api/v1/settings', {
      language: 'en',
      sandbox_grouping_strategy: 'ALPHABETICAL',
    });
    expect(refused.status).toBe(400);
    expect(refused.body['error']).toMatch(/^sandbox_grouping_strategy: /);
    expect((await call('GET', '/api/v1/settings')).body).toMatchObject({
      language: 'de',
      sandbox_grouping_strategy: 'NO_GROUPING',
    });
    expect((await call('POST', '/api/v1/settings', { language: 'fr' })).status).toBe(200);
  });

  it('are refused whole where only differences are taken', async () => {
    expect(await newUser()('POST', '/api/v1/settings', { agent_settings: {}, language: 'x' })).toMatchObject({
      status: 422,
      body: {
        error: 'Use *_diff nested settings payloads instead of legacy keys',
        keys: ['agent_settings'],
      },
    });
  });

  it('must be an object', async () => {
    const { status, body } = await newUser()('POST', '/api/v1/settings', ['language']);
    expect(status).toBe(422);
    expect(body).toMatchObject({ detail: [{ type: 'dict_type', loc: ['body'] }] });
  });

  it('with text that cannot be stored are refused', async () => {
    expect((await newUser()('POST', '/api/v1/settings', { language: 'a\0b' })).status).toBe(400);
  });

  it('stay readable although an earlier version stored what is no longer valid (D23)', async () => {
    const user = crypto.randomUUID();
    await stores.connection.database.execute(
      sql`insert into settings values (${user}, '{"language": "de", "sandbox_grouping_strategy": 7}', null, now())`,
    );
    const call: Call = (method, path, body) => newUser()(method, path, body, { 'x-test-user': user });
    expect((await call('GET', '/api/v1/settings')).body).toMatchObject({ language: 'de' });
  });

  it('come with the schemas that clients build forms from', async () => {
    const agent = await newUser()('GET', '/api/v1/settings/agent-schema');
    expect(agent.body).toMatchObject({ model_name: 'AgentSettings' });
    const conversation = await newUser()('GET', '/api/v1/settings/conversation-schema');
    expect(conversation.body).toMatchObject({ model_name: 'ConversationSettings' });
  });

  it('are only for those who have the key of the instance', async () => {
    const nobody = { authorization: '' };
    expect((await newUser()('GET', '/api/v1/settings', undefined, nobody)).status).toBe(401);
    expect((await newUser()('POST', '/api/v1/settings', { language: 'x' }, nobody)).status).toBe(401);
    expect((await newUser()('GET', '/api/settings', undefined, nobody)).status).toBe(401);
  });
});

describe('settings of the 2025-11 client', () => {
  it('are the same settings', async () => {
    const call = newUser();
    expect((await call('GET', '/api/settings')).status).toBe(404);
    const whole = {
      llm_model: 'a/b',
      llm_api_key: 'hunter2',
      search_api_key: '',
      language: 'de',
      unknown: 1,
    };
    expect(await call('POST', '/api/settings', whole)).toMatchObject({
      status: 200,
      body: { message: 'Settings stored' },
    });
    expect((await call('GET', '/api/v1/settings')).body).toMatchObject({
      language: 'de',
      agent_settings: { llm: { model: 'a/b' } },
      llm_api_key_set: true,
    });
    expect((await call('GET', '/api/settings')).body).toMatchObject({
      llm_model: 'a/b',
      llm_api_key: null,
      llm_api_key_set: true,
      search_api_key_set: false,
      provider_tokens_set: {},
      condenser_max_size: 240,
    });
  });

  it('are refused with 422 when they do not fit', async () => {
    expect(await newUser()('POST', '/api/settings', { condenser_max_size: 19 })).toMatchObject({
      status: 422,
      body: {
        detail: [{ type: 'greater_than_equal', loc: ['body', 'condenser_max_size'], ctx: { ge: 20 } }],
      },
    });
  });

  it('cannot be reset', async () => {
    expect(await newUser()('POST', '/api/reset-settings')).toMatchObject({
      status: 410,
      body: { error: 'Reset settings functionality has been removed.' },
    });
  });

  it('come with the names to choose from', async () => {
    const call = newUser();
    await call('POST', '/api/settings', { llm_model: 'custom/one' });
    const models = (await call('GET', '/api/options/models')).body as unknown as string[];
    expect(models).toContain('custom/one');
    expect(models.every((name) => name.includes('/'))).toBe(true);
    expect((await call('GET', '/api/options/agents')).body).toEqual(['CodeActAgent']);
    expect((await call('GET', '/api/options/security-analyzers')).body).toEqual(['llm', 'none']);
  });
});

describe('the caller', () => {
  it('has default settings before any are stored, in the members of both releases', async () => {
    const user = crypto.randomUUID();
    const { status, body } = await newUser()('GET', '/api/v1/users/me', undefined, { 'x-test-user': user });
    expect(status).toBe(200);
    expect(body).toMatchObject({
      id: user,
      secrets_store: { provider_tokens: {} },
      agent_settings: { llm: { api_key: null } },
      llm_model: 'gpt-5.5',
      llm_api_key: null,
      confirmation_mode: false,
      mcp_config: { sse_servers: [], stdio_servers: [], shttp_servers: [] },
    });
  });

  it('sees a mask where a key is set', async () => {
    const call = newUser();
    await call('POST', '/api/v1/settings', SECRETS);
    expect((await call('GET', '/api/v1/users/me')).body).toMatchObject({
      search_api_key: MASK,
      llm_api_key: MASK,
      agent_settings: { llm: { api_key: MASK } },
    });
  });

  describe('gets plain keys', () => {
    const sandboxOf = async (user: string | null, status: 'RUNNING' | 'PAUSED') => {
      const [id, key] = [crypto.randomUUID(), `session-key-${crypto.randomUUID()}`];
      await sandboxes.create({
        id,
        createdByUserId: user,
        specId: 'spec',
        sessionApiKey: 'sealed',
        sessionApiKeyHash: lookupHash(key),
        secretKey: 'sealed',
      });
      await sandboxes.setStatus(id, status);
      return key;
    };
    const expose = async (user: string, sessionKey?: string, value = 'true') =>
      newUser()('GET', `/api/v1/users/me?expose_secrets=${value}`, undefined, {
        'x-test-user': user,
        ...(sessionKey === undefined ? {} : { 'X-Session-API-Key': sessionKey }),
      });
    let user: string;
    beforeAll(async () => {
      user = crypto.randomUUID();
      await newUser()('POST', '/api/v1/settings', SECRETS, { 'x-test-user': user });
    });

    it('with the key of a running sandbox of theirs (D5)', async () => {
      const { status, body } = await expose(user, await sandboxOf(user, 'RUNNING'));
      expect(status).toBe(200);
      expect(body).toMatchObject({
        search_api_key: 'hunter2-search',
        agent_settings: {
          llm: { api_key: 'hunter2-llm' },
          mcp_config: { local: { env: { TOKEN: 'hunter2-env' } } },
        },
      });
    });

    it.each([
      ['no key', async () => Promise.resolve(undefined), 401, 'X-Session-API-Key header is required'],
      ['an unknown key', async () => Promise.resolve('made-up'), 401, 'Invalid session API key'],
      ['the key of the instance', async () => Promise.resolve(KEY), 401, 'Invalid session API key'],
      ['the key of a paused sandbox', async () => sandboxOf(user, 'PAUSED'), 401, 'Sandbox is not running'],
      [
        'the key of somebody else’s sandbox',
        async () => sandboxOf('somebody else', 'RUNNING'),
        403,
        'Session API key does not belong to the authenticated user',
      ],
      [
        'the key of nobody’s sandbox',
        async () => sandboxOf(null, 'RUNNING'),
        403,
        'Session API key does not belong to the authenticated user',
      ],
    ])('and not with %s', async (_name, key, status, detail) => {
      const answer = await expose(user, await key());
      expect(answer).toMatchObject({ status, body: { detail } });
      expect(answer.text).not.toContain('hunter2');
    });

    it('and not without asking', async () => {
      const key = await sandboxOf(user, 'RUNNING');
      expect((await expose(user, key, 'false')).text).not.toContain('hunter2');
    });
  });
});
