import { Client, Connection, WorkflowNotFoundError, WorkflowUpdateFailedError } from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { HttpError } from '../../api/http-error.js';
import { registerRoutes } from '../../api/register-routes.js';
import { route, type Guard, type RouteDefinition } from '../../api/route.js';
import { Secret } from '../../contract/masking.js';
import { openDatabase } from '../../db/database.js';
import { NOBODY, Unauthenticated, type AuthStrategy } from '../../identity/auth-strategy.js';
import { startTestServer, type TestServer } from '../support/test-server.js';

const responses = { 200: { description: 'Fine.' } };
const simple = (
  method: RouteDefinition['method'],
  path: string,
  handle: RouteDefinition['handle'] = () => Promise.resolve({ path }),
  guard: Guard = 'user',
) => route({ method, path, summary: 'a <route>', tag: 'Tests', guard, responses, handle });

const text = (response: Response) => response.text();

describe('routes', () => {
  let server: TestServer;
  let state = 'one';
  beforeAll(async () => {
    server = await startTestServer([
      simple('get', '/items/{id}', ({ params }) => Promise.resolve({ id: params ?? 'any' })),
      simple('get', '/items/search'),
      simple('delete', '/items/{id}'),
      simple('post', '/items'),
      simple('get', '/items'),
      { ...simple('get', '/polled', ({ query }) => Promise.resolve({ state, query })), isPolled: true },
      simple('get', '/deep/{name:path}/content'),
      simple('get', '/api/v1/{kind}/search', ({ request }) => Promise.resolve({ params: request.params })),
      simple('put', '/api/v1/{kind}/search'),
      simple('get', '/api/v1/boxes/{id}', ({ request }) => Promise.resolve({ params: request.params })),
      simple('delete', '/api/v1/boxes/search'),
      simple('post', '/api/v1/boxes/{id}/files/{name:path}'),
      simple('post', '/api/v1/{rest:path}/all', ({ request }) => Promise.resolve({ params: request.params })),
      simple('get', '/nothing', () => Promise.resolve(undefined)),
      route({
        method: 'post',
        path: '/made',
        summary: 's',
        tag: 'Tests',
        guard: 'user',
        responses: { 422: { description: 'x' }, 201: { description: 'Made.' } },
        handle: () => Promise.resolve({}),
      }),
      route({
        method: 'get',
        path: '/text',
        summary: 's',
        tag: 'Tests',
        guard: 'user',
        responses: { 200: { description: 'A text.', contentType: 'text/plain' } },
        handle: () => Promise.resolve('plain'),
      }),
    ]);
  });
  afterAll(() => server.close());

  it('prefer literal segments to parameters, in whatever order they were defined', async () => {
    expect(await (await server.fetch('/items/search')).json()).toEqual({ path: '/items/search' });
    expect(await (await server.fetch('/items/7')).json()).toEqual({ id: 'any' });
    expect((await server.fetch('/deep/a/b/content')).status).toBe(200);
  });

  it.each([
    ['DELETE', '/api/v1/boxes/search', { path: '/api/v1/boxes/search' }],
    ['GET', '/api/v1/boxes/search', { params: { id: 'search' } }],
    ['PUT', '/api/v1/boxes/search', { path: '/api/v1/{kind}/search' }],
    ['GET', '/api/v1/boxes/7?limit=1', { params: { id: '7' } }],
    ['GET', '/api/v1/boxes/a%2Fb', { params: { id: 'a/b' } }],
    ['GET', '/api/v1/jars/search', { params: { kind: 'jars' } }],
    ['POST', '/api/v1/boxes/7/files/a/b', { path: '/api/v1/boxes/{id}/files/{name:path}' }],
    ['POST', '/api/v1/boxes/7/files/all', { path: '/api/v1/boxes/{id}/files/{name:path}' }],
    ['POST', '/api/v1/boxes/7/all', { params: { rest: ['boxes', '7'] } }],
  ])('are tried by method and path, the literal ones first: %s %s', async (method, path, answer) => {
    const response = await server.fetch(path, { method });
    expect([response.status, await response.json()]).toEqual([200, answer]);
  });

  it.each([
    ['/api/v1/boxes/search', 'DELETE, GET, PUT'],
    ['/api/v1/boxes/7', 'GET'],
    ['/api/v1/boxes/all', 'GET, POST'],
    ['/api/v1/boxes/7/files/a', 'POST'],
  ])('tell all methods of whatever fits a path: %s', async (path, allowed) => {
    const response = await server.fetch(path, { method: 'PATCH' });
    expect([response.status, response.headers.get('allow')]).toEqual([405, allowed]);
  });

  it.each(['/api/v1/boxes/', '/api/v1/boxes/7/', '/api/v1/boxes/search/'])(
    'are not found with a slash behind them, but told of: %s',
    async (path) => {
      const response = await server.fetch(path);
      expect([response.status, response.headers.get('location')]).toEqual([
        307,
        `${server.url}${path.slice(0, -1)}`,
      ]);
    },
  );

  it('answer an unknown path with 404 and a known one with another method with 405', async () => {
    const unknown = await server.fetch('/nowhere');
    expect([unknown.status, await unknown.json()]).toEqual([404, { detail: 'Not Found' }]);
    expect((await server.fetch('/ITEMS')).status).toBe(404);
    const wrong = await server.fetch('/items/search', { method: 'PUT' });
    expect([wrong.status, await wrong.json()]).toEqual([405, { detail: 'Method Not Allowed' }]);
    expect(wrong.headers.get('allow')).toBe('DELETE, GET');
  });

  it('answer a trailing slash with 307 to the same place without it, query kept', async () => {
    const response = await server.fetch('/items/?a=1&b=2', { method: 'POST' });
    expect(response.status).toBe(307);
    expect(response.headers.get('location')).toBe(`${server.url}/items?a=1&b=2`);
    const elsewhere = await server.fetch('//evil.example/');
    expect(new URL(elsewhere.headers.get('location') ?? '').origin).toBe(server.url);
  });

  it('answer with the status and content type they declare', async () => {
    expect((await server.fetch('/made', { method: 'POST' })).status).toBe(201);
    const json = await server.fetch('/items');
    expect(json.headers.get('content-type')).toBe('application/json');
    const plain = await server.fetch('/text');
    expect(plain.headers.get('content-type')).toBe('text/plain; charset=utf-8');
    expect(await plain.text()).toBe('plain');
  });

  it('that forget to answer fail instead of hanging', async () => {
    expect((await server.fetch('/nothing')).status).toBe(500);
  });

  it('are refused with 400 when the path is not valid', async () => {
    expect((await server.fetch('/items/%E0%A4%A')).status).toBe(400);
  });

  it('cannot be defined twice', () => {
    const twice = [simple('get', '/a'), simple('get', '/a')];
    expect(() =>
      registerRoutes(twice, {
        auth: { authenticate: () => Promise.resolve(NOBODY) },
        instanceKey: null,
        bodyLimitBytes: 1,
        corsOrigins: [],
        publicUrl: null,
      }),
    ).toThrow('defined twice');
  });

  it('that are polled answer 304 to whoever has the answer, and only while it is the same', async () => {
    const ask = (known: string) => server.fetch('/polled', { headers: { 'If-None-Match': known } });
    const tag = (await server.fetch('/polled')).headers.get('etag') ?? '';
    expect(tag).toMatch(/^"[\w-]+"$/);
    for (const known of [tag, `W/${tag}`, `"other", ${tag}`]) {
      const again = await ask(known);
      expect([again.status, await text(again), again.headers.get('etag')]).toEqual([304, '', tag]);
      expect(again.headers.get('cache-control')).toContain('no-store');
    }
    expect((await ask('"other"')).status).toBe(200);
    state = 'two';
    const changed = await ask(tag);
    expect([changed.status, await changed.json()]).toEqual([200, { state: 'two' }]);
  });

  it('mark every answer as not to be cached, framed or run, errors included', async () => {
    for (const path of ['/items', '/nowhere', '/items/', '/assets/missing.js']) {
      const { headers } = await server.fetch(path);
      expect(headers.get('cache-control')).toBe('no-cache, no-store, must-revalidate, max-age=0');
      expect(headers.get('pragma')).toBe('no-cache');
      expect(headers.get('expires')).toBe('0');
      expect(headers.get('x-content-type-options')).toBe('nosniff');
      expect(headers.get('content-security-policy')).toBe(
        "default-src 'none';frame-ancestors 'none';base-uri 'none'",
      );
      expect(headers.get('referrer-policy')).toBe('no-referrer');
      expect(headers.get('x-powered-by')).toBeNull();
      expect(headers.get('etag')).toBeNull();
    }
  });

  it('are described for people on a page that loads nothing', async () => {
    const page = await server.fetch('/docs');
    const html = await text(page);
    expect(html).toContain('/items/{id}');
    expect(html).toContain('a &lt;route&gt;');
    expect(html).not.toMatch(/src=|@import|https?:\/\//);
    expect(page.headers.get('content-security-policy')).toContain("default-src 'none'");
  });
});

describe('the instance key', () => {
  const KEY = 'instance-key-0123456789';
  let guarded: TestServer;
  let open: TestServer;
  const routes = [
    simple('get', '/user'),
    simple('get', '/open', undefined, 'open'),
    simple('get', '/self', undefined, 'self'),
    route({
      method: 'post',
      path: '/user/{id}',
      summary: 's',
      tag: 't',
      guard: 'user',
      params: z.object({ id: z.uuid() }),
      body: z.object({ a: z.string() }),
      responses,
      handle: () => Promise.resolve({}),
    }),
  ];
  beforeAll(async () => {
    guarded = await startTestServer(routes, { server: { instanceKey: new Secret(KEY) } });
    open = await startTestServer(routes);
  });
  afterAll(async () => {
    await guarded.close();
    await open.close();
  });

  const status = async (path: string, headers: Record<string, string> = {}) =>
    (await guarded.fetch(path, { headers })).status;

  it('is asked for on user routes and nowhere else', async () => {
    const response = await guarded.fetch('/user');
    expect([response.status, await response.json()]).toEqual([401, { detail: 'Unauthorized' }]);
    expect(await status('/open')).toBe(200);
    expect(await status('/self')).toBe(200);
    expect((await open.fetch('/user')).status).toBe(200);
  });

  it('is taken from its header or as bearer token (D5)', async () => {
    expect(await status('/user', { 'X-Session-API-Key': KEY })).toBe(200);
    expect(await status('/user', { Authorization: `Bearer ${KEY}` })).toBe(200);
    expect(
      await status('/user', { Authorization: `bearer ${KEY}`, 'X-Session-API-Key': 'of-a-sandbox' }),
    ).toBe(200);
  });

  it.each<Record<string, string>>([
    { 'X-Session-API-Key': '' },
    { 'X-Session-API-Key': KEY.slice(0, -1) },
    { 'X-Session-API-Key': `${KEY}x` },
    { 'X-Session-API-Key': KEY.toUpperCase() },
    { Authorization: KEY },
    { Authorization: `Basic ${KEY}` },
    { Authorization: 'Bearer ' },
    { Cookie: `session_api_key=${KEY}` },
  ])('is refused as %j', async (headers) => {
    expect(await status('/user', headers)).toBe(401);
  });

  it('is not taken from the query', async () => {
    expect(await status(`/user?session_api_key=${KEY}`)).toBe(401);
  });

  it('is asked for after malformed JSON and before everything else', async () => {
    expect((await guarded.send('POST', '/user/x', '{')).status).toBe(422);
    expect((await guarded.send('POST', '/user/x', { a: 1 })).status).toBe(401);
    expect((await guarded.send('POST', '/user/x')).status).toBe(401);
    expect((await guarded.send('POST', '/user/x', { a: 1 }, { 'X-Session-API-Key': KEY })).status).toBe(422);
  });

  it('is never logged, nor is the query', async () => {
    await guarded.fetch('/user?token=hunter2', { headers: { 'X-Session-API-Key': KEY } });
    const lines = JSON.stringify(guarded.log);
    expect(lines).toContain('"path":"/user"');
    expect(lines).not.toContain(KEY);
    expect(lines).not.toContain('hunter2');
  });
});

describe('a strategy that proves nobody', () => {
  it('is answered with 401 on user routes', async () => {
    const auth: AuthStrategy = { authenticate: () => Promise.reject(new Unauthenticated()) };
    const server = await startTestServer(
      [simple('get', '/user'), simple('get', '/open', undefined, 'open')],
      { auth },
    );
    try {
      const response = await server.fetch('/user');
      expect([response.status, await response.json()]).toEqual([401, { detail: 'Unauthorized' }]);
      expect((await server.fetch('/open')).status).toBe(200);
    } finally {
      await server.close();
    }
  });
});

describe('pages of other sites', () => {
  let local: TestServer;
  let configured: TestServer;
  const routes = [simple('get', '/data'), simple('post', '/data')];
  beforeAll(async () => {
    local = await startTestServer(routes);
    configured = await startTestServer(routes, {
      server: { corsOrigins: ['https://app.example'], publicUrl: 'https://callboard.example' },
    });
  });
  afterAll(async () => {
    await local.close();
    await configured.close();
  });

  const allowed = async (server: TestServer, origin: string, method = 'GET') => {
    const response = await server.fetch('/data', { method, headers: { Origin: origin } });
    return [response.status, response.headers.get('access-control-allow-origin')];
  };
  const preflight = (server: TestServer, origin: string) =>
    server.fetch('/data', {
      method: 'OPTIONS',
      headers: {
        Origin: origin,
        'Access-Control-Request-Method': 'POST',
        'Access-Control-Request-Headers': 'content-type,x-session-api-key',
      },
    });

  it.each(['http://localhost:3001', 'https://localhost', 'http://127.0.0.1:8000', 'http://[::1]:3000'])(
    'on this machine (%s) may read answers with credentials when no origin is configured',
    async (origin) => {
      const response = await local.fetch('/data', { headers: { Origin: origin } });
      expect(response.headers.get('access-control-allow-origin')).toBe(origin);
      expect(response.headers.get('access-control-allow-credentials')).toBe('true');
    },
  );

  it.each([
    'https://evil.example',
    'http://localhost.evil.example',
    'http://evil.example:3000',
    'http://127.0.0.1.evil.example',
    'null',
    'file://',
    'http://localhost@evil.example',
  ])('elsewhere (%s) may neither read answers nor give orders (D1)', async (origin) => {
    expect(await allowed(local, origin)).toEqual([200, null]);
    const [status] = await allowed(local, origin, 'POST');
    expect(status).toBe(403);
    const response = await preflight(local, origin);
    expect(response.headers.get('access-control-allow-origin')).toBeNull();
    expect(response.headers.get('access-control-allow-credentials')).toBeNull();
  });

  it('are exactly the configured ones where some are', async () => {
    expect(await allowed(configured, 'https://app.example', 'POST')).toEqual([200, 'https://app.example']);
    expect(await allowed(configured, 'http://localhost:3000', 'POST')).toEqual([403, null]);
    expect(await allowed(configured, 'https://app.example.evil.example')).toEqual([200, null]);
  });

  it('get their preflight answered for ten minutes', async () => {
    const response = await preflight(configured, 'https://app.example');
    expect(response.status).toBe(200);
    expect(response.headers.get('access-control-allow-origin')).toBe('https://app.example');
    expect(response.headers.get('access-control-allow-methods')).toContain('DELETE');
    expect(response.headers.get('access-control-allow-headers')).toBe('content-type,x-session-api-key');
    expect(response.headers.get('access-control-max-age')).toBe('600');
  });

  it('that this server itself serves may give orders', async () => {
    expect((await allowed(configured, 'https://callboard.example', 'POST'))[0]).toBe(200);
    expect((await allowed(configured, configured.url, 'POST'))[0]).toBe(200);
    const proxied = await configured.fetch('/data', {
      method: 'POST',
      headers: { Origin: 'https://behind.proxy', 'Sec-Fetch-Site': 'same-origin' },
    });
    expect(proxied.status).toBe(200);
  });

  it('do not concern programs, which send no origin', async () => {
    expect((await local.fetch('/data', { method: 'POST' })).status).toBe(200);
  });
});

describe('errors', () => {
  let server: TestServer;
  const unreachable = openDatabase({ url: 'postgres://user:hunter2-db@127.0.0.1:1/none' });
  const temporal = new Client({ connection: Connection.lazy({ address: '127.0.0.1:1' }) });
  const failing: Record<string, () => Promise<unknown>> = {
    http: () => Promise.reject(new HttpError(410, 'Gone for good.', undefined, { 'X-Extra': '1' })),
    shaped: () => Promise.reject(new HttpError(401, 'x', { error: 'Invalid token' })),
    bare: () => Promise.reject(new HttpError(401, 'x', 'a bare text')),
    zod: () => Promise.resolve(z.object({ a: z.string() }).parse({ a: 5 })),
    conflict: () => Promise.reject(updateFailed('SandboxStatusConflict')),
    refused: () => Promise.reject(updateFailed('SandboxImageMissing')),
    missing: () => Promise.reject(new WorkflowNotFoundError('no such workflow', 'sandbox/x', undefined)),
    database: () => unreachable.database.execute(sql`select ${'hunter2-parameter'}`),
    temporal: () =>
      temporal.withDeadline(Date.now() + 500, () => temporal.workflow.getHandle('x').describe()),
    unforeseen: () => Promise.reject(new Error('hunter2 at line 1')),
    thrown: () => {
      throw new TypeError('hunter2');
    },
  };
  const updateFailed = (type: string) =>
    new WorkflowUpdateFailedError(
      'Workflow Update failed',
      ApplicationFailure.nonRetryable('cannot pause a sandbox that is ERROR', type),
    );
  beforeAll(async () => {
    server = await startTestServer([
      ...Object.entries(failing).map(([name, handle]) => simple('get', `/${name}`, handle)),
      simple('get', '/begun', ({ response }) => {
        response.write('[\n');
        return Promise.reject(new Error('in the middle'));
      }),
    ]);
  });
  afterAll(async () => {
    await server.close();
    await unreachable.close();
  });

  const answer = async (name: string) => {
    const response = await server.fetch(`/${name}`);
    return { status: response.status, body: await response.json(), headers: response.headers };
  };

  it('that say what they are keep their status, body and headers', async () => {
    const gone = await answer('http');
    expect(gone).toMatchObject({ status: 410, body: { detail: 'Gone for good.' } });
    expect(gone.headers.get('x-extra')).toBe('1');
    expect(await answer('shaped')).toMatchObject({ status: 401, body: { error: 'Invalid token' } });
    expect(await answer('bare')).toMatchObject({ status: 401, body: 'a bare text' });
  });

  it('of validation inside a handler are 422', async () => {
    expect(await answer('zod')).toMatchObject({
      status: 422,
      body: { detail: [{ type: 'string_type', loc: ['body', 'a'] }] },
    });
  });

  it('of actors keep their words', async () => {
    const detail = 'cannot pause a sandbox that is ERROR';
    expect(await answer('conflict')).toMatchObject({ status: 409, body: { detail } });
    expect(await answer('refused')).toMatchObject({ status: 500, body: { detail } });
    expect(await answer('missing')).toMatchObject({ status: 404, body: { detail: 'Not Found' } });
  });

  it.each(['database', 'temporal'])(
    'of a %s that is away are 503 and say when to come back',
    async (name) => {
      const { status, body, headers } = await answer(name);
      expect(status).toBe(503);
      expect(headers.get('retry-after')).toBe('5');
      expect(JSON.stringify(body)).toContain('try again');
      expect(JSON.stringify(body)).not.toContain('hunter2');
    },
  );

  it.each(['unforeseen', 'thrown'])(
    'that nobody foresaw (%s) are a plain 500 that tells nothing',
    async (name) => {
      const response = await server.fetch(`/${name}`);
      expect(response.status).toBe(500);
      expect(response.headers.get('content-type')).toContain('text/plain');
      expect(await response.text()).toBe('Internal Server Error');
      expect(
        server.log.some((line) => line['msg'] === 'a request failed' && line['path'] === `/${name}`),
      ).toBe(true);
    },
  );

  it('in the middle of a stream cut it', async () => {
    const response = await server.fetch('/begun');
    await expect(response.text()).rejects.toThrow();
  });
});
