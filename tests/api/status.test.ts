import { Client, Connection } from '@temporalio/client';
import { tmpdir } from 'node:os';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ServerInfo, ServerMonitor } from '../../api/server-info.js';
import { databaseCheck, statusRoutes, temporalCheck } from '../../api/status-routes.js';
import { route } from '../../api/route.js';
import { Secret } from '../../contract/masking.js';
import { openDatabase } from '../../db/database.js';
import { openTestDatabase } from '../support/database.js';
import { startTestServer, type TestServer } from '../support/test-server.js';

const deadDatabase = openDatabase({ url: 'postgres://nobody:nothing@127.0.0.1:1/none' });
const deadTemporal = new Client({ connection: Connection.lazy({ address: '127.0.0.1:1' }) });
const monitor = new ServerMonitor(tmpdir());
const servers: TestServer[] = [];
let live: Awaited<ReturnType<typeof openTestDatabase>>;

const serve = async (deps: Parameters<typeof statusRoutes>[0]): Promise<TestServer> => {
  const work = route({
    method: 'get',
    path: '/work',
    summary: 's',
    tag: 't',
    guard: 'open',
    responses: { 200: { description: 'Done.' } },
    handle: () => Promise.resolve({}),
  });
  const server = await startTestServer([...statusRoutes(deps), work], {
    server: { instanceKey: new Secret('instance-key') },
    onActivity: () => monitor.touch(),
  });
  servers.push(server);
  return server;
};

beforeAll(async () => {
  live = await openTestDatabase();
});
afterAll(async () => {
  await Promise.all(servers.map((server) => server.close()));
  await Promise.all([live.close(), deadDatabase.close()]);
});

describe('status', () => {
  it('is told to anybody', async () => {
    const server = await serve({ checks: [databaseCheck(live.pool)], monitor });
    expect(await (await server.fetch('/alive')).json()).toEqual({ status: 'ok' });
    expect(await (await server.fetch('/health')).json()).toBe('OK');
    const ready = await server.fetch('/ready');
    expect([ready.status, await ready.json()]).toEqual([200, 'OK']);
  });

  it('is alive but not ready while the database is away, and names it', async () => {
    const server = await serve({ checks: [databaseCheck(deadDatabase.pool)], monitor });
    expect((await server.fetch('/alive')).status).toBe(200);
    const ready = await server.fetch('/ready');
    expect([ready.status, await ready.json()]).toEqual([
      503,
      { detail: 'Not ready: no answer from the database.' },
    ]);
    expect(ready.headers.get('retry-after')).toBe('5');
  });

  it('names every part that does not answer in time', async () => {
    const server = await serve({
      checks: [
        { name: 'disk', check: () => new Promise(() => undefined) },
        databaseCheck(live.pool),
        temporalCheck(deadTemporal),
      ],
      monitor,
    });
    const ready = await server.fetch('/ready');
    expect(await ready.json()).toEqual({
      detail: 'Not ready: no answer from the disk and the workflow service.',
    });
  });

  it('tells how long the server has been of no use, looks at its health not counted (D30)', async () => {
    const server = await serve({ checks: [], monitor });
    const read = async () => ServerInfo.parse(await (await server.fetch('/server_info')).json());
    await server.fetch('/work');
    const first = await read();
    await server.fetch('/alive');
    const second = await read();
    expect(second.idle_time).toBeGreaterThan(first.idle_time);
    expect(second.idle_time).toBeLessThan(second.uptime);
    await server.fetch('/work');
    expect((await read()).uptime - (await read()).idle_time).toBeGreaterThan(
      second.uptime - second.idle_time,
    );
    expect(first.resources.memory.rss).toBeGreaterThan(1e6);
    expect(first.resources.memory.vms).toBeGreaterThan(first.resources.memory.rss);
    expect(first.resources.disk.total).toBeGreaterThan(first.resources.disk.used);
  });
});
