import { createConnection } from 'node:net';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { route } from '../../api/route.js';
import { startTestServer, type TestServer } from '../support/test-server.js';

let server: TestServer;
let waiting = 0;

beforeAll(async () => {
  const about = { summary: 's', tag: 't', guard: 'open', responses: { 200: { description: 'd' } } } as const;
  const paths = ['/here', '/alive'];
  server = await startTestServer([
    ...paths.map((path) => route({ ...about, method: 'get', path, handle: async () => ({ ok: true }) })),
    route({
      ...about,
      method: 'get',
      path: '/broken',
      handle: () => Promise.reject(new Error('unforeseen')),
    }),
    route({
      ...about,
      method: 'get',
      path: '/never',
      handle: () => {
        waiting += 1;
        return new Promise<never>(() => undefined);
      },
    }),
  ]);
});
afterAll(() => server.close());

const linesOf = (path: string) =>
  server.log.filter((line) => (line['req'] as { path?: string } | undefined)?.path === path);

/** The one line of a request; it is written when the answer has gone out. */
async function lineOf(path: string): Promise<Record<string, unknown>> {
  await vi.waitFor(() => expect(linesOf(path)).toHaveLength(1), { timeout: 90_000 });
  return linesOf(path)[0] ?? {};
}

describe('the log has one line of each request', () => {
  it('that was served, without its query', async () => {
    await server.fetch('/here?key=hunter2');
    expect(await lineOf('/here')).toMatchObject({
      level: 30,
      msg: 'request served',
      req: { method: 'GET' },
      res: { status: 200 },
      reqId: expect.any(Number) as number,
      responseTime: expect.any(Number) as number,
    });
    expect(JSON.stringify(server.log)).not.toContain('hunter2');
  });

  it('that found nothing, with its path', async () => {
    await server.fetch('/nowhere');
    expect(await lineOf('/nowhere')).toMatchObject({ level: 30, res: { status: 404 } });
  });

  it('that failed, as a warning', async () => {
    await server.fetch('/broken');
    expect(await lineOf('/broken')).toMatchObject({ level: 40, msg: 'request failed', res: { status: 500 } });
  });

  it('about its health, for whoever looks closer', async () => {
    await server.fetch('/alive');
    expect(await lineOf('/alive')).toMatchObject({ level: 20 });
  });

  it('whose client went away before it was answered', async () => {
    const socket = createConnection({ host: '127.0.0.1', port: Number(new URL(server.url).port) });
    socket.write('GET /never HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n');
    await vi.waitFor(() => expect(waiting).toBe(1), { timeout: 90_000 });
    socket.destroy();
    expect(await lineOf('/never')).toMatchObject({ req: { method: 'GET' } });
  });
});
