import { randomUUID } from 'node:crypto';
import type { JWTPayload } from 'jose';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { Browser } from '../support/browser.js';
import { startIdentityServer, type IdentityServer } from '../support/identity-server.js';
import { OIDC_CLIENT, OidcServer } from '../support/oidc-server.js';

const EVENT = 'http://schemas.openid.net/event/backchannel-logout';
let provider: OidcServer;
let server: IdentityServer;

beforeAll(async () => {
  provider = await new OidcServer().listen();
  server = await startIdentityServer({
    OPENHANDS_AUTH_MODE: 'mu',
    OIDC_ISSUER: provider.url,
    OIDC_CLIENT_ID: OIDC_CLIENT.id,
    OIDC_CLIENT_SECRET: OIDC_CLIENT.secret,
    OIDC_AUDIENCE: 'callboard-api',
  });
  await provider.serve(server.url);
});
afterAll(async () => {
  await server.close();
  await provider.close();
});
afterEach(() => {
  provider.isDown = false;
});

async function signIn(name: string): Promise<Browser> {
  provider.people.set(name, { preferred_username: name });
  provider.visitor = name;
  const browser = new Browser();
  await browser.visit(`${server.url}/api/auth/login`, {}, (next) => next === `${server.url}/`);
  expect(await status(browser)).toBe(200);
  return browser;
}
const status = async (browser: Browser) => (await browser.request(`${server.url}/api/v1/users/me`)).status;

const send = (token: string | null) =>
  fetch(`${server.url}/api/auth/backchannel-logout`, {
    method: 'POST',
    body: new URLSearchParams(token === null ? {} : { logout_token: token }),
  });
const inAMinute = () => Math.floor(Date.now() / 1000) + 60;
/** A good token for a user; what is given replaces its claims, undefined removes them. */
const logoutToken = (claims: JWTPayload = {}, header: Record<string, string> = { typ: 'logout+jwt' }) =>
  provider.sign(
    {
      sub: 'ann',
      aud: OIDC_CLIENT.id,
      jti: randomUUID(),
      exp: inAMinute(),
      events: { [EVENT]: {} },
      ...claims,
    },
    header,
  );

describe('logging out at the provider', () => {
  it('ends the session here, and leaves those of other browsers', async () => {
    const [first, second] = [await signIn('ann'), await signIn('ann')];
    const page = await first.request(`${provider.url}/session/end`);
    const xsrf = /name="xsrf" value="([^"]+)"/.exec(page.text)?.[1] ?? '';
    await first.request(`${provider.url}/session/end/confirm`, {
      method: 'POST',
      body: new URLSearchParams({ xsrf, logout: 'yes' }),
    });
    await vi.waitFor(async () => expect(await status(first)).toBe(401), 90_000);
    expect(await status(second)).toBe(200);
  });
});

describe('a logout token', () => {
  it.each([{ typ: 'logout+jwt' }, { typ: 'JWT' }, {}])(
    'of type %j ends all sessions of its subject',
    async (header) => {
      const [ann, other, ben] = [await signIn('ann'), await signIn('ann'), await signIn('ben')];
      const answer = await send(await logoutToken({}, header as Record<string, string>));
      expect(answer.status).toBe(200);
      expect(answer.headers.get('Cache-Control')).toContain('no-store');
      expect([await status(ann), await status(other), await status(ben)]).toEqual([401, 401, 200]);
    },
  );

  it('that names a session of somebody else ends none', async () => {
    const ann = await signIn('ann');
    expect((await send(await logoutToken({ sid: 'another' }))).status).toBe(200);
    expect(await status(ann)).toBe(200);
  });

  it('counts once, and never for sessions that began after it', async () => {
    const token = await logoutToken({ iat: Math.floor(Date.now() / 1000) - 120 });
    const ann = await signIn('ann');
    expect((await send(token)).status).toBe(200);
    expect((await send(token)).status).toBe(400);
    expect(await status(ann)).toBe(200);
  });

  it('while the keys of the provider are out of reach is 503, and may come again', async () => {
    const fresh = await startIdentityServer({
      OPENHANDS_AUTH_MODE: 'mu',
      OIDC_ISSUER: provider.url,
      OIDC_CLIENT_ID: OIDC_CLIENT.id,
    });
    provider.isDown = true;
    const body = new URLSearchParams({ logout_token: await logoutToken() });
    const url = `${fresh.url}/api/auth/backchannel-logout`;
    expect((await fetch(url, { method: 'POST', body })).status).toBe(503);
    provider.isDown = false;
    expect((await fetch(url, { method: 'POST', body })).status).toBe(200);
    await fresh.close();
  });

  it.each<[string, () => Promise<string | null>]>([
    ['that is missing', () => Promise.resolve(null)],
    ['that is none', () => Promise.resolve('nonsense')],
    ['for another client', () => logoutToken({ aud: 'another' })],
    ['for our API, as access tokens are', () => logoutToken({ aud: 'callboard-api' })],
    ['of another issuer', () => logoutToken({ iss: 'https://evil.example' })],
    ['that has expired', () => logoutToken({ exp: inAMinute() - 120 })],
    ['that is old', () => logoutToken({ iat: inAMinute() - 3600 })],
    ['of the future', () => logoutToken({ iat: inAMinute() + 60 })],
    ['without an id', () => logoutToken({ jti: undefined })],
    ['without the event', () => logoutToken({ events: undefined })],
    ['of another event', () => logoutToken({ events: { 'http://example.com/event': {} } })],
    ['whose event is no object', () => logoutToken({ events: { [EVENT]: true } })],
    ['with a nonce, as ID tokens have', () => logoutToken({ nonce: 'n' })],
    ['about nobody', () => logoutToken({ sub: undefined })],
    ['whose session is no text', () => logoutToken({ sid: 7 })],
    ['that is an access token by its type', () => logoutToken({}, { typ: 'at+jwt' })],
    ['that was altered', async () => (await logoutToken()).replace(/.{6}$/, 'AAAAAA')],
    [
      'that nobody signed',
      async () => {
        const [, claims = ''] = (await logoutToken()).split('.');
        const header = Buffer.from('{"alg":"none","typ":"logout+jwt"}').toString('base64url');
        return `${header}.${claims}.`;
      },
    ],
  ])('%s is 400, and ends nothing', async (_, token) => {
    const ann = await signIn('ann');
    const answer = await send(await token());
    expect([answer.status, ((await answer.json()) as { error: string }).error]).toEqual([
      400,
      'invalid_request',
    ]);
    expect(await status(ann)).toBe(200);
  });
});

it('where there is no such provider the route is not there', async () => {
  const none = await startIdentityServer({});
  const url = `${none.url}/api/auth/backchannel-logout`;
  expect(
    (await fetch(url, { method: 'POST', body: new URLSearchParams({ logout_token: 'x' }) })).status,
  ).toBe(404);
  await none.close();
});
