import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { handshakeStatus, SocketClient } from '../support/socket-client.js';
import { startIdentityServer, type IdentityServer } from '../support/identity-server.js';
import { addPerson, MULTI_USER, signedIn } from '../support/people.js';

const SERVICE_KEY = 'shared secret of the automations';
let server: IdentityServer;
let ada: string;
let bob: string;

beforeAll(async () => {
  server = await startIdentityServer({
    ...MULTI_USER,
    AUTOMATIONS_SERVICE_API_KEY: SERVICE_KEY,
    CALLBOARD_WRITES_PER_MINUTE: '3',
    CALLBOARD_STARTS_PER_MINUTE: '1',
    CALLBOARD_SIGN_INS_PER_MINUTE: '4',
    CALLBOARD_WRONG_SECRETS_PER_MINUTE: '2',
  });
  await addPerson(server, 'ada');
  await addPerson(server, 'bob');
  [ada, bob] = [await signedIn(server, 'ada'), await signedIn(server, 'bob')];
});
afterAll(() => server.close());

async function send(method: string, path: string, headers: Record<string, string> = {}, body?: unknown) {
  const response = await fetch(`${server.url}${path}`, {
    method,
    redirect: 'manual',
    headers: { Origin: server.url, ...(body ? { 'Content-Type': 'application/json' } : {}), ...headers },
    ...(body ? { body: JSON.stringify(body) } : {}),
  });
  return { status: response.status, headers: response.headers, text: await response.text() };
}
const order = (cookie: string) => send('POST', '/api/v1/settings', { Cookie: cookie }, { language: 'en' });

/** Sends until one is refused. @returns the statuses, and the refusal */
async function exhaust(request: () => ReturnType<typeof send>, most = 10) {
  const statuses: number[] = [];
  for (let count = 0; count < most; count++) {
    const answer = await request();
    statuses.push(answer.status);
    if (answer.status === 429) return { statuses, refusal: answer };
  }
  throw new Error(`nothing was refused: ${statuses.join(' ')}`);
}

describe('too many orders of a user', () => {
  it('are refused with the time to wait, and take nothing from others or from reading (D38)', async () => {
    const first = await order(ada);
    expect(first.headers.get('RateLimit-Policy')).toMatch(/^"write"; q=3; w=60; pk=/);
    expect(first.headers.get('RateLimit')).toMatch(/^"write"; r=2; t=\d+$/);
    const { statuses, refusal } = await exhaust(() => order(ada));
    expect(statuses).toEqual([200, 200, 429]);
    expect(JSON.parse(refusal.text)).toEqual({ message: 'Too many requests' });
    expect(Number(refusal.headers.get('Retry-After'))).toBeGreaterThan(0);
    expect(refusal.headers.get('X-Content-Type-Options')).toBe('nosniff');

    expect((await order(bob)).status).toBe(200);
    for (let count = 0; count < 10; count++) {
      const answer = await send('GET', '/api/v1/app-conversations/search', { Cookie: ada });
      expect(answer.status).toBe(200);
      expect(answer.headers.get('RateLimit')).toBeNull();
    }
    // Resuming is refused for what it is asked of, not for how often.
    expect((await send('POST', '/api/v1/sandboxes/none/resume', { Cookie: ada })).status).toBe(404);
  });

  it('are counted together, whatever credentials show the user', async () => {
    await addPerson(server, 'grace');
    const cookie = await signedIn(server, 'grace');
    const { key } = await server.identity.apiKeys.create(
      { userId: 'grace', organizationId: null },
      { name: 'x', expiresAt: null },
    );
    expect((await order(cookie)).status).toBe(200);
    const { statuses } = await exhaust(() =>
      send('POST', '/api/v1/settings', { Authorization: `Bearer ${key}` }, { language: 'en' }),
    );
    expect(statuses).toEqual([200, 200, 429]);
  });

  it('to start something are fewer', async () => {
    const start = () => send('POST', '/api/v1/app-conversations/start-tasks/none/retry', { Cookie: bob });
    const { statuses } = await exhaust(start);
    expect(statuses).toHaveLength(2);
    expect((await order(bob)).status).toBe(200);
  });
});

describe('too many attempts from one address', () => {
  it('to sign in are refused', async () => {
    const { statuses, refusal } = await exhaust(() => send('GET', '/api/auth/callback?state=x&code=y'));
    expect(statuses).toEqual([400, 400, 400, 400, 429]);
    expect(refusal.headers.get('Retry-After')).not.toBeNull();
  });

  it('to guess a key are refused; who knows it is never counted', async () => {
    const path = '/api/service/users/nobody/orgs/00000000-0000-4000-8000-000000000000/api-keys';
    const ask = (key: string) => send('POST', path, { 'X-Service-API-Key': key }, { name: 'x' });
    for (let count = 0; count < 6; count++) expect((await ask(SERVICE_KEY)).status).toBe(404);
    const { statuses } = await exhaust(() => ask('a guess'));
    expect(statuses).toEqual([401, 401, 429]);
  });
});

describe('wrong keys of one address', () => {
  const LIMIT = 2;
  /** Each test guesses from an address of its own: proxies on this machine are believed. */
  let addresses = 0;
  const newAddress = () => ({ 'X-Forwarded-For': `203.0.113.${++addresses}` });
  const wrongOnes = (status: number) => [...Array<number>(LIMIT).fill(status), 429];
  let own: IdentityServer;
  beforeAll(async () => {
    own = await startIdentityServer({
      SESSION_API_KEY: 'the key of the instance',
      CALLBOARD_WRONG_SECRETS_PER_MINUTE: String(LIMIT),
    });
  });
  afterAll(() => own.close());

  const count = async (at: IdentityServer, headers: Record<string, string>) => {
    const response = await fetch(`${at.url}/api/v1/app-conversations/count`, { headers });
    return { status: response.status, headers: response.headers, text: await response.text() };
  };
  const socket = (at: IdentityServer, headers: Record<string, string>) =>
    handshakeStatus(`${at.url}/sockets/events/${randomUUID()}`, { headers });

  it('as key of the instance are refused, then the right one is not looked at either', async () => {
    const address = newAddress();
    const guess = { ...address, 'X-Session-API-Key': 'a guess' };
    const right = { ...address, Authorization: 'Bearer the key of the instance' };
    const first = await count(own, guess);
    expect(first.status).toBe(401);
    expect(first.headers.get('RateLimit-Policy')).toBe('"secret"; q=2; w=60');
    expect(first.headers.get('RateLimit')).toMatch(/^"secret"; r=1; t=\d+$/);
    const { statuses, refusal } = await exhaust(() => count(own, guess));
    expect(statuses).toEqual([401, 429]);
    expect(Number(refusal.headers.get('Retry-After'))).toBeGreaterThan(0);
    expect(refusal.headers.get('X-Content-Type-Options')).toBe('nosniff');
    expect((await count(own, { ...address, 'X-Session-API-Key': 'the key of the instance' })).status).toBe(
      429,
    );
    expect(await socket(own, right)).toBe(429);
    // Who shows none has guessed nothing, and others have their own count.
    expect((await count(own, address)).status).toBe(401);
    expect((await count(own, { ...guess, ...newAddress() })).status).toBe(401);
  });

  it('are counted together at routes and sockets', async () => {
    const guess = { ...newAddress(), 'X-Session-API-Key': 'a guess' };
    expect(await socket(own, guess)).toBe(403);
    expect((await count(own, guess)).status).toBe(401);
    expect(await socket(own, guess)).toBe(429);
    expect((await count(own, guess)).status).toBe(429);
  });

  it('in first frames close their sockets with 1013 in the end', async () => {
    const headers = newAddress();
    const codes: number[] = [];
    for (let guesses = 0; guesses <= LIMIT; guesses++) {
      const client = await SocketClient.open(`${own.url}/sockets/events/${randomUUID()}`, { headers });
      client.socket.send('{"type":"auth","session_api_key":"a guess"}');
      codes.push((await client.closed).code);
    }
    expect(codes).toEqual([4001, 4001, 1013]);
  });

  it('the right key is never counted', async () => {
    const right = { ...newAddress(), 'X-Session-API-Key': 'the key of the instance' };
    for (let times = 0; times < 3 * LIMIT; times++) expect((await count(own, right)).status).toBe(200);
  });

  it.each<[string, (guess: Record<string, string>) => ReturnType<typeof count>]>([
    ['API key', (address) => count(server, { ...address, 'X-API-Key': 'a guess' })],
    ['bearer token', (address) => count(server, { ...address, Authorization: 'Bearer cbk_guess' })],
    [
      'key of a sandbox at its secrets',
      (address) =>
        send('GET', '/api/v1/sandboxes/x/settings/secrets', { ...address, 'X-Session-API-Key': 'a guess' }),
    ],
    [
      'key of a sandbox at its agent-server',
      (address) =>
        send('GET', '/api/v1/sandboxes/x/agent-server/alive', { ...address, 'X-Session-API-Key': 'a guess' }),
    ],
    [
      'ticket for git tokens',
      (address) => send('GET', '/api/v1/webhooks/secrets', { ...address, 'X-Access-Token': 'a guess' }),
    ],
  ])('as %s are refused; a right key that nobody can guess still opens', async (_, guess) => {
    const address = newAddress();
    const { statuses } = await exhaust(() => guess(address));
    expect(statuses).toEqual(wrongOnes(401));
    const { key } = await server.identity.apiKeys.create(
      { userId: 'ada', organizationId: null },
      { name: 'neighbour', expiresAt: null },
    );
    expect((await count(server, { ...address, Authorization: `Bearer ${key}` })).status).toBe(200);
  });

  it('of agent-servers are not counted: they may come back with the key of a sandbox that is gone (D38)', async () => {
    const headers = { ...newAddress(), 'X-Session-API-Key': 'an old key' };
    for (let times = 0; times < 3 * LIMIT; times++) {
      expect((await send('POST', '/api/v1/webhooks/conversations', headers, {})).status).toBe(401);
    }
  });
});

it.each(['/alive', '/health', '/ready', '/server_info'])(
  'questions for health are never counted: %s (D38)',
  async (path) => {
    for (let times = 0; times < 10; times++) {
      const { status, headers } = await send('GET', path);
      expect(status).not.toBe(429);
      expect(headers.get('RateLimit')).toBeNull();
    }
  },
);

it('nothing is counted where nobody is known', async () => {
  const open = await startIdentityServer({ CALLBOARD_WRITES_PER_MINUTE: '1' });
  for (let count = 0; count < 5; count++) {
    const response = await fetch(`${open.url}/api/v1/settings`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: '{"language":"en"}',
    });
    expect(response.status).toBe(200);
  }
  await open.close();
});
