import { sql } from 'drizzle-orm';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Browser, nextOf } from '../support/browser.js';
import { startIdentityServer, type IdentityServer } from '../support/identity-server.js';
import { OIDC_CLIENT, OidcServer } from '../support/oidc-server.js';

const AUDIENCE = 'callboard-api';
let provider: OidcServer;
let server: IdentityServer & { database: { url: string } };
/** Another API process of the same product. */
let twin: IdentityServer;

beforeAll(async () => {
  provider = await new OidcServer().listen();
  const env = {
    OPENHANDS_AUTH_MODE: 'mu',
    OIDC_ISSUER: provider.url,
    OIDC_CLIENT_ID: OIDC_CLIENT.id,
    OIDC_CLIENT_SECRET: OIDC_CLIENT.secret,
    OIDC_SCOPES: 'openid profile email groups',
    OIDC_ORGANIZATIONS_CLAIM: 'groups',
    OIDC_AUDIENCE: AUDIENCE,
  };
  server = await startIdentityServer(env);
  twin = await startIdentityServer(env, server.database);
  await provider.serve(server.url);
});
afterAll(async () => {
  await twin.close();
  await server.close();
  await provider.close();
});
afterEach(() => {
  provider.isDown = false;
});

const execute = (statement: ReturnType<typeof sql>) => server.core.connection.database.execute(statement);
const expire = (userId: string) =>
  execute(sql`update sessions set tokens_expire_at = now() - interval '1 second' where user_id = ${userId}`);
const me = (browser: Browser, url = server.url) => browser.request(`${url}/api/v1/users/me`);

/** A person of the provider; their browser comes to the page after signing in, or to the one that refuses. */
async function signIn(name: string, groups: string[] = [], query = '') {
  provider.people.set(name, { preferred_username: name, email: `${name}@example.com`, groups });
  provider.visitor = name;
  const browser = new Browser();
  const visit = await browser.visit(
    `${server.url}/api/auth/login${query}`,
    {},
    (next) => next === `${server.url}/`,
  );
  return { browser, visit };
}

async function wayBack(browser: Browser): Promise<string> {
  const visit = await browser.visit(`${server.url}/api/auth/login`, {}, (next) =>
    next.includes('/api/auth/callback'),
  );
  return nextOf(visit) ?? '';
}

describe('signing in at a provider', () => {
  it('makes a session of the person who is there, and of two people at once', async () => {
    const [ann, ben] = [await signIn('ann'), await signIn('ben')];
    expect(JSON.parse((await me(ann.browser)).text)).toMatchObject({ id: 'ann' });
    expect(JSON.parse((await me(ben.browser)).text)).toMatchObject({ id: 'ben' });
    expect(await server.identity.users.find('ben')).toMatchObject({ login: 'ben', email: 'ben@example.com' });
  });

  it.each([
    ['ahead by ten seconds', 10, true],
    ['behind, so that its token ended ten seconds ago', -3_610, true],
    ['behind, so that its token ended two minutes ago', -3_720, false],
  ])('at a provider whose clock is %s: %j, %j', async (_clock, seconds, lets) => {
    provider.clockAheadSeconds = seconds;
    try {
      const { browser } = await signIn('clocked');
      expect((await me(browser)).status).toBe(lets ? 200 : 401);
    } finally {
      provider.clockAheadSeconds = 0;
    }
  });

  it('keeps the provider’s tokens encrypted, and out of browser and log', async () => {
    await signIn('ann');
    const { rows } = await execute(sql`select tokens from sessions where user_id = 'ann' limit 1`);
    expect(rows[0]?.['tokens']).toMatch(/^eyJ/);
    expect(server.log.join('')).not.toMatch(/refresh_token|code_verifier=|access_token/);
  });

  it.each<[string, (back: string, browser: Browser) => Promise<number>]>([
    ['in another browser', async (back) => (await new Browser().request(back)).status],
    [
      'a second time',
      async (back, browser) => {
        await browser.request(back);
        return (await browser.request(back)).status;
      },
    ],
    [
      'with the state of another sign-in',
      async (back, browser) => {
        const other = new URL(await wayBack(browser)).searchParams.get('state') ?? '';
        return (await browser.request(back.replace(/state=[^&]+/, `state=${other}`))).status;
      },
    ],
    [
      'from another issuer',
      async (back, browser) =>
        (
          await browser.request(
            back.replace(/iss=[^&]+/, `iss=${encodeURIComponent('https://evil.example')}`),
          )
        ).status,
    ],
  ])('and coming back %s is 400', async (how, take) => {
    provider.visitor = 'ann';
    const browser = new Browser();
    expect(await take(await wayBack(browser), browser)).toBe(400);
    expect(browser.cookies(server.url).has('callboard_session')).toBe(how === 'a second time');
  });

  it('and out ends the session here, and says where the provider’s own is ended', async () => {
    const { browser } = await signIn('ann');
    const stolen = new Browser();
    stolen.setCookie(
      server.url,
      'callboard_session',
      browser.cookies(server.url).get('callboard_session') ?? '',
    );
    const answer = await browser.post(`${server.url}/api/auth/logout`);
    const { logout_url } = JSON.parse(answer.text) as { logout_url: string };
    expect(logout_url).toContain(`${provider.url}/session/end?`);
    expect(logout_url).toContain('id_token_hint=');
    expect((await me(browser)).status).toBe(401);
    expect((await me(stolen)).status).toBe(401);
  });

  it('is 503 while the provider is away, and the session survives', async () => {
    const { browser } = await signIn('ann');
    await expire('ann');
    provider.isDown = true;
    const answer = await me(browser);
    expect([answer.status, JSON.parse(answer.text)]).toEqual([
      503,
      { detail: 'The identity provider does not answer; try again in a few seconds.' },
    ]);
    provider.isDown = false;
    expect((await me(browser)).status).toBe(200); // the session has survived
  });
});

describe('an access token that has run out', () => {
  it('is renewed once when twenty requests of two processes find it so at the same time', async () => {
    const { browser } = await signIn('cleo');
    twinCookie(browser);
    await expire('cleo');
    const before = provider.renewals;
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, n) => me(browser, n % 2 ? server.url : twin.url)),
    );
    expect(answers.map(({ status }) => status)).toEqual(Array(20).fill(200));
    expect(provider.renewals - before).toBe(1);
  });

  it('that the provider does not renew ends the session with 401', async () => {
    const { browser } = await signIn('dora');
    provider.people.delete('dora');
    expect((await me(browser)).status).toBe(200); // nobody is asked while the token lasts
    await expire('dora');
    expect((await me(browser)).status).toBe(401);
    const { rows } = await execute(sql`select 1 from sessions where user_id = 'dora'`);
    expect(rows).toEqual([]);
  });

  it('asks nobody while it is good', async () => {
    const { browser } = await signIn('ann');
    provider.isDown = true;
    expect((await me(browser)).status).toBe(200);
  });

  const twinCookie = (browser: Browser) =>
    browser.setCookie(
      twin.url,
      'callboard_session',
      browser.cookies(server.url).get('callboard_session') ?? '',
    );
});

describe('an access token of the provider as bearer', () => {
  const inAnHour = () => Math.floor(Date.now() / 1000) + 3600;
  const status = async (token: string) =>
    (await fetch(`${server.url}/api/v1/users/me`, { headers: { Authorization: `Bearer ${token}` } })).status;

  it('is good when it is meant for us, and makes its owner a user', async () => {
    expect(await status(await provider.sign({ sub: 'program', aud: AUDIENCE, exp: inAnHour() }))).toBe(200);
    expect(await server.identity.users.find('program')).not.toBeNull();
  });

  it('may be half a minute late, as clocks are', async () => {
    const justOver = Math.floor(Date.now() / 1000) - 10;
    expect(await status(await provider.sign({ sub: 'program', aud: AUDIENCE, exp: justOver }))).toBe(200);
  });

  it('may be half a minute early, as clocks are', async () => {
    const soon = Math.floor(Date.now() / 1000) + 10;
    const claims = { sub: 'program', aud: AUDIENCE, exp: inAnHour(), iat: soon, nbf: soon };
    expect(await status(await provider.sign(claims))).toBe(200);
  });

  it.each<[string, () => Promise<string>]>([
    [
      'that expired more than half a minute ago',
      () => provider.sign({ sub: 'x', aud: AUDIENCE, exp: inAnHour() - 3640 }),
    ],
    [
      'that is good in more than half a minute',
      () => provider.sign({ sub: 'x', aud: AUDIENCE, exp: inAnHour(), nbf: inAnHour() - 3550 }),
    ],
    ['for somebody else', () => provider.sign({ sub: 'x', aud: 'another', exp: inAnHour() })],
    [
      'for our client id, as ID tokens are',
      () => provider.sign({ sub: 'x', aud: OIDC_CLIENT.id, exp: inAnHour() }),
    ],
    ['expired', () => provider.sign({ sub: 'x', aud: AUDIENCE, exp: inAnHour() - 3700 })],
    ['without expiry', () => provider.sign({ sub: 'x', aud: AUDIENCE })],
    ['without subject', () => provider.sign({ aud: AUDIENCE, exp: inAnHour() })],
    [
      'of another issuer',
      () => provider.sign({ iss: 'https://evil.example', sub: 'x', aud: AUDIENCE, exp: inAnHour() }),
    ],
    ['that is an ID token', () => provider.sign({ sub: 'x', aud: AUDIENCE, exp: inAnHour(), nonce: 'n' })],
    [
      'that is a refresh token',
      () => provider.sign({ sub: 'x', aud: AUDIENCE, exp: inAnHour(), typ: 'Refresh' }),
    ],
    [
      'that is a logout token',
      () => provider.sign({ sub: 'x', aud: AUDIENCE, exp: inAnHour() }, { typ: 'logout+jwt' }),
    ],
    [
      'that was altered',
      async () =>
        (await provider.sign({ sub: 'x', aud: AUDIENCE, exp: inAnHour() })).replace(/.{6}$/, 'AAAAAA'),
    ],
  ])('%s is 401', async (_, token) => {
    expect(await status(await token())).toBe(401);
  });
});

describe('an organization', () => {
  const count = async (browser: Browser) =>
    JSON.parse((await browser.request(`${server.url}/api/v1/app-conversations/count`)).text) as number;
  const addConversation = (id: string, author: string) =>
    execute(sql`insert into conversations (id, created_by_user_id, sandbox_id, created_at, updated_at)
      values (${id.repeat(32)}, ${author}, 'box', now(), now())`);

  it('lets its members see each other’s conversations, and nobody else', async () => {
    const [eve, fred] = [await signIn('eve', ['/acme']), await signIn('fred', ['acme'])];
    const greta = await signIn('greta', ['umbrella']);
    await addConversation('e', 'eve');
    expect(await count(eve.browser)).toBe(1);
    expect(await count(fred.browser)).toBe(1);
    expect(await count(greta.browser)).toBe(0);
    const session = await fred.browser.request(`${server.url}/api/auth/session`);
    expect(JSON.parse(session.text)).toMatchObject({
      organizations: [{ name: 'acme', role: 'member', active: true }],
    });
  });

  it('does not let them change each other’s', async () => {
    const { browser } = await signIn('fred', ['acme']);
    const url = `${server.url}/api/v1/app-conversations/${'e'.repeat(32)}`;
    const order = (method: string) =>
      browser.request(url, {
        method,
        headers: { Origin: server.url, 'Content-Type': 'application/json' },
        ...(method === 'PATCH' ? { body: '{"title":"mine"}' } : {}),
      });
    expect((await order('PATCH')).status).toBe(403);
    expect((await order('DELETE')).status).toBe(403);
  });

  it('of several is the one named at sign-in; without a name nobody sees more than their own', async () => {
    await signIn('eve', ['acme']);
    expect(await count((await signIn('hugo', ['acme', 'umbrella'])).browser)).toBe(0);
    expect(await count((await signIn('hugo', ['acme', 'umbrella'], '?organization=acme')).browser)).toBe(1);
    const refused = await signIn('hugo', ['acme', 'umbrella'], '?organization=another');
    expect([refused.visit.status, refused.browser.cookies(server.url).has('callboard_session')]).toEqual([
      403,
      false,
    ]);
  });

  it('is left when the provider says so at the next renewal', async () => {
    const { browser } = await signIn('ida', ['acme']);
    expect(await count(browser)).toBe(1);
    provider.people.set('ida', { preferred_username: 'ida' });
    await expire('ida');
    expect(await count(browser)).toBe(0);
  });
});
