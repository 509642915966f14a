/** A built web client on the server's own origin, on a small build made here. */
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { brotliCompressSync, brotliDecompressSync, gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { policyOf, sandboxSources } from '../../api/frontend/content-policy.js';
import { createFrontend } from '../../api/frontend/frontend.js';
import { route } from '../../api/route.js';
import { requireFrontend } from '../../cli/frontend.js';
import { loadConfig } from '../../config/config.js';
import { startTestServer, type TestServer } from '../support/test-server.js';

const SCRIPT = 'window.__reactRouterContext = {"isSpaMode":true};';
const PAGE = `<!doctype html><html><head><script>${SCRIPT}</script>
<script type="module" src="/assets/entry-AbC123.js"></script></head><body>the start page</body></html>`;
const CODE = `export const text = "${'x'.repeat(2_000)}";`;

const BUILD: Record<string, string | Buffer> = {
  'index.html': PAGE,
  'assets/entry-AbC123.js': CODE,
  'assets/entry-AbC123.js.br': brotliCompressSync(CODE),
  'assets/entry-AbC123.js.gz': gzipSync(CODE),
  'assets/logo-1.svg': '<svg/>',
  'locales/en/translation.json': '{"a":"b"}',
  'favicon.ico': 'icon',
  'a file#1?.txt': 'odd name',
  '.env': 'SECRET=1',
  '.git/config': 'secret',
};

let directory: string;
let server: TestServer;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'callboard-frontend-'));
  for (const [name, content] of Object.entries(BUILD)) {
    const file = join(directory, 'build', name);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, content);
  }
  await writeFile(join(directory, 'outside.txt'), 'outside');
  server = await startTestServer(
    [
      route({
        method: 'get',
        path: '/api/things',
        summary: 'A route',
        tag: 'Test',
        guard: 'open',
        responses: { 200: { description: 'A thing.', schema: z.string() } },
        handle: () => Promise.resolve('thing'),
      }),
    ],
    { frontend: createFrontend({ directory: join(directory, 'build'), sources: ['http://127.0.0.1:*'] }) },
  );
});
afterAll(async () => {
  await server.close();
  await rm(directory, { recursive: true, force: true });
});

/** As a browser asks; `fetch` says of itself that it is none. */
function ask(path: string, headers: Record<string, string>, method: string): Promise<Response> {
  return new Promise((resolve, reject) => {
    const sent = request(`${server.url}${path}`, { method, headers, agent: false }, (answer) => {
      const chunks: Buffer[] = [];
      answer.on('data', (chunk: Buffer) => chunks.push(chunk));
      answer.on('end', () => {
        const status = answer.statusCode ?? 0;
        const body = chunks.length === 0 ? null : Buffer.concat(chunks);
        resolve(new Response(body, { status, headers: answer.headers as Record<string, string> }));
      });
    });
    sent.on('error', reject);
    sent.end();
  });
}

const browse = (path: string, headers: Record<string, string> = {}, method = 'GET') =>
  ask(path, { Accept: 'text/html,application/xhtml+xml', ...headers }, method);
const load = (path: string, headers: Record<string, string> = {}) =>
  server.fetch(path, { headers: { Accept: '*/*', ...headers } });

/** Sends the path exactly as written; status and body of the answer. */
const raw = (path: string): Promise<string> =>
  new Promise((resolve, reject) => {
    const { hostname, port } = new URL(server.url);
    const socket = connect(Number(port), hostname, () =>
      socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\nAccept: text/html\r\nConnection: close\r\n\r\n`),
    );
    let text = '';
    socket.on('data', (data) => (text += data.toString()));
    socket.on('end', () => resolve(text));
    socket.on('error', reject);
  });

describe('the start page', () => {
  it.each(['/', '/index.html', '/conversations/task-0123', '/settings', '/oauth/keycloak/callback?code=1'])(
    'is what a browser gets at %s, to be asked for again each time',
    async (path) => {
      const answer = await browse(path, { 'Sec-Fetch-Mode': 'navigate' });
      expect(answer.status).toBe(200);
      expect(await answer.text()).toBe(PAGE);
      expect(answer.headers.get('content-type')).toBe('text/html; charset=utf-8');
      expect(answer.headers.get('cache-control')).toBe('no-cache');
      expect(answer.headers.get('pragma')).toBeNull();
      expect(answer.headers.get('expires')).toBeNull();
    },
  );

  it('is answered with 304 while it is the same, and to HEAD without a body', async () => {
    const etag = (await browse('/')).headers.get('etag') ?? '';
    expect(etag).not.toBe('');
    const again = await browse('/', { 'If-None-Match': etag });
    expect([again.status, await again.text()]).toEqual([304, '']);
    const head = await browse('/conversations/1', {}, 'HEAD');
    expect([head.status, await head.text(), head.headers.get('content-length')]).toEqual([
      200,
      '',
      String(PAGE.length),
    ]);
  });

  it('may run its own scripts, talk to this server and to sandboxes, and be framed by nobody else', async () => {
    const { headers } = await browse('/');
    const policy = headers.get('content-security-policy') ?? '';
    const directive = (name: string) => policy.split('; ').find((one) => one.startsWith(`${name} `)) ?? '';
    const hash = createHash('sha256').update(SCRIPT).digest('base64');
    expect(directive('script-src')).toContain(`'self' 'sha256-${hash}'`);
    expect(directive('script-src')).not.toContain('unsafe');
    const { host } = new URL(server.url);
    expect(directive('connect-src')).toBe(
      `connect-src 'self' ws://${host} wss://${host} http://127.0.0.1:* ws://127.0.0.1:*`,
    );
    expect(directive('frame-src')).toBe("frame-src 'self' http://127.0.0.1:*");
    expect(directive('frame-ancestors')).toBe("frame-ancestors 'self'");
    expect(policyOf([], 'evil; script-src *', [])).not.toContain('evil');
  });

  it('of a new build is served, and its scripts run, without a restart', async () => {
    const changed = PAGE.replace('isSpaMode', 'isNewMode');
    await writeFile(join(directory, 'build', 'index.html'), changed);
    try {
      const answer = await browse('/');
      const hash = createHash('sha256').update(SCRIPT.replace('isSpaMode', 'isNewMode')).digest('base64');
      expect(await answer.text()).toBe(changed);
      expect(answer.headers.get('content-security-policy')).toContain(hash);
    } finally {
      await writeFile(join(directory, 'build', 'index.html'), PAGE);
    }
  });
});

describe('files of the build', () => {
  it.each([
    ['/assets/logo-1.svg', 'image/svg+xml', 'public, max-age=2592000, immutable'],
    ['/locales/en/translation.json', 'application/json; charset=utf-8', 'no-cache'],
    ['/favicon.ico', 'image/vnd.microsoft.icon', 'no-cache'],
    ['/a%20file%231%3F.txt', 'text/plain; charset=utf-8', 'no-cache'],
  ])('have their type and how long they stay: %s', async (path, type, cache) => {
    const answer = await load(path);
    expect(answer.status).toBe(200);
    expect(await answer.text()).toBe(BUILD[decodeURIComponent(path).slice(1)]);
    expect(answer.headers.get('content-type')).toBe(type);
    expect(answer.headers.get('cache-control')).toBe(cache);
    expect(answer.headers.get('etag')).not.toBeNull();
    expect(answer.headers.get('x-content-type-options')).toBe('nosniff');
  });

  it.each([
    ['gzip, deflate, br', 'br'],
    ['gzip', 'gzip'],
    ['br;q=0, gzip', 'gzip'],
    ['identity', null],
  ])('that are compressed already go out so to who accepts %s', async (accepted, encoding) => {
    const answer = await load('/assets/entry-AbC123.js', { 'Accept-Encoding': accepted });
    expect(answer.headers.get('content-encoding')).toBe(encoding);
    expect(answer.headers.get('vary')).toContain('Accept-Encoding');
    expect(answer.headers.get('content-type')).toBe('text/javascript; charset=utf-8');
    expect(answer.headers.get('cache-control')).toContain('immutable');
    expect(await answer.text()).toBe(CODE); // unpacked by the client
  });

  it('compressed have a tag and a length of their own', async () => {
    const [plain, packed] = await Promise.all(
      ['identity', 'br'].map((accepted) =>
        server.fetch('/assets/entry-AbC123.js', { method: 'HEAD', headers: { 'Accept-Encoding': accepted } }),
      ),
    );
    expect(plain?.headers.get('content-length')).toBe(String(CODE.length));
    const stored = BUILD['assets/entry-AbC123.js.br'] as Buffer;
    expect(packed?.headers.get('content-length')).toBe(String(stored.length));
    expect(packed?.headers.get('etag')).not.toBe(plain?.headers.get('etag'));
    expect(brotliDecompressSync(stored).toString()).toBe(CODE);
  });

  it('are sent in parts', async () => {
    const part = await load('/assets/entry-AbC123.js', { Range: 'bytes=0-5', 'Accept-Encoding': 'identity' });
    expect([part.status, await part.text(), part.headers.get('content-range')]).toEqual([
      206,
      'export',
      `bytes 0-5/${CODE.length}`,
    ]);
    const beyond = await load('/favicon.ico', { Range: 'bytes=100-200' });
    expect([beyond.status, beyond.headers.get('content-range')]).toEqual([416, 'bytes */4']);
  });
});

describe('what is not there', () => {
  it.each([
    '/assets/gone-1.js',
    '/assets/gone',
    '/missing.png',
    '/.env',
    '/.git/config',
    '/%2eenv',
    '/api/nothing',
    '/api',
    '/%61pi/nothing',
    '/sockets/events/1',
    '/mcp/mcp',
    '/socket.io?transport=polling',
    '/locales.d',
  ])('is 404 and no page, also to browsers: %s', async (path) => {
    const answer = await browse(path, { 'Sec-Fetch-Mode': 'navigate' });
    expect(answer.status).toBe(404);
    expect(await answer.json()).toEqual({ detail: 'Not Found' });
    expect(answer.headers.get('cache-control')).toContain('no-store');
  });

  it.each([
    '/../outside.txt',
    '/assets/../../outside.txt',
    '/..%2foutside.txt',
    '/%2e%2e/outside.txt',
    '/assets/..%5c..%5coutside.txt',
    '/%252e%252e/outside.txt',
    '/index.html%00.txt',
    '/%zz',
    '//outside.txt/..',
  ])('cannot be reached by %s', async (path) => {
    const answer = await raw(path);
    expect(answer).toMatch(/^HTTP\/1\.1 40[04] /);
    expect(answer).not.toContain('outside\n');
  });

  it('is no page either for what a page loads', async () => {
    const loads: Record<string, string>[] = [
      { Accept: '*/*' },
      { 'Sec-Fetch-Mode': 'cors' },
      { Accept: 'application/json' },
    ];
    for (const headers of loads) expect((await browse('/conversations/1', headers)).status).toBe(404);
    expect((await browse('/conversations/1', {}, 'POST')).status).toBe(404);
  });
});

it('leaves the API beside it as it is', async () => {
  const answer = await browse('/api/things');
  expect([answer.status, await answer.json()]).toEqual([200, 'thing']);
  expect(answer.headers.get('content-security-policy')).toContain("default-src 'none'");
  expect(answer.headers.get('cache-control')).toContain('no-store');
  expect((await browse('/docs')).status).toBe(200);
});

describe('FRONTEND_DIR', () => {
  const configured = (env: Record<string, string>) => loadConfig({ env: { HOME: directory, ...env } });

  it('is a directory with a build, also below the home directory; without it no client is served', () => {
    expect(requireFrontend(configured({ FRONTEND_DIR: '~/build' }))).toBe(join(directory, 'build'));
    expect(requireFrontend(configured({}))).toBeNull();
  });

  it.each(['assets', 'index.html', 'nowhere'])(
    'is refused in one sentence where there is none: %s',
    (name) => {
      const path = join(directory, 'build', name);
      expect(() => requireFrontend(configured({ FRONTEND_DIR: path }))).toThrow(
        `FRONTEND_DIR is ${path}, where no index.html is: build the frontend and name the directory of the build.`,
      );
    },
  );

  it.each([
    [{}, ['http://127.0.0.1:*']],
    [{ SANDBOX_ADDRESS: 'agents.example' }, ['http://agents.example:*']],
    [
      { OH_WEB_URL: 'https://agents.example/base', SANDBOX_ADDRESS: '::1' },
      ['https://agents.example', 'http:', 'https:'],
    ],
    [
      { RUNTIME: 'docker', SANDBOX_CONTAINER_URL_PATTERN: 'https://{port}.boxes.example' },
      ['https://*.boxes.example'],
    ],
    [{ RUNTIME: 'docker' }, ['http://localhost:*']],
    [{ RUNTIME: 'remote' }, ['https:']],
  ])('lets pages talk to the sandboxes of %j', (env, sources) => {
    expect(sandboxSources(configured(env))).toEqual(sources);
  });
});
