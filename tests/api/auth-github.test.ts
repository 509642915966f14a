import { SignJWT } from 'jose';
import { sql } from 'drizzle-orm';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Browser, nextOf } from '../support/browser.js';
import { FakeGitHub } from '../support/github.js';
import { MULTI_USER } from '../support/people.js';
import { startIdentityServer, type IdentityServer } from '../support/identity-server.js';

const OCTOCAT = { id: 4242, login: 'octocat' };
const STRANGER = { id: 666, login: 'mallory' };

let github: FakeGitHub;
let server: IdentityServer & { database: { url: string } };

const settings = (allowed: string) => ({
  OPENHANDS_AUTH_MODE: 'su',
  SU_GITHUB_ALLOWED: allowed,
  GITHUB_OAUTH_CLIENT_ID: github.clientId,
  GITHUB_OAUTH_CLIENT_SECRET: github.clientSecret,
  CALLBOARD_GITHUB_URL: github.url,
});

beforeAll(async () => {
  github = await new FakeGitHub().listen();
  server = await startIdentityServer(settings('4242'));
});
afterAll(async () => {
  await server.close();
  await github.close();
});
afterEach(() => {
  github.visitor = OCTOCAT;
  github.tokenSeconds = null;
  github.isDown = false;
  github.beforeRenewal = () => Promise.resolve();
});

const login = (path = '') => `${server.url}/api/auth/login${path}`;
const signIn = async (path = '') => {
  const browser = new Browser();
  return {
    browser,
    visit: await browser.visit(
      login(path),
      {},
      (next) => !next.includes('/login') && !next.includes('/callback'),
    ),
  };
};
const me = (browser: Browser) => browser.request(`${server.url}/api/v1/users/me`);
/** Goes as far as the way back, without taking it. */
async function wayBack(browser: Browser, path = ''): Promise<string> {
  const visit = await browser.visit(login(path), {}, (next) => next.includes('/api/auth/callback'));
  return nextOf(visit) ?? '';
}

describe('the one allowed person', () => {
  it('signs in and is known by the numeric id from then on', async () => {
    const { browser, visit } = await signIn();
    expect(visit.status).toBe(200);
    const answer = await me(browser);
    expect(answer.status).toBe(200);
    expect(JSON.parse(answer.text)).toMatchObject({ id: '4242' });
    const session = await browser.request(`${server.url}/api/auth/session`);
    expect(JSON.parse(session.text)).toEqual({
      auth_type: 'cookie',
      user: { id: '4242', login: 'octocat', name: 'The Octocat', email: null },
      organizations: [],
    });
  });

  it('gets a cookie that scripts cannot read, Lax on this machine, and goes on by a page of ours', async () => {
    const browser = new Browser();
    const visit = await browser.request(await wayBack(browser, '?redirect=/conversations/1%3Fa=b%26c=d'));
    const cookie = visit.headers.getSetCookie().find((line) => line.startsWith('callboard_session='));
    expect(cookie).toMatch(/; Path=\/; HttpOnly; SameSite=Lax$/);
    expect(cookie).toMatch(/Max-Age=1209600/);
    expect(nextOf(visit)).toBe(`${server.url}/conversations/1?a=b&c=d`);
  });

  it('has the token of GitHub as provider token, encrypted', async () => {
    await signIn();
    const token = await server.core.tokensOf('4242').get('github');
    expect(token).toMatchObject({
      token: expect.stringMatching(/^ghu_/) as string,
      host: github.url,
      userId: '4242',
    });
    const rows = await server.core.connection.database.execute(sql`select * from secrets`);
    expect(JSON.stringify(rows.rows)).not.toContain(token?.token);
    expect(server.log.join('')).not.toContain(token?.token);
  });

  it('asks GitHub with state, PKCE by S256, and the address to come back to', async () => {
    await signIn();
    expect(Object.fromEntries(github.lastAuthorization ?? [])).toMatchObject({
      client_id: github.clientId,
      code_challenge_method: 'S256',
      redirect_uri: `${server.url}/api/auth/callback`,
      scope: 'repo read:user user:email',
    });
  });

  it('signs in on two browsers, and signing out of one leaves the other', async () => {
    const [first, second] = [await signIn(), await signIn()];
    expect((await first.browser.post(`${server.url}/api/logout`)).status).toBe(200);
    expect((await me(first.browser)).status).toBe(401);
    expect((await me(second.browser)).status).toBe(200);
  });

  it('signs out everywhere', async () => {
    const [first, second] = [await signIn(), await signIn()];
    expect((await first.browser.post(`${server.url}/api/auth/logout-everywhere`)).status).toBe(200);
    expect((await me(first.browser)).status).toBe(401);
    expect((await me(second.browser)).status).toBe(401);
  });

  it('gets a new session each time, and the old one of the same browser ends', async () => {
    const { browser } = await signIn();
    const old = browser.cookies(server.url).get('callboard_session') ?? '';
    await browser.visit(login(), {}, (next) => !/login|callback/.test(next));
    const now = browser.cookies(server.url).get('callboard_session');
    expect(now).not.toBe(old);
    const thief = new Browser();
    thief.setCookie(server.url, 'callboard_session', old);
    expect((await me(thief)).status).toBe(401);
  });

  it('is let in by login where no id is configured, whatever its case, and not when the login is another', async () => {
    const byLogin = await startIdentityServer(settings('OctoCat'));
    const visit = async () => {
      const browser = new Browser();
      await browser.visit(`${byLogin.url}/api/auth/login`, {}, (next) => !/login|callback/.test(next));
      return (await browser.request(`${byLogin.url}/api/v1/users/me`)).status;
    };
    expect(await visit()).toBe(200);
    github.visitor = { id: 4242, login: 'renamed' };
    expect(await visit()).toBe(401);
    await byLogin.close();
  });
});

describe('nobody else', () => {
  it('gets in: 403, no session, nothing stored', async () => {
    github.visitor = STRANGER;
    const browser = new Browser();
    const visit = await browser.request(await wayBack(browser), { headers: { Accept: 'text/html' } });
    expect(visit.status).toBe(403);
    expect(visit.text).toContain('another GitHub account');
    expect((await me(browser)).status).toBe(401);
    expect(await server.identity.users.find('666')).toBeNull();
    expect((await server.core.tokensOf('666').getAll()).size).toBe(0);
  });

  it('stays in once the configuration names another person', async () => {
    const { browser } = await signIn();
    const other = await startIdentityServer(settings('666'), server.database);
    const cookie = browser.cookies(server.url).get('callboard_session') ?? '';
    browser.setCookie(other.url, 'callboard_session', cookie);
    expect((await browser.request(`${other.url}/api/v1/users/me`)).status).toBe(401);
    await other.close();
  });

  it('without a cookie is anybody: every user route is 401', async () => {
    for (const path of ['/api/v1/users/me', '/api/v1/app-conversations/search', '/api/v1/settings']) {
      const answer = await fetch(`${server.url}${path}`);
      expect([path, answer.status, await answer.json()]).toEqual([path, 401, { detail: 'Unauthorized' }]);
    }
    expect((await fetch(`${server.url}/api/authenticate`, { method: 'POST' })).status).toBe(401);
  });

  it('who declines at GitHub is let in', async () => {
    github.visitor = null;
    const browser = new Browser();
    expect((await browser.request(await wayBack(browser))).status).toBe(403);
  });
});

describe('the way back', () => {
  it.each<[string, (back: string, browser: Browser) => Promise<number>]>([
    [
      'without a state',
      async (_, browser) => (await browser.request(`${server.url}/api/auth/callback?code=x`)).status,
    ],
    [
      'with a state that nobody was given',
      async (back, browser) =>
        (await browser.request(back.replace(/state=[^&]+/, `state=${'x'.repeat(43)}`))).status,
    ],
    ['with two states', async (back, browser) => (await browser.request(`${back}&state=other`)).status],
    ['in another browser', async (back) => (await new Browser().request(back)).status],
    [
      'a second time',
      async (back, browser) => {
        expect((await browser.request(back)).status).toBe(200);
        return (await browser.request(back)).status;
      },
    ],
    [
      'with a code of somebody else’s sign-in, whose verifier is another',
      async (back, browser) => {
        const code = new URL(await wayBack(new Browser())).searchParams.get('code') ?? '';
        return (await browser.request(back.replace(/code=[^&]+/, `code=${code}`))).status;
      },
    ],
  ])('%s is 400', async (_, take) => {
    const browser = new Browser();
    expect(await take(await wayBack(browser), browser)).toBe(400);
  });

  it('after ten minutes is 400', async () => {
    const browser = new Browser();
    const back = await wayBack(browser);
    await server.core.connection.database.execute(
      sql`update sign_in_states set expires_at = now() - interval '1 second'`,
    );
    expect((await browser.request(back)).status).toBe(400);
  });

  it('is open to two sign-ins of one browser at once', async () => {
    const browser = new Browser();
    const [one, two] = [await wayBack(browser), await wayBack(browser)];
    expect((await browser.request(one)).status).toBe(200);
    expect((await browser.request(two)).status).toBe(200);
  });

  it('while GitHub is away is 503 and says when to come again', async () => {
    const browser = new Browser();
    const back = await wayBack(browser);
    github.isDown = true;
    const answer = await browser.request(back);
    expect([answer.status, answer.headers.get('Retry-After')]).toEqual([503, expect.any(String)]);
  });
});

describe('a session cookie', () => {
  const withCookie = async (value: string) => {
    const browser = new Browser();
    browser.setCookie(server.url, 'callboard_session', value);
    return (await me(browser)).status;
  };
  const forged = (claims: Record<string, unknown>, secret: string) =>
    new SignJWT(claims)
      .setProtectedHeader({ alg: 'HS256', kid: 'x', typ: 'session' })
      .setExpirationTime('1h')
      .sign(new TextEncoder().encode(secret));

  it('that was altered, forged, unsigned or is no cookie at all is 401', async () => {
    const { browser } = await signIn();
    const good = browser.cookies(server.url).get('callboard_session') ?? '';
    const [header = '', payload = '', signature = ''] = good.split('.');
    const none = Buffer.from(JSON.stringify({ alg: 'none', typ: 'session' })).toString('base64url');
    expect(await withCookie(good)).toBe(200);
    for (const bad of [
      `${header}.${payload}.${signature.slice(0, -4)}AAAA`,
      `${header}.${Buffer.from('{"sid":"x"}').toString('base64url')}.${signature}`,
      `${none}.${payload}.`,
      await forged({ sid: 'x' }, 'a secret that somebody guessed, sadly wrong'),
      'nonsense',
      '',
    ]) {
      expect(await withCookie(bad)).toBe(401);
    }
  });

  it('whose session has run out, or was not used for too long, is 401', async () => {
    const { database } = server.core.connection;
    const { browser: old } = await signIn();
    await database.execute(sql`update sessions set expires_at = now() - interval '1 second'`);
    expect((await me(old)).status).toBe(401);
    const { browser: idle } = await signIn();
    await database.execute(sql`update sessions set last_seen_at = now() - interval '73 hours'`);
    expect((await me(idle)).status).toBe(401);
  });

  it('gives authority to orders of our own pages only', async () => {
    const { browser } = await signIn();
    const url = `${server.url}/api/v1/settings`;
    const order = (headers: Record<string, string>) =>
      browser.request(url, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json', ...headers },
        body: JSON.stringify({ language: 'en' }),
      });
    expect((await order({ Origin: server.url })).status).toBe(200);
    expect((await order({ 'Sec-Fetch-Site': 'same-origin' })).status).toBe(200);
    expect((await order({})).status).toBe(403);
    expect((await order({ Origin: 'https://evil.example' })).status).toBe(403);
    expect((await order({ Origin: 'null', 'Sec-Fetch-Site': 'cross-site' })).status).toBe(403);
  });
});

describe('behind a public https address', () => {
  it('the cookie is Secure, Strict and of this host alone, and a page of ours leads on', async () => {
    const publicUrl = 'https://callboard.example';
    const there = await startIdentityServer({ ...settings('4242'), OH_WEB_URL: publicUrl });
    const local = (url: string) => url.replace(publicUrl, there.url);
    const browser = new Browser();
    const begun = await browser.request(`${there.url}/api/auth/login?redirect=/x`);
    const [state = ''] = begun.headers.getSetCookie();
    expect(state).toMatch(
      /^__Host-callboard_signin_\S+; Max-Age=600; Path=\/; HttpOnly; Secure; SameSite=Lax$/,
    );
    const authorized = await browser.request(begun.headers.get('Location') ?? '');
    const back = authorized.headers.get('Location') ?? '';
    expect(back).toMatch(/^https:\/\/callboard\.example\/api\/auth\/callback\?/);
    const arrived = await browser.request(local(back));
    const session = arrived.headers.getSetCookie().find((line) => line.includes('callboard_session=')) ?? '';
    expect(session).toMatch(/^__Host-callboard_session=.*; Path=\/; HttpOnly; Secure; SameSite=Strict$/);
    expect(arrived.status).toBe(200); // a redirect would arrive without the Strict cookie
    expect(nextOf(arrived)).toBe(`${publicUrl}/x`);
    const order = await browser.request(`${there.url}/api/logout`, {
      method: 'POST',
      headers: { Origin: publicUrl },
    });
    expect(order.status).toBe(200);
    await there.close();
  });
});

describe('where a person goes after signing in', () => {
  it.each([
    ['/', '/'],
    ['/a/b?c=d#e', '/a/b?c=d#e'],
    ['//evil.example', '/'],
    ['https://evil.example/', '/'],
    ['/\\evil.example', '/'],
    ['\\\\evil.example', '/'],
    ['javascript:alert(1)', '/'],
    ['data:text/html,x', '/'],
    ['/\t/evil.example', '/'],
    ['http://user@evil.example', '/'],
    ['/.//evil.example', '//evil.example'], // a path of ours, and sent with our origin before it
  ])('from %j is our own %j', async (wanted, path) => {
    const browser = new Browser();
    const back = await wayBack(browser, `?redirect=${encodeURIComponent(wanted)}`);
    expect(nextOf(await browser.request(back))).toBe(`${server.url}${path}`);
  });
});

describe('a token of a GitHub App', () => {
  it('is renewed once when twenty ask for it at the same time, in two processes', async () => {
    github.tokenSeconds = 60; // within the time in which it is renewed
    await signIn();
    const other = await startIdentityServer(settings('4242'), server.database);
    github.tokenSeconds = 28_800;
    const before = github.renewals;
    const asked = Array.from({ length: 20 }, (_, n) =>
      (n % 2 ? server : other).core.tokensOf('4242').get('github'),
    );
    const tokens = new Set((await Promise.all(asked)).map((token) => token?.token));
    expect(github.renewals - before).toBe(1);
    expect(tokens.size).toBe(1);
    await other.close();
  });

  it('of one of many users is renewed once too, and stored encrypted', async () => {
    github.tokenSeconds = 60;
    await signIn();
    const granted = (await server.core.secrets.providerTokens('4242')).get('github');
    const { OPENHANDS_AUTH_MODE: _su, SU_GITHUB_ALLOWED: _allowed, ...app } = settings('4242');
    const many = await startIdentityServer({ ...MULTI_USER, ...app });
    const twin = await startIdentityServer({ ...MULTI_USER, ...app }, many.database);
    if (!granted) throw new Error('GitHub gave no token');
    await many.core.secrets.putProviderToken('ann', 'github', { ...granted, expiresAt: new Date(0) });
    github.tokenSeconds = 28_800;
    const before = github.renewals;
    const asked = await Promise.all(
      Array.from({ length: 20 }, (_, n) => (n % 2 ? many : twin).core.tokensOf('ann').get('github')),
    );
    expect(github.renewals - before).toBe(1);
    const [token = '', ...others] = new Set(asked.map((held) => held?.token));
    expect([token === '', token === granted.token, others]).toEqual([false, false, []]);
    const { rows } = await many.core.connection.database.execute(
      sql`select value, refresh_value from secrets where user_id = 'ann'`,
    );
    expect(rows).toHaveLength(1);
    expect(rows[0]?.['value']).toMatch(/^eyJ/);
    expect(JSON.stringify(rows)).not.toContain(token);
    await twin.close();
    await many.close();
  });

  it('that GitHub will never renew is forgotten', async () => {
    github.tokenSeconds = 60;
    await signIn();
    github.revokeAll();
    expect(await server.core.tokensOf('4242').get('github')).toBeNull();
    expect((await server.core.secrets.providerTokens('4242')).size).toBe(0);
  });

  it('serves while it lasts when GitHub does not answer', async () => {
    github.tokenSeconds = 60;
    await signIn();
    github.isDown = true;
    expect(await server.core.tokensOf('4242').get('github')).toMatchObject({ userId: '4242' });
  });
});
