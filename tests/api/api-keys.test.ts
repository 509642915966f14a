import { eq, sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { apiKeys } from '../../db/schema/index.js';
import { ApiKeyStore } from '../../identity/api-keys.js';
import { FakeGitHub } from '../support/github.js';
import { startIdentityServer, type IdentityServer } from '../support/identity-server.js';
import { addOrganization, addPerson, MULTI_USER, signedIn } from '../support/people.js';

const SERVICE_KEY = 'shared secret of the automations';
let server: IdentityServer & { database: { url: string } };
let organization: string;
let ada: string;

beforeAll(async () => {
  server = await startIdentityServer({ ...MULTI_USER, AUTOMATIONS_SERVICE_API_KEY: SERVICE_KEY });
  organization = await addOrganization(server, 'engines');
  await addPerson(server, 'ada', organization);
  await addPerson(server, 'bob');
  ada = await signedIn(server, 'ada', organization);
});
afterAll(() => server.close());

interface Answer {
  status: number;
  body: unknown;
}

async function call(
  method: string,
  path: string,
  headers: Record<string, string> = {},
  body?: unknown,
  url = server.url,
): Promise<Answer> {
  const response = await fetch(`${url}${path}`, {
    method,
    headers: {
      Origin: url,
      ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
      ...headers,
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  return { status: response.status, body: await response.json() };
}

const asAda = () => ({ Cookie: ada });
const bearer = (key: string) => ({ Authorization: `Bearer ${key}` });
const me = (headers: Record<string, string>) => call('GET', '/api/v1/users/me', headers);
interface Made {
  id: string;
  key: string;
  prefix: string;
}
async function makeKey(fields: Record<string, unknown> = {}, cookie = ada): Promise<Made> {
  const answer = await call('POST', '/api/keys', { Cookie: cookie }, { name: 'laptop', ...fields });
  expect(answer.status).toBe(200);
  return answer.body as Made;
}
const database = () => server.core.connection.database;
const rowOf = async (id: string) =>
  (await database().select().from(apiKeys).where(eq(apiKeys.id, id)))[0] ?? null;

describe('an API key', () => {
  it('is shown once, and listed afterwards without itself', async () => {
    const made = await makeKey({ name: '  shown  ' });
    expect(made).toMatchObject({
      name: 'shown',
      key: expect.stringMatching(/^cbk_[0-9A-Za-z]{40,44}$/) as string,
      last_used_at: null,
      expires_at: null,
    });
    expect(made.key.startsWith(made.prefix)).toBe(true);
    const { body } = await call('GET', '/api/keys', asAda());
    const { key: _key, ...shown } = made;
    expect(body).toContainEqual(shown);
    expect(JSON.stringify(body)).not.toContain(made.key);
  });

  it('lets its holder act as its owner, by either header, orders included', async () => {
    const { key } = await makeKey();
    for (const headers of [bearer(key), { 'X-API-Key': key }]) {
      expect(await me(headers)).toMatchObject({ status: 200, body: { id: 'ada' } });
      const order = await fetch(`${server.url}/api/v1/secrets`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json', ...headers },
        body: JSON.stringify({ name: 'A', value: 'b' }),
      });
      expect(order.status).toBe(201);
    }
    expect((await call('GET', '/api/auth/session', bearer(key))).body).toMatchObject({
      auth_type: 'bearer',
      organizations: [{ name: 'engines', active: true }],
    });
  });

  it('is stored as a hash only', async () => {
    const { id, key } = await makeKey();
    expect((await rowOf(id))?.sealedKey).toBeNull();
    const dump = await database().execute(sql`select * from api_keys`);
    expect(JSON.stringify(dump.rows)).not.toContain(key);
  });

  it.each([
    ['changed in one place', (key: string) => `${key.slice(0, -1)}${key.endsWith('0') ? '1' : '0'}`],
    ['cut short', (key: string) => key.slice(0, -1)],
    ['nothing but its prefix', () => 'cbk_'],
    ['made up', () => `cbk_${'0'.repeat(43)}`],
    ['the hash of one', (_: string, hash: string) => `cbk_${hash}`],
  ])('that is %s is 401, whatever else the request shows', async (_, spoil) => {
    const { id, key } = await makeKey();
    const bad = spoil(key, (await rowOf(id))?.keyHash ?? '');
    const shown: Record<string, string>[] = [
      bearer(bad),
      { 'X-API-Key': bad },
      { ...bearer(bad), Cookie: ada },
    ];
    for (const headers of shown) {
      expect(await me(headers)).toEqual({ status: 401, body: { detail: 'Unauthorized' } });
    }
  });

  it('is refused after its day, and from its deletion on', async () => {
    const { id, key } = await makeKey({ expires_at: new Date(Date.now() + 3_600_000).toISOString() });
    expect((await me(bearer(key))).status).toBe(200);
    await database()
      .update(apiKeys)
      .set({ expiresAt: new Date(Date.now() - 1) })
      .where(eq(apiKeys.id, id));
    expect((await me(bearer(key))).status).toBe(401);

    const other = await makeKey();
    expect((await call('DELETE', `/api/keys/${other.id}`, asAda())).status).toBe(200);
    expect((await me(bearer(other.key))).status).toBe(401);
    expect((await call('DELETE', `/api/keys/${other.id}`, asAda())).status).toBe(404);
  });

  it('is nobody else’s to see or delete', async () => {
    const { id } = await makeKey();
    const bob = { Cookie: await signedIn(server, 'bob') };
    expect((await call('GET', '/api/keys', bob)).body).toEqual([]);
    expect((await call('DELETE', `/api/keys/${id}`, bob)).status).toBe(404);
    expect(await rowOf(id)).not.toBeNull();
  });

  it('makes no further keys, but may end itself', async () => {
    const { id, key } = await makeKey();
    expect((await call('POST', '/api/keys', bearer(key), { name: 'heir' })).status).toBe(403);
    expect((await call('DELETE', `/api/keys/${id}`, bearer(key))).status).toBe(200);
    expect((await me(bearer(key))).status).toBe(401);
  });

  it('made in an organization ends with the membership', async () => {
    await addPerson(server, 'grace', organization);
    const { key } = await makeKey({}, await signedIn(server, 'grace', organization));
    expect((await me(bearer(key))).status).toBe(200);
    await server.identity.organizations.removeMember(organization, 'grace');
    expect((await me(bearer(key))).status).toBe(401);
  });

  it.each([
    [{}, 'missing'],
    [{ name: '   ' }, 'value_error'],
    [{ name: '__SYSTEM__:x' }, 'value_error'],
    [{ name: 'x'.repeat(201) }, 'string_too_long'],
    [{ name: 'x', expires_at: 'tomorrow' }, 'datetime_from_date_parsing'],
  ])('described as %j is 422', async (body, type) => {
    const answer = await call('POST', '/api/keys', asAda(), body);
    expect(answer).toMatchObject({ status: 422, body: { detail: [{ type }] } });
  });

  it('that would be over before it began is 400', async () => {
    const answer = await call('POST', '/api/keys', asAda(), {
      name: 'x',
      expires_at: '2020-01-01T00:00:00Z',
    });
    expect(answer.status).toBe(400);
  });

  it('is one of a hundred at most, however many are asked for at once', async () => {
    await addPerson(server, 'many');
    const cookie = await signedIn(server, 'many');
    const row = (n: number) => ({
      id: `many-${n}`,
      userId: 'many',
      realm: MULTI_USER.OIDC_ISSUER,
      kind: 'user' as const,
      name: 'x',
      keyHash: `hash ${n}`,
      prefix: 'cbk_',
      createdAt: new Date(),
    });
    await database()
      .insert(apiKeys)
      .values(Array.from({ length: 98 }, (_, n) => row(n)));
    const answers = await Promise.all(
      Array.from({ length: 5 }, () => call('POST', '/api/keys', { Cookie: cookie }, { name: 'x' })),
    );
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 200, 409, 409, 409]);
  });

  it('notes its last use once a minute, not more often', async () => {
    const { id, key } = await makeKey();
    let now = new Date();
    const store = new ApiKeyStore({
      database: database(),
      vault: server.core.vault,
      realm: MULTI_USER.OIDC_ISSUER,
      now: () => now,
    });
    const lastUse = async (afterMs: number) => {
      now = new Date(now.getTime() + afterMs);
      expect((await store.find(key))?.user.id).toBe('ada');
      return (await rowOf(id))?.lastUsedAt?.getTime();
    };
    const first = await lastUse(0);
    expect(first).toBe(now.getTime());
    expect(await lastUse(30_000)).toBe(first);
    expect(await lastUse(31_000)).toBe(now.getTime());
  });
});

describe('an API key of the one person of an instance', () => {
  it('ends when the configuration names another person', async () => {
    const github = await new FakeGitHub().listen();
    const settings = (allowed: string) => ({
      OPENHANDS_AUTH_MODE: 'su',
      SU_GITHUB_ALLOWED: allowed,
      GITHUB_OAUTH_CLIENT_ID: github.clientId,
      GITHUB_OAUTH_CLIENT_SECRET: github.clientSecret,
      CALLBOARD_GITHUB_URL: github.url,
    });
    const single = await startIdentityServer(settings('4242'));
    const other = await startIdentityServer(settings('666'), single.database);
    await addPerson(single, '4242');
    const { key } = await single.identity.apiKeys.create(
      { userId: '4242', organizationId: null },
      { name: 'x', expiresAt: null },
    );
    const status = async ({ url }: { url: string }) =>
      (await call('GET', '/api/v1/users/me', bearer(key), undefined, url)).status;
    expect(await status(single)).toBe(200);
    expect(await status(other)).toBe(401);
    await other.close();
    await single.close();
    await github.close();
  });

  it('does not exist where nobody is known', async () => {
    const open = await startIdentityServer({});
    expect(await call('GET', '/api/keys', {}, undefined, open.url)).toEqual({ status: 200, body: [] });
    expect((await call('POST', '/api/keys', {}, { name: 'x' }, open.url)).status).toBe(404);
    expect((await call('DELETE', '/api/keys/x', {}, undefined, open.url)).status).toBe(404);
    expect((await call('GET', '/api/service/health', {}, undefined, open.url)).body).toEqual({
      status: 'ok',
      service_auth_configured: false,
    });
    await open.close();
  });
});

describe('the service API', () => {
  const path = (user = 'ada', org = organization) => `/api/service/users/${user}/orgs/${org}/api-keys`;
  const asService = { 'X-Service-API-Key': SERVICE_KEY };
  const getOrCreate = (name: string) => call('POST', path(), asService, { name });

  it('tells openly whether it is configured', async () => {
    expect(await call('GET', '/api/service/health')).toEqual({
      status: 200,
      body: { status: 'ok', service_auth_configured: true },
    });
  });

  it('gets a key for a member, the same one each time, which acts as that user', async () => {
    const first = await getOrCreate(' nightly ');
    const key = (first.body as Made).key;
    expect(first).toEqual({
      status: 200,
      body: { key, user_id: 'ada', org_id: organization, name: 'nightly' },
    });
    expect(await getOrCreate('nightly')).toEqual(first);
    expect(
      (
        await call('POST', path('ada', organization.replaceAll('-', '').toUpperCase()), asService, {
          name: 'nightly',
        })
      ).body,
    ).toEqual(first.body);
    expect((await getOrCreate('weekly')).body).not.toMatchObject({ key });
    expect(await me(bearer(key))).toMatchObject({ status: 200, body: { id: 'ada' } });
  });

  it('gives one key to all who ask at the same time, in two processes', async () => {
    const other = await startIdentityServer(
      { ...MULTI_USER, AUTOMATIONS_SERVICE_API_KEY: SERVICE_KEY },
      server.database,
    );
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, n) =>
        call('POST', path(), asService, { name: 'at once' }, n % 2 ? other.url : server.url),
      ),
    );
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
    expect(new Set(answers.map(({ body }) => (body as Made).key)).size).toBe(1);
    await other.close();
  });

  it('makes keys that their user neither sees nor deletes', async () => {
    const { key } = (await getOrCreate('hidden')).body as Made;
    const [row] = await database().select().from(apiKeys).where(eq(apiKeys.name, '__SYSTEM__:hidden'));
    expect(row).toMatchObject({ kind: 'system', expiresAt: null });
    expect(JSON.stringify(row)).not.toContain(key);
    expect(JSON.stringify((await call('GET', '/api/keys', asAda())).body)).not.toContain('hidden');
    expect((await call('DELETE', `/api/keys/${row?.id}`, asAda())).status).toBe(404);
    expect((await me(bearer(key))).status).toBe(200);
  });

  it('makes a new key in the place of one that has expired', async () => {
    const before = await getOrCreate('old');
    await database()
      .update(apiKeys)
      .set({ expiresAt: new Date(0) })
      .where(eq(apiKeys.name, '__SYSTEM__:old'));
    const after = await getOrCreate('old');
    expect(after.status).toBe(200);
    expect(after.body).not.toEqual(before.body);
  });

  it('deletes its keys by name', async () => {
    const { key } = (await getOrCreate('gone')).body as Made;
    expect(await call('DELETE', `${path()}/gone`, asService)).toEqual({
      status: 200,
      body: { message: 'API key deleted successfully' },
    });
    expect((await me(bearer(key))).status).toBe(401);
    expect(await call('DELETE', `${path()}/gone`, asService)).toEqual({
      status: 404,
      body: {
        detail: `API key with name "gone" not found for user ada in org ${organization}`,
      },
    });
  });

  it('does not delete keys that users made', async () => {
    const { key } = await makeKey({ name: 'mine' });
    expect((await call('DELETE', `${path()}/mine`, asService)).status).toBe(404);
    expect((await me(bearer(key))).status).toBe(200);
  });

  it('refuses callers in the order of the contract', async () => {
    const stranger = '00000000-0000-4000-8000-000000000000';
    const post = (headers: Record<string, string>, user: string, org: string, body: unknown) =>
      call('POST', path(user, org), headers, body);
    const refused = async (answer: Promise<Answer>) => {
      const { status, body } = await answer;
      const { detail } = body as { detail: string | { type: string; msg: string }[] };
      return [status, typeof detail === 'string' ? detail : detail[0]?.msg];
    };
    const good = { name: 'x' };
    const wrong = { 'X-Service-API-Key': `${SERVICE_KEY}x` };
    expect(await refused(post({}, 'ada', 'no-uuid', good))).toEqual([422, expect.stringMatching(/UUID/)]);
    expect(await refused(post({}, 'ada', organization, {}))).toEqual([422, 'Field required']);
    expect(await refused(post(asService, 'ada', organization, { name: ' ' }))).toEqual([
      422,
      'Value error, name is required and cannot be empty',
    ]);
    expect(await refused(post({}, 'nobody', stranger, good))).toEqual([
      401,
      'X-Service-API-Key header is required',
    ]);
    for (const headers of [
      wrong,
      { 'X-Service-API-Key': SERVICE_KEY.slice(1) },
      { 'X-Service-API-Key': 'x' },
    ]) {
      expect(await refused(post(headers, 'nobody', stranger, good))).toEqual([
        401,
        'Invalid service API key',
      ]);
    }
    expect(await refused(post(asService, 'nobody', stranger, good))).toEqual([404, 'User nobody not found']);
    expect(await refused(post(asService, 'a%00b', stranger, good))).toEqual([404, 'User a\0b not found']);
    for (const [user, org] of [
      ['ada', stranger],
      ['bob', organization],
    ] as const) {
      expect(await refused(post(asService, user, org, good))).toEqual([
        403,
        `User ${user} is not a member of org ${org}`,
      ]);
    }
    expect(await refused(call('DELETE', `${path()}/x`, wrong))).toEqual([401, 'Invalid service API key']);
    // No other credential opens it, and it opens nothing else.
    expect((await post(asAda(), 'ada', organization, good)).status).toBe(401);
    expect((await me(asService)).status).toBe(401);
  });

  it('answers 503 where no secret is configured, whatever is shown', async () => {
    const unconfigured = await startIdentityServer({ ...MULTI_USER, AUTOMATIONS_SERVICE_API_KEY: '  ' });
    for (const headers of [{}, asService, { 'X-Service-API-Key': '' }]) {
      const answer = await call('POST', path(), headers, { name: 'x' }, unconfigured.url);
      expect(answer).toEqual({ status: 503, body: { detail: 'Service authentication not configured' } });
      expect((await call('DELETE', `${path()}/x`, headers, undefined, unconfigured.url)).status).toBe(503);
    }
    await unconfigured.close();
  });

  it('answers 500 when a key cannot be read', async () => {
    await getOrCreate('damaged');
    await database()
      .update(apiKeys)
      .set({ sealedKey: 'damaged' })
      .where(eq(apiKeys.name, '__SYSTEM__:damaged'));
    expect(await getOrCreate('damaged')).toEqual({
      status: 500,
      body: { detail: 'Failed to get or create API key' },
    });
  });

  it('leaves a line in the log for each key, without the key', async () => {
    const { key } = (await getOrCreate('audited')).body as Made;
    await call('DELETE', `${path()}/audited`, asService);
    const lines = server.log.map((line) => JSON.parse(line) as Record<string, unknown>);
    const about = lines.filter((line) => line['key_name'] === 'audited');
    const who = { service_id: 'automations-service', user_id: 'ada', org_id: organization };
    expect(about).toMatchObject([who, who]);
    expect(server.log.join('')).not.toContain(key);
    expect(server.log.join('')).not.toContain(SERVICE_KEY);
  });
});
