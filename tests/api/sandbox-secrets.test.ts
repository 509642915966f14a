import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { SandboxStatus } from '../../contract/sandbox.js';
import { sandboxSecretRoutes } from '../../api/sandbox-secret-routes.js';
import { SandboxRepository } from '../../db/sandbox-repository.js';
import { SecretsStoreTokenProvider } from '../../identity/secrets-token-provider.js';
import { lookupHash } from '../../identity/vault.js';
import { openTestStores, type TestStores } from '../support/identity.js';
import { insertSandbox, newId } from '../support/rows.js';
import { startTestServer, type TestServer } from '../support/test-server.js';

let stores: TestStores;
let owned: TestServer;
let single: TestServer;

beforeAll(async () => {
  stores = await openTestStores();
  const { secrets, connection } = stores;
  const routes = (requireOwner: boolean) =>
    sandboxSecretRoutes({
      sandboxes: new SandboxRepository(connection.database),
      secrets,
      tokensOf: (userId) => new SecretsStoreTokenProvider(secrets, userId),
      requireOwner,
    });
  owned = await startTestServer(routes(true));
  single = await startTestServer(routes(false));
  for (const user of ['ada', null]) {
    const of = user ?? 'nobody';
    await secrets.putCustom(user, { name: 'Z_KEY', value: `z of ${of}`, description: 'the last' });
    await secrets.putCustom(user, { name: 'A_KEY', value: `a of ${of}` });
    await secrets.putCustom(user, { name: 'EMPTY', value: '' });
    await secrets.replaceProviderTokens(
      user,
      new Map([['github' as const, { token: `ghp of ${of}`, host: null, userId: null }]]),
    );
  }
  await secrets.putCustom('bob', { name: 'B_KEY', value: 'b of bob' });
});
afterAll(async () => {
  await Promise.all([owned.close(), single.close()]);
  await stores.close();
});

async function sandboxOf(
  user: string | null,
  { status = 'RUNNING', deletedAt = null }: { status?: SandboxStatus; deletedAt?: Date | null } = {},
): Promise<{ id: string; key: string }> {
  const key = `session key ${newId()}`;
  const id = await insertSandbox(stores.connection.database, {
    createdByUserId: user,
    sessionApiKeyHash: lookupHash(key),
    status,
    deletedAt,
  });
  return { id, key };
}

async function read(server: TestServer, sandboxId: string, key?: string, name?: string) {
  const path = `/api/v1/sandboxes/${sandboxId}/settings/secrets${name === undefined ? '' : `/${name}`}`;
  const response = await server.fetch(
    path,
    key === undefined ? {} : { headers: { 'X-Session-API-Key': key } },
  );
  return { status: response.status, type: response.headers.get('content-type'), text: await response.text() };
}

describe('a running sandbox', () => {
  it('lists the secrets of its owner without values, custom ones before provider tokens', async () => {
    const { id, key } = await sandboxOf('ada');
    const { status, text } = await read(owned, id, key);
    expect([status, JSON.parse(text)]).toEqual([
      200,
      {
        secrets: [
          { name: 'A_KEY', description: null },
          { name: 'EMPTY', description: null },
          { name: 'Z_KEY', description: 'the last' },
          { name: 'github_token', description: 'github provider token' },
        ],
      },
    ]);
  });

  it('reads each of them as plain text, always as it is now', async () => {
    const { id, key } = await sandboxOf('ada');
    expect(await read(owned, id, key, 'A_KEY')).toEqual({
      status: 200,
      type: 'text/plain; charset=utf-8',
      text: 'a of ada',
    });
    expect((await read(owned, id, key, 'github_token')).text).toBe('ghp of ada');
    await stores.secrets.putCustom('ada', { name: 'CHANGING', value: 'one' });
    expect((await read(owned, id, key, 'CHANGING')).text).toBe('one');
    await stores.secrets.putCustom('ada', { name: 'CHANGING', value: 'two' });
    expect((await read(owned, id, key, 'CHANGING')).text).toBe('two');
    await stores.secrets.deleteCustom('ada', 'CHANGING');
    expect((await read(owned, id, key, 'CHANGING')).status).toBe(404);
  });

  it('gets a custom secret rather than a provider token of the same name', async () => {
    const { id, key } = await sandboxOf('ada');
    await stores.secrets.putCustom('ada', { name: 'github_token', value: 'of my own' });
    expect((await read(owned, id, key, 'github_token')).text).toBe('of my own');
    const { secrets } = JSON.parse((await read(owned, id, key)).text) as { secrets: { name: string }[] };
    expect(secrets.filter(({ name }) => name === 'github_token')).toEqual([
      { name: 'github_token', description: null },
    ]);
    await stores.secrets.deleteCustom('ada', 'github_token');
  });

  it.each([
    ['that does not exist', 'NO_KEY', 'Secret not found'],
    ['of somebody else', 'B_KEY', 'Secret not found'],
    ['of a provider without a token', 'gitlab_token', 'Secret not found'],
    ['that is empty', 'EMPTY', 'Secret has no value'],
    ['whose name leads elsewhere', '..%2F..%2FA_KEY', 'Secret not found'],
  ])('finds no secret %s', async (_, name, detail) => {
    const { id, key } = await sandboxOf('ada');
    const { status, text } = await read(owned, id, key, name);
    expect([status, JSON.parse(text)]).toEqual([404, { detail }]);
  });

  it('of the one user of an instance without identity reads theirs', async () => {
    const { id, key } = await sandboxOf(null);
    expect((await read(single, id, key, 'A_KEY')).text).toBe('a of nobody');
  });
});

describe('nobody reads secrets', () => {
  const running = () => sandboxOf('ada');
  it.each<[string, () => Promise<{ id: string; key?: string }>, number, string]>([
    [
      'without a key',
      async () => ({ id: (await running()).id }),
      401,
      'X-Session-API-Key header is required',
    ],
    [
      'with a made-up key',
      async () => ({ id: (await running()).id, key: 'x' }),
      401,
      'Invalid session API key',
    ],
    ...(['STARTING', 'PAUSED', 'ERROR', 'MISSING'] as const).map(
      (status): [string, () => Promise<{ id: string; key: string }>, number, string] => [
        `with the key of a sandbox that is ${status}`,
        () => sandboxOf('ada', { status }),
        401,
        'Sandbox is not running',
      ],
    ),
    [
      'with the key of a deleted sandbox',
      () => sandboxOf('ada', { deletedAt: new Date() }),
      401,
      'Invalid session API key',
    ],
    ['with the key of a sandbox of nobody', () => sandboxOf(null), 401, 'Sandbox has no associated user'],
    [
      'with the key of another sandbox of theirs',
      async () => ({ id: (await running()).id, key: (await running()).key }),
      403,
      'Session API key does not match sandbox',
    ],
    [
      'with the key of a sandbox of somebody else',
      async () => ({ id: (await running()).id, key: (await sandboxOf('bob')).key }),
      403,
      'Session API key does not match sandbox',
    ],
    [
      'of a sandbox that does not exist',
      async () => ({ id: newId(), key: (await running()).key }),
      403,
      'Session API key does not match sandbox',
    ],
  ])('%s', async (_, make, status, detail) => {
    const { id, key } = await make();
    for (const name of [undefined, 'A_KEY', 'github_token', 'NO_KEY']) {
      const answer = await read(owned, id, key, name);
      expect([answer.status, JSON.parse(answer.text)]).toEqual([status, { detail }]);
    }
  });

  it('in the log', () => {
    const log = JSON.stringify([owned.log, single.log]);
    expect(log).not.toMatch(/ of (ada|nobody|bob)/);
    expect(log).not.toContain('session key ');
  });
});
