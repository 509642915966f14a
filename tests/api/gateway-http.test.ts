import { connect } from 'node:net';
import { createHash, randomBytes } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { createAgentServerAccess } from '../../api/agent-server-access.js';
import { createAgentServerClient } from '../../agent-server/client.js';
import { agentServerPath, gatewayAddress } from '../../api/gateway/client-addresses.js';
import { openGateway, type GatewayFixture, type Stage } from '../support/gateway-fixture.js';
import { startTestServer } from '../support/test-server.js';
import { route } from '../../api/route.js';
import { z } from 'zod';

let gateway: GatewayFixture;
let box: Stage;
let other: Stage;
let respond: GatewayFixture['agentServer']['respond'];

beforeAll(async () => {
  gateway = await openGateway({ limits: { connectMs: 2_000 }, silenceSeconds: 1 });
  box = await gateway.stage({ user: 'ann' });
  other = await gateway.stage({ user: 'eve' });
  ({ respond } = gateway.agentServer);
});
afterAll(() => gateway.close());
afterEach(() => {
  gateway.agentServer.hung = false;
  gateway.agentServer.respond = respond;
});

const last = () => gateway.agentServer.requests.at(-1)!;
const ask = (path: string, init: RequestInit & { key?: string | null } = {}) => {
  const { key = box.key, headers, ...rest } = init;
  return fetch(`${gateway.url}${path}`, {
    redirect: 'manual',
    ...rest,
    headers: {
      ...(key === null ? {} : { 'X-Session-API-Key': key }),
      ...(headers as Record<string, string>),
    },
  });
};
const below = (path: string, stage = box) => `${agentServerPath(stage.sandboxId)}${path}`;

/** A request exactly as written, which `fetch` would tidy up; the status of the answer. */
const raw = (lines: string[]): Promise<number> =>
  new Promise((resolve, reject) => {
    const { hostname, port } = new URL(gateway.url);
    const socket = connect(Number(port), hostname, () => socket.write(`${lines.join('\r\n')}\r\n\r\n`));
    let text = '';
    socket.on('data', (data) => {
      text += data.toString();
      const status = /^HTTP\/1\.1 (\d+)/.exec(text)?.[1];
      if (status === undefined) return;
      socket.destroy();
      resolve(Number(status));
    });
    socket.on('error', reject);
  });

describe('a request below the path of a sandbox', () => {
  it('reaches its agent-server with method, query and body, and comes back with status and body', async () => {
    gateway.agentServer.respond = (_, response) => {
      response.writeHead(201, { 'content-type': 'application/json', etag: '"1"' }).end('{"id":"1"}');
    };
    const answer = await ask(below('/api/conversations?a=1&a=2'), {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{"x":1}',
    });
    expect([answer.status, await answer.text(), answer.headers.get('etag')]).toEqual([
      201,
      '{"id":"1"}',
      '"1"',
    ]);
    expect(last()).toMatchObject({ method: 'POST', url: '/api/conversations?a=1&a=2', body: '{"x":1}' });
    expect(last().headers).toMatchObject({ 'content-type': 'application/json', 'content-length': '7' });
  });

  it('carries the key of the sandbox and nothing else that proves who somebody is', async () => {
    const status = await raw([
      `GET ${below('/api/conversations/search')} HTTP/1.1`,
      'Host: x',
      `Authorization: Bearer ${box.key}`,
      'Cookie: user=ann',
      'X-Access-Token: token',
      'X-Service-API-Key: service',
      'X-Forwarded-For: 1.2.3.4',
      'Origin: http://localhost:5173',
      'Connection: X-Hop',
      'X-Hop: 1',
      'X-Custom: kept',
    ]);
    expect(status).toBe(200);
    expect(last().headers).toEqual({
      host: `127.0.0.1:${gateway.agentServer.port}`,
      connection: 'close',
      'x-session-api-key': box.key,
      'x-custom': 'kept',
    });
  });

  it('brings back nothing that would give a sandbox rights on this origin', async () => {
    gateway.agentServer.respond = (_, response) => {
      response.writeHead(200, {
        'content-type': 'text/html',
        'set-cookie': 'user=eve; Path=/',
        'access-control-allow-origin': 'https://elsewhere.example',
        'content-security-policy': 'default-src *',
        'service-worker-allowed': '/',
        'clear-site-data': '"*"',
        'strict-transport-security': 'max-age=1',
        refresh: '0; url=https://elsewhere.example',
      });
      response.end('<script>alert(1)</script>');
    };
    const { headers } = await ask(below('/api/conversations/1/workspace/index.html'));
    const names = [
      'set-cookie',
      'service-worker-allowed',
      'clear-site-data',
      'refresh',
      'strict-transport-security',
    ];
    for (const name of names) expect(headers.get(name), name).toBeNull();
    expect(headers.get('access-control-allow-origin')).toBeNull();
    expect(headers.get('content-security-policy')).toBe(
      "sandbox; default-src 'none'; frame-ancestors 'none'; base-uri 'none'",
    );
    expect(headers.get('x-content-type-options')).toBe('nosniff');
    expect(headers.get('cache-control')).toContain('no-store');
  });

  it.each<[number, string, () => [string, (RequestInit & { key?: string | null })?]]>([
    [401, 'no key', () => [below('/api/conversations'), { key: null }]],
    [401, 'a wrong key', () => [below('/api/conversations'), { key: 'wrong' }]],
    [401, 'a cookie alone', () => [below('/alive'), { key: null, headers: { Cookie: 'user=ann' } }]],
    [401, 'a key in the query', () => [below(`/alive?session_api_key=${box.key}`), { key: null }]],
    [403, 'the key of another sandbox', () => [below('/api/conversations'), { key: other.key }]],
    [400, 'encoded dot segments', () => [below('/api/%2e%2e%2fadmin')]],
    [400, 'twice encoded dot segments', () => [below('/api/%252e%252e%252fadmin')]],
    [400, 'a broken escape', () => [below('/api/%zz')]],
    [
      403,
      'an order from a strange page',
      () => {
        return [below('/api/x'), { method: 'POST', headers: { Origin: 'https://elsewhere.example' } }];
      },
    ],
  ])('is refused with %i for %s', async (status, _, request) => {
    const before = gateway.agentServer.requests.length;
    const [path, init] = request();
    expect((await ask(path, init)).status).toBe(status);
    expect(gateway.agentServer.requests).toHaveLength(before);
  });

  it.each([
    [400, '/../../other/agent-server/alive'],
    [400, '/api/..;/x'],
    [400, '/api\\..\\x'],
    [400, '/./x'],
  ])('is refused with %i when its path is %s', async (status, path) => {
    const before = gateway.agentServer.requests.length;
    expect(await raw([`GET ${below(path)} HTTP/1.1`, 'Host: x', `X-Session-API-Key: ${box.key}`])).toBe(
      status,
    );
    expect(gateway.agentServer.requests).toHaveLength(before);
  });

  it('never goes to a host of the client’s choosing', async () => {
    const headers = ['Host: evil.example', `X-Session-API-Key: ${box.key}`];
    expect(await raw([`GET http://evil.example${below('/alive')} HTTP/1.1`, ...headers])).toBe(404);
    expect(await raw([`GET ${below('//evil.example/x')} HTTP/1.1`, ...headers])).toBe(200);
    expect(last().url).toBe('//evil.example/x');
    expect(last().headers.host).toBe(`127.0.0.1:${gateway.agentServer.port}`);
  });

  it.each([
    ['PAUSED', 409],
    ['ERROR', 409],
    ['MISSING', 409],
    ['STARTING', 503],
  ] as const)('of a sandbox that is %s is refused with %i', async (status, expected) => {
    const stage = await gateway.stage({ status });
    expect((await ask(below('/alive', stage), { key: stage.key })).status).toBe(expected);
  });

  it('is answered with 502 where nobody listens, and 504 when no answer comes', async () => {
    const nobody = await gateway.stage({ agentServerUrl: 'http://127.0.0.1:9' });
    expect((await ask(below('/alive', nobody), { key: nobody.key })).status).toBe(502);
    gateway.agentServer.hung = true;
    expect((await ask(below('/alive'))).status).toBe(504);
  });

  it('is cut short when the answer is, so that nobody takes a part for the whole', async () => {
    gateway.agentServer.respond = (_, response) => {
      response.writeHead(200, { 'content-length': '100' });
      response.write('half', () => response.destroy());
    };
    const answer = await ask(below('/api/file/download?path=%2Fx'));
    await expect(answer.text()).rejects.toThrow();
  });

  it('stops at the agent-server when the client goes away', async () => {
    let closed = false;
    gateway.agentServer.respond = (_, response) => {
      response.on('close', () => (closed = true));
      response.writeHead(200).write('first');
    };
    const abort = new AbortController();
    await ask(below('/api/x'), { signal: abort.signal });
    abort.abort();
    await vi.waitFor(() => expect(closed).toBe(true), 90_000);
  });

  it('streams: large bodies pass unchanged, and the first bytes before the last are there', async () => {
    const body = randomBytes(20 * 1024 * 1024);
    const hash = (data: Uint8Array) => createHash('sha256').update(data).digest('hex');
    gateway.agentServer.respond = (_, response) => {
      response.writeHead(200, { 'content-type': 'application/octet-stream' });
      response.write(body.subarray(0, 1000));
      setImmediate(() => response.end(body.subarray(1000)));
    };
    const answer = await ask(below('/api/file/download?path=%2Fx'));
    expect(hash(new Uint8Array(await answer.arrayBuffer()))).toBe(hash(body));
    await ask(below('/api/file/upload?path=%2Fx'), { method: 'POST', body: body.subarray(0, 5_000_000) });
    expect(last().headers['content-length']).toBe('5000000');
  });

  it.each([
    ['/api/conversations/', (base: string) => `${base}/api/conversations`, '/api/conversations'],
    ['/x', () => '/y?z=1', '/y?z=1'],
  ])('follows a redirection from %s within the agent-server', async (path, location, expected) => {
    gateway.agentServer.respond = (_, response) => {
      response.writeHead(307, { location: location(gateway.agentServer.url) }).end();
    };
    expect((await ask(below(path))).headers.get('location')).toBe(below(expected));
  });

  it('drops a redirection that leads elsewhere', async () => {
    gateway.agentServer.respond = (_, response) => {
      response.writeHead(302, { location: 'https://elsewhere.example/' }).end();
    };
    expect((await ask(below('/x'))).headers.get('location')).toBeNull();
  });
});

describe('a client that keeps only the host of conversation_url', () => {
  it.each([
    ['POST', '/api/conversations/0123/pause', '/api/conversations/0123/pause'],
    ['POST', '/api/conversations/0123/run', '/api/conversations/0123/run'],
    [
      'POST',
      '/api/conversations/0123/events/respond_to_confirmation',
      '/api/conversations/0123/events/respond_to_confirmation',
    ],
    ['GET', '/api/vscode/url', '/api/vscode/url'],
    ['GET', '/api/git/changes/%2Fworkspace%2Fproject', '/api/git/changes?path=%2Fworkspace%2Fproject'],
    ['GET', '/api/git/diff/workspace/a%20b.txt', '/api/git/diff?path=%2Fworkspace%2Fa+b.txt'],
    ['GET', '/api/git/diff?path=%2Fa', '/api/git/diff?path=%2Fa'],
    ['POST', '/api/file/upload/%2Fworkspace%2Fa.txt', '/api/file/upload?path=%2Fworkspace%2Fa.txt'],
  ])('reaches its agent-server by its key: %s %s', async (method, path, expected) => {
    expect((await ask(path, { method })).status).toBe(200);
    expect(last()).toMatchObject({ method, url: expected });
  });

  it.each([
    ['a key of no sandbox', '/api/vscode/url', 'wrong'],
    ['no key', '/api/vscode/url', null],
    ['a path of this server', '/api/v1/nothing', undefined],
    ['the path that hands out cookies', '/api/auth/workspace-session', undefined],
    ['the path that sets a server up', '/api/init', undefined],
  ])('gets 404 for %s', async (_, path, key) => {
    const before = gateway.agentServer.requests.length;
    expect((await ask(path, key === undefined ? {} : { key })).status).toBe(404);
    expect(gateway.agentServer.requests).toHaveLength(before);
  });
});

describe('a path that this server and agent-servers share', () => {
  it('belongs to the agent-server for callers with the key of a sandbox, and to this server for all others', async () => {
    const path = '/api/conversations/{id}';
    const shared = route({
      method: 'get',
      path,
      summary: 'A route of our own',
      tag: 'Test',
      guard: 'open',
      params: z.object({ id: z.string() }),
      responses: { 200: { description: 'Ours.', schema: z.string() } },
      handle: () => Promise.resolve('ours'),
    });
    const sharing = await openGateway({ routes: [shared] });
    try {
      const stage = await sharing.stage();
      const answer = async (headers: Record<string, string>) =>
        (await fetch(`${sharing.url}/api/conversations/0123`, { headers })).text();
      expect(await answer({})).toBe('"ours"');
      expect(await answer({ 'X-Session-API-Key': 'the key of the instance' })).toBe('"ours"');
      expect(sharing.agentServer.requests).toEqual([]);
      expect(await answer({ 'X-Session-API-Key': stage.key })).not.toBe('"ours"');
      expect(sharing.agentServer.requests).toMatchObject([{ url: '/api/conversations/0123' }]);
    } finally {
      await sharing.close();
    }
  });
});

describe('the server', () => {
  it('answers a request that offers HTTP/2 as if it did not', async () => {
    const offer = [
      'Host: x',
      'Connection: Upgrade, HTTP2-Settings',
      'Upgrade: h2c',
      'HTTP2-Settings: AAMAAABk',
    ];
    const headers = [...offer, `X-Session-API-Key: ${box.key}`];
    expect(await raw([`GET ${below('/alive')} HTTP/1.1`, ...headers])).toBe(200);
    expect(await raw([`POST ${below('/x')} HTTP/1.1`, ...headers, 'Content-Length: 2'])).toBe(400);
  });

  it('writes no key to the log', () => {
    const lines = gateway.logged.join('');
    expect(lines).toContain('request served');
    expect(lines).not.toContain('key-');
  });
});

it('is no gateway where it is switched off, but for sockets', async () => {
  const off = await openGateway({ enabled: false });
  try {
    const stage = await off.stage();
    const headers = { 'X-Session-API-Key': stage.key };
    for (const path of [`${agentServerPath(stage.sandboxId)}/alive`, '/api/vscode/url']) {
      expect((await fetch(`${off.url}${path}`, { headers })).status).toBe(404);
    }
    expect(off.agentServer.requests).toEqual([]);
  } finally {
    await off.close();
  }
});

describe('the address of an agent-server', () => {
  const exposed = [
    { name: 'AGENT_SERVER', url: 'http://127.0.0.1:20000', port: 20000 },
    { name: 'VSCODE', url: 'http://127.0.0.1:20001/?tkn=x', port: 20001 },
  ];
  const addresses = (publicUrl: string | null) =>
    createAgentServerAccess({
      vault: { openKept: () => Promise.resolve('') },
      connect: createAgentServerClient,
      logger: { warn: () => undefined, error: () => undefined },
      clientAddress: gatewayAddress(publicUrl),
    });

  it('is below the public URL, where there is one', () => {
    const shown = addresses('https://agents.example/base').exposedUrls({
      id: 'box',
      status: 'RUNNING',
      exposedUrls: exposed,
    });
    expect(shown).toEqual([
      { name: 'AGENT_SERVER', url: `https://agents.example/base${agentServerPath('box')}`, port: 443 },
      exposed[1],
    ]);
  });

  it('is told only while the sandbox is RUNNING', () => {
    expect(addresses(null).exposedUrls({ id: 'box', status: 'PAUSED', exposedUrls: exposed })).toBeNull();
  });

  it('is the direct one where no request says under which origin we are reached', () => {
    expect(gatewayAddress(null)('box', 'http://127.0.0.1:20000')).toBe('http://127.0.0.1:20000');
  });

  it.each<[string, Record<string, string>, (url: string) => string]>([
    ['the address that the client used', {}, (url) => url],
    [
      'what a proxy says of it',
      { 'X-Forwarded-Proto': 'https', 'X-Forwarded-Host': 'agents.example:8443' },
      () => 'https://agents.example:8443',
    ],
    [
      'the protocol that a proxy tells',
      { 'X-Forwarded-Proto': 'https' },
      (url) => url.replace('http:', 'https:'),
    ],
    ['nothing that is no host', { 'X-Forwarded-Host': 'a/b' }, () => 'direct'],
  ])('is below %s, for requests with a body too', async (_, headers, expected) => {
    const about = {
      summary: 's',
      tag: 't',
      guard: 'open',
      responses: { 200: { description: 'd' } },
    } as const;
    const handle = async () => {
      await new Promise((resolve) => setImmediate(resolve));
      return { url: gatewayAddress(null)('box', 'direct') };
    };
    const server = await startTestServer([
      route({ ...about, method: 'get', path: '/api/where', handle }),
      route({ ...about, method: 'post', path: '/api/where', body: z.object({}), handle }),
    ]);
    try {
      const base = expected(server.url);
      const url = base === 'direct' ? base : `${base}${agentServerPath('box')}`;
      for (const [method, body] of [['GET'], ['POST', {}]] as const) {
        const answer = await server.send(method, '/api/where', body, headers);
        expect(await answer.json(), method).toEqual({ url });
      }
    } finally {
      await server.close();
    }
  });
});
