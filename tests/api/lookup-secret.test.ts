import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { lookupSecretRoutes } from '../../api/lookup-secret-routes.js';
import type { GitProvider } from '../../contract/primitives.js';
import { AccessTokens } from '../../identity/access-token.js';
import { startTestServer, type TestServer } from '../support/test-server.js';

const PATH = '/api/v1/webhooks/secrets';
const VALUE = 'ghp_value-of-ada';
const accessTokens = new AccessTokens([{ id: 'k', secret: new Uint8Array(32).fill(3) }]);

const members = new Set<string>();
/** Tokens by user and provider. */
const held = new Map<string, string>();
let server: TestServer;

beforeAll(async () => {
  server = await startTestServer(
    lookupSecretRoutes({
      accessTokens,
      tokensOf: (userId) => ({
        get: async (provider: GitProvider) => {
          const token = held.get(`${userId ?? ''}/${provider}`);
          return token === undefined ? null : { token, host: null, userId: null };
        },
      }),
      isMember: (organizationId, userId) => Promise.resolve(members.has(`${organizationId}/${userId}`)),
    }),
    { server: { instanceKey: null } },
  );
});
afterAll(() => server.close());
beforeEach(() => {
  held.clear();
  held.set('ada/github', VALUE);
});

const ask = (token?: string) =>
  server.fetch(PATH, token === undefined ? {} : { headers: { 'X-Access-Token': token } });
const granted = (userId: string | null, providerType: GitProvider = 'github', at?: Date) =>
  accessTokens.issue({ userId, providerType }, at);

describe('the git token of a user', () => {
  it('is answered as plain text to whoever holds an access token for it', async () => {
    const response = await ask(await granted('ada'));
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toBe('text/plain; charset=utf-8');
    expect(await response.text()).toBe(VALUE);
  });

  it('is answered in the name of an organization for as long as the user belongs to it', async () => {
    const token = await accessTokens.issue({ userId: 'ada', providerType: 'github', organizationId: 'acme' });
    expect((await ask(token)).status).toBe(401);
    members.add('acme/ada');
    expect((await ask(token)).status).toBe(200);
    members.clear();
    expect((await ask(token)).status).toBe(401);
    const noUser = await accessTokens.issue({ userId: null, providerType: 'github', organizationId: 'acme' });
    expect((await ask(noUser)).status).toBe(401);
  });

  it('is the newest one', async () => {
    const token = await granted('ada');
    held.set('ada/github', 'ghp_renewed');
    expect(await (await ask(token)).text()).toBe('ghp_renewed');
  });

  it('is that of the one user where nobody is anybody', async () => {
    held.set('/gitlab', 'glpat');
    expect(await (await ask(await granted(null, 'gitlab'))).text()).toBe('glpat');
  });

  it('is answered to nobody without an access token that is good today (D26)', async () => {
    const other = new AccessTokens([{ id: 'k', secret: new Uint8Array(32).fill(4) }]);
    const unknownKey = new AccessTokens([{ id: 'other', secret: new Uint8Array(32).fill(3) }]);
    const grant = { userId: 'ada', providerType: 'github' } as const;
    const good = await granted('ada');
    const [, claims = '', signature = ''] = good.split('.');
    const header = (fields: Record<string, string>) =>
      Buffer.from(JSON.stringify(fields)).toString('base64url');
    for (const bad of [
      undefined,
      '',
      'nonsense',
      'a.b.c',
      `${good}x`,
      good.slice(0, good.lastIndexOf('.') + 1),
      `${header({ alg: 'none', kid: 'k' })}.${claims}.`,
      `${header({ alg: 'none', kid: 'k' })}.${claims}.${signature}`,
      `${header({ alg: 'HS512', kid: 'k' })}.${claims}.${signature}`,
      `${header({ alg: 'HS256', kid: '../k' })}.${claims}.${signature}`,
      `${good.split('.')[0]}.${Buffer.from(JSON.stringify({ user_id: 'bob', provider_type: 'github', iat: 0, exp: 4e9 })).toString('base64url')}.${signature}`,
      await other.issue(grant),
      await unknownKey.issue(grant),
      await granted('ada', 'github', new Date(Date.now() - 15 * 24 * 3600 * 1000)),
      await accessTokens.issue({ userId: 'ada', providerType: 'unknown' as GitProvider }),
    ]) {
      const response = await ask(bad);
      expect({ bad, status: response.status, body: await response.json() }).toEqual({
        bad,
        status: 401,
        body: { detail: 'Unauthorized' },
      });
    }
  });

  it('is not found where the user has none, which tells nothing of others', async () => {
    for (const token of [await granted('ada', 'gitlab'), await granted('bob'), await granted(null)]) {
      const response = await ask(token);
      expect({ status: response.status, body: await response.json() }).toEqual({
        status: 404,
        body: { detail: 'No such provider' },
      });
    }
    held.set('ada/github', '');
    expect((await ask(await granted('ada'))).status).toBe(404);
  });

  it('is in no log, and neither is the access token', async () => {
    const token = await granted('ada');
    await (await ask(token)).text();
    const log = JSON.stringify(server.log);
    expect(log).toContain(PATH);
    expect(log).not.toContain(VALUE);
    expect(log).not.toContain(token);
  });
});
