import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { legacySecretsRoutes } from '../../api/legacy/secrets-routes.js';
import { secretsRoutes } from '../../api/secrets-routes.js';
import { settingsRoutes } from '../../api/settings-routes.js';
import { openTestStores, type TestStores } from '../support/identity.js';
import { SecretsStoreTokenProvider } from '../../identity/secrets-token-provider.js';
import { startTestServer, type TestServer } from '../support/test-server.js';

let stores: TestStores;
let server: TestServer;
const verified: unknown[] = [];

beforeAll(async () => {
  stores = await openTestStores();
  const deps = {
    ...stores,
    verifyProviderToken: (provider: string, token: { token: string }) => {
      verified.push([provider, token]);
      return Promise.resolve(!token.token.startsWith('bad'));
    },
  };
  server = await startTestServer(
    [...secretsRoutes(deps), ...legacySecretsRoutes(deps), ...settingsRoutes(stores)],
    {
      auth: stores.auth,
    },
  );
});
afterAll(async () => {
  await server.close();
  await stores.close();
});

const newUser = (user = crypto.randomUUID()) =>
  Object.assign(
    async (method: string, path: string, body?: unknown) => {
      const response = await server.send(method, path, body, { 'x-test-user': user });
      const text = await response.text();
      expect(text).not.toContain('hunter2');
      return { status: response.status, body: JSON.parse(text) as unknown };
    },
    { user },
  );

describe('custom secrets of release 1.11', () => {
  it('are created, listed without values, renamed and deleted', async () => {
    const call = newUser();
    expect(
      await call('POST', '/api/v1/secrets', { name: 'TOKEN', value: 'hunter2', description: 'first' }),
    ).toEqual({ status: 201, body: { message: 'Secret created successfully' } });
    expect(await call('GET', '/api/v1/secrets/search')).toEqual({
      status: 200,
      body: { items: [{ name: 'TOKEN', description: 'first' }], next_page_id: null },
    });
    expect(await call('PUT', '/api/v1/secrets/TOKEN', { name: 'OTHER' })).toEqual({
      status: 200,
      body: { message: 'Secret updated successfully' },
    });
    expect(await call('GET', '/api/v1/secrets/search')).toMatchObject({
      body: { items: [{ name: 'OTHER', description: '' }] },
    });
    expect(await stores.secrets.readCustomValue(call.user, 'OTHER')).toBe('hunter2');
    expect(await call('DELETE', '/api/v1/secrets/OTHER')).toEqual({
      status: 200,
      body: { message: 'Secret deleted successfully' },
    });
    const gone = { status: 404, body: { detail: 'Secret with ID OTHER not found' } };
    expect(await call('DELETE', '/api/v1/secrets/OTHER')).toEqual(gone);
    expect(await call('PUT', '/api/v1/secrets/OTHER', { name: 'X' })).toEqual(gone);
  });

  it('overwrite one of the same name and keep its description', async () => {
    const call = newUser();
    await call('POST', '/api/v1/secrets', { name: 'A', value: 'one', description: 'd' });
    expect((await call('POST', '/api/v1/secrets', { name: 'A', value: 'two' })).status).toBe(201);
    expect(await call('GET', '/api/v1/secrets/search')).toMatchObject({
      body: { items: [{ description: 'd' }] },
    });
    expect(await stores.secrets.readCustomValue(call.user, 'A')).toBe('two');
  });

  it('cannot be renamed to a name that is taken', async () => {
    const call = newUser();
    await call('POST', '/api/v1/secrets', { name: 'A', value: '1' });
    await call('POST', '/api/v1/secrets', { name: 'B', value: '2' });
    expect(await call('PUT', '/api/v1/secrets/A', { name: 'B' })).toEqual({
      status: 400,
      body: { detail: 'Secret B already exists' },
    });
  });

  it.each(['', 'git-providers', '1A', 'a b', 'A=B', 'ä'])('cannot be called %j', async (name) => {
    expect(await newUser()('POST', '/api/v1/secrets', { name, value: 'hunter2' })).toMatchObject({
      status: 422,
      body: { detail: [{ type: 'value_error', loc: ['body', 'name'] }] },
    });
  });

  it('that are refused do not repeat the value', async () => {
    expect((await newUser()('POST', '/api/v1/secrets', { value: 'hunter2' })).status).toBe(422);
    expect((await newUser()('POST', '/api/v1/secrets', { name: 'A', value: ['hunter2'] })).status).toBe(422);
    expect((await newUser()('POST', '/api/v1/secrets', { name: 'A', value: 'hunter2\0' })).status).toBe(400);
  });

  it('are listed page by page', async () => {
    const call = newUser();
    for (const name of ['C', 'A', 'B']) await call('POST', '/api/v1/secrets', { name, value: 'v' });
    const first = await call('GET', '/api/v1/secrets/search?limit=2');
    expect(first.body).toMatchObject({ items: [{ name: 'A' }, { name: 'B' }], next_page_id: 'B' });
    const second = await call('GET', '/api/v1/secrets/search?limit=2&page_id=B');
    expect(second.body).toMatchObject({ items: [{ name: 'C' }], next_page_id: null });
    expect((await call('GET', '/api/v1/secrets/search?name__contains=c')).body).toMatchObject({
      items: [{ name: 'C' }],
    });
  });
});

describe('git-provider tokens', () => {
  const tokens = async (user: string) =>
    Object.fromEntries(await new SecretsStoreTokenProvider(stores.secrets, user).getAll());

  it('replace those before; an empty one keeps what is stored', async () => {
    const call = newUser();
    const path = '/api/v1/secrets/git-providers';
    const both = { github: { token: 'hunter2-a' }, gitlab: { token: 'hunter2-b', host: 'git.example' } };
    expect(await call('POST', path, { provider_tokens: both })).toEqual({
      status: 200,
      body: { message: 'Git providers stored' },
    });
    await call('POST', '/api/v1/settings', { language: 'de' });
    expect((await call('GET', '/api/v1/settings')).body).toMatchObject({
      provider_tokens_set: { github: null, gitlab: 'git.example' },
    });
    await call('POST', path, {
      provider_tokens: { gitlab: { token: '', host: null }, forgejo: { token: '' } },
    });
    expect(await tokens(call.user)).toEqual({
      gitlab: { token: 'hunter2-b', host: 'git.example', userId: null },
    });
    expect(await call('DELETE', path)).toEqual({
      status: 200,
      body: { message: 'Unset Git provider tokens' },
    });
    expect(await tokens(call.user)).toEqual({});
  });

  it('that the provider does not know are refused, and nothing is stored', async () => {
    const call = newUser();
    const body = { provider_tokens: { github: { token: 'good' }, gitlab: { token: 'bad-hunter2' } } };
    const text = 'Invalid token. Please make sure it is a valid gitlab token.';
    expect(await call('POST', '/api/v1/secrets/git-providers', body)).toEqual({
      status: 401,
      body: { detail: text },
    });
    expect(await call('POST', '/api/add-git-providers', body)).toEqual({
      status: 401,
      body: { error: text },
    });
    expect(await tokens(call.user)).toEqual({});
  });

  it('are tried with the host they are for, and not again when they are kept', async () => {
    const call = newUser();
    const path = '/api/v1/secrets/git-providers';
    verified.length = 0;
    await call('POST', path, {
      provider_tokens: { github: { token: 't', host: 'ghe.example', user_id: '7' } },
    });
    await call('POST', path, { provider_tokens: { github: {} } });
    expect(verified).toEqual([['github', { token: 't', host: 'ghe.example', userId: '7' }]]);
  });

  it('of an unknown provider are refused without repeating them', async () => {
    const body = { provider_tokens: { sourceforge: { token: 'hunter2' } } };
    expect((await newUser()('POST', '/api/v1/secrets/git-providers', body)).status).toBe(422);
  });

  it('are taken as they are without a verifier', async () => {
    const open = await startTestServer(secretsRoutes(stores), { auth: stores.auth });
    try {
      const user = crypto.randomUUID();
      const body = { provider_tokens: { github: { token: 'bad-one' } } };
      const response = await open.send('POST', '/api/v1/secrets/git-providers', body, {
        'x-test-user': user,
      });
      expect(response.status).toBe(200);
      expect(await tokens(user)).toMatchObject({ github: { token: 'bad-one' } });
    } finally {
      await open.close();
    }
  });
});

describe('secrets of the 2025-11 client', () => {
  it('are the same secrets, with the answers of that release', async () => {
    const call = newUser();
    const secret = { name: 'A', value: 'hunter2', description: 'd' };
    expect(await call('POST', '/api/secrets', secret)).toMatchObject({ status: 201 });
    expect(await call('POST', '/api/secrets', secret)).toEqual({
      status: 400,
      body: { message: 'Secret A already exists' },
    });
    expect(await call('GET', '/api/secrets')).toEqual({
      status: 200,
      body: { custom_secrets: [{ name: 'A', description: 'd' }] },
    });
    expect((await call('PUT', '/api/secrets/A', { name: 'B' })).status).toBe(200);
    const unknown = { status: 404, body: { error: 'Secret with ID A not found' } };
    expect(await call('PUT', '/api/secrets/A', { name: 'C' })).toEqual(unknown);
    expect(await call('DELETE', '/api/secrets/A')).toEqual(unknown);
    expect((await call('DELETE', '/api/secrets/B')).status).toBe(200);
    expect(await call('GET', '/api/v1/secrets/search')).toMatchObject({ body: { items: [] } });
  });

  it('include the tokens, which logging out removes', async () => {
    const call = newUser();
    await call('POST', '/api/add-git-providers', { provider_tokens: { github: { token: 't', host: '' } } });
    expect((await stores.secrets.providerHosts(call.user)).get('github')).toBeNull();
    expect(await call('POST', '/api/unset-provider-tokens')).toEqual({
      status: 200,
      body: { message: 'Unset Git provider tokens' },
    });
    expect((await stores.secrets.providerHosts(call.user)).size).toBe(0);
  });
});
