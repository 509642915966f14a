import { request } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startIdentityServer, type IdentityServer } from '../support/identity-server.js';
import { obedientParts } from '../support/obedient-parts.js';
import { addPerson, MULTI_USER, signedIn } from '../support/people.js';

let server: IdentityServer;
let cookie: string;
/** Without identity, for routes that sign nobody in. */
let open: IdentityServer;

beforeAll(async () => {
  server = await startIdentityServer(
    {
      ...MULTI_USER,
      OIDC_DISCOVERY_URL: 'http://127.0.0.1:9/.well-known/openid-configuration', // where nobody listens
      CALLBOARD_OPERATOR_KEY: 'the key of an operator of this server',
      CALLBOARD_BODY_LIMIT_BYTES: '1000000',
      CALLBOARD_STARTS_PER_MINUTE: '3',
    },
    undefined,
    obedientParts,
  );
  open = await startIdentityServer({}, undefined, obedientParts);
  await addPerson(server, 'ada');
  cookie = await signedIn(server, 'ada');
});
afterAll(async () => {
  await server.close();
  await open.close();
});

interface Order {
  method?: string;
  headers?: Record<string, string>;
  body?: string;
  /** A handshake of a WebSocket. */
  upgrade?: true;
}

/** Raw, since `fetch` opens no sockets and hides redirections. */
function headersOf(url: string, { method = 'GET', headers = {}, body, upgrade }: Order) {
  return new Promise<{ status: number; headers: Record<string, unknown> }>((resolve, reject) => {
    const handshake = {
      Connection: 'Upgrade',
      Upgrade: 'websocket',
      'Sec-WebSocket-Version': '13',
      'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
    };
    const sent = request(
      url,
      { method, headers: { ...(upgrade ? handshake : {}), ...headers } },
      (response) => {
        response.resume();
        response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers }));
      },
    );
    sent.on('error', reject);
    sent.end(body);
  });
}

const JSON_BODY = { 'Content-Type': 'application/json' };
const V1 = '/api/v1';
const user = () => ({ Cookie: cookie, Origin: server.url });

describe('every answer may be neither kept, framed, run nor guessed at:', () => {
  it.each<[number, string, string, () => Order]>([
    [200, 'of a user', `${V1}/users/me`, () => ({ headers: user() })],
    [
      200,
      'to who has one already',
      `${V1}/users/me`,
      () => ({ headers: { ...user(), 'If-None-Match': '*' } }),
    ],
    [200, 'to HEAD', '/alive', () => ({ method: 'HEAD' })],
    [
      200,
      'to a preflight',
      `${V1}/settings`,
      () => ({ method: 'OPTIONS', headers: { Origin: 'http://localhost:1' } }),
    ],
    [
      405,
      'to a preflight of a stranger',
      `${V1}/settings`,
      () => ({ method: 'OPTIONS', headers: { Origin: 'https://evil.example' } }),
    ],
    [
      200,
      'of a stream',
      `${V1}/app-conversations/stream-start`,
      () => ({ method: 'POST', headers: { ...user(), ...JSON_BODY }, body: '{}' }),
    ],
    [200, 'of the OpenAPI document', '/openapi.json', () => ({})],
    [307, 'of a trailing slash', '/alive/', () => ({})],
    [
      422,
      'to malformed JSON',
      `${V1}/settings`,
      () => ({ method: 'POST', headers: { ...user(), ...JSON_BODY }, body: '{' }),
    ],
    [
      400,
      'to a path that is none',
      `${V1}/secrets/%ff`,
      () => ({ method: 'PUT', headers: { ...user(), ...JSON_BODY }, body: '{}' }),
    ],
    [
      400,
      'on a page of signing in',
      '/api/auth/callback?state=x',
      () => ({ headers: { Accept: 'text/html' } }),
    ],
    [401, 'to nobody', `${V1}/users/me`, () => ({})],
    [401, 'to no operator', `${V1}/temporal-codec/sign-in`, () => ({})],
    [
      401,
      'to no agent-server',
      `${V1}/webhooks/conversations`,
      () => ({ method: 'POST', headers: JSON_BODY, body: '{}' }),
    ],
    [401, 'of the gateway', `${V1}/sandboxes/x/agent-server/alive`, () => ({})],
    [
      403,
      'to a page of somebody else',
      `${V1}/settings`,
      () => ({ method: 'POST', headers: { Origin: 'https://evil.example' } }),
    ],
    [
      403,
      'to a cookie alone',
      `${V1}/settings`,
      () => ({ method: 'POST', headers: { Cookie: cookie, ...JSON_BODY }, body: '{}' }),
    ],
    [404, 'where there is nothing', '/nowhere', () => ({})],
    [405, 'to another method', '/alive', () => ({ method: 'DELETE' })],
    [
      413,
      'to too much',
      `${V1}/settings`,
      () => ({ method: 'POST', headers: { ...user(), ...JSON_BODY }, body: `"${'x'.repeat(1_000_000)}"` }),
    ],
    [
      415,
      'in an unknown encoding',
      `${V1}/settings`,
      () => ({ method: 'POST', headers: { ...user(), ...JSON_BODY, 'Content-Encoding': 'odd' }, body: '{}' }),
    ],
    [422, 'to what does not fit', `${V1}/app-conversations/search?limit=x`, () => ({ headers: user() })],
    [503, 'without identity provider', '/api/auth/login', () => ({})],
    [
      503,
      'without service key',
      '/api/service/users/x/orgs/00000000-0000-4000-8000-000000000000/api-keys',
      () => ({ method: 'POST', headers: JSON_BODY, body: '{"name":"x"}' }),
    ],
    [
      403,
      'to a handshake',
      '/sockets/bash-events',
      () => ({ upgrade: true, headers: { 'X-Session-API-Key': 'wrong' } }),
    ],
    [404, 'to a handshake with nothing', '/sockets/nothing', () => ({ upgrade: true })],
  ])('%i %s', async (status, _, path, order) => {
    const answer = await headersOf(`${server.url}${path}`, order());
    expect(answer.status).toBe(status);
    expect(answer.headers).toMatchObject(PROTECTED);
    expect(answer.headers).not.toHaveProperty('x-powered-by');
    expect(answer.headers).not.toHaveProperty('etag');
    expect(answer.headers['access-control-allow-origin'] ?? '').not.toMatch(/evil|\*/);
  });

  it('429', async () => {
    let answer = await headersOf(`${server.url}/alive`, {});
    for (let starts = 0; starts < 5 && answer.status !== 429; starts++) {
      const order = { method: 'POST', headers: { ...user(), ...JSON_BODY }, body: '{}' };
      answer = await headersOf(`${server.url}${V1}/app-conversations`, order);
    }
    expect(answer).toMatchObject({ status: 429, headers: PROTECTED });
  });

  it('500', async () => {
    await open.core.connection.database.execute('drop table settings cascade');
    const answer = await headersOf(`${open.url}${V1}/settings`, {});
    expect(answer).toMatchObject({ status: 500, headers: PROTECTED });
  });
});

const PROTECTED = {
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'SAMEORIGIN',
  'referrer-policy': 'no-referrer',
  'content-security-policy': expect.stringMatching(/default-src 'none'.*frame-ancestors 'none'/) as string,
  'cache-control': expect.stringContaining('no-store') as string,
};
