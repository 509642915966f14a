import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { buildLightAgentServer } from '../support/light-agent-server.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { required } from '../support/environment.js';
import { freePort } from '../support/loopback.js';
import { ProductProcess } from '../support/product.js';
import { TcpProxy } from '../support/tcp-proxy.js';
import { connectTemporal } from '../support/temporal.js';
import { markedProcesses } from '../chaos/agent-processes.js';

const WITHIN = { timeout: 60_000, interval: 100 };

let directory: string;
let database: TestDatabase;
let network: TcpProxy;
let up: ProductProcess | undefined;

const agents = () => markedProcesses([join(directory, 'host')]);

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'callboard-farewell-'));
  database = await createTestDatabase();
  const [host = '', port] = required('TEST_TEMPORAL_ADDRESS').split(':');
  network = await TcpProxy.open({ host, port: Number(port) });
});
afterEach(async () => {
  await up?.end('SIGKILL');
  for (const { pid } of agents()) process.kill(pid, 'SIGKILL');
  await network.close();
  await database.drop();
  rmSync(directory, { recursive: true, force: true });
});

it('up that is stopped while Temporal is away ends its warm sandboxes, says what it could not do, and ends well', async () => {
  const temporal = await connectTemporal();
  up = new ProductProcess('up', {
    OH_PERSISTENCE_DIR: directory,
    DATABASE_URL: database.url,
    TEMPORAL_ADDRESS: `127.0.0.1:${network.port}`,
    TEMPORAL_NAMESPACE: temporal.namespace ?? 'default',
    AGENT_SERVER_COMMAND: buildLightAgentServer(directory),
    PORT: String(await freePort()),
    CALLBOARD_SHUTDOWN_GRACE_SECONDS: '1',
    LOG_JSON: '1',
  });
  await vi.waitFor(() => {
    expect(up?.output).toContain('Callboard is up');
    expect(agents()).toHaveLength(1);
    expect(up?.output).toContain('agent-server answers');
  }, WITHIN);

  await network.close();
  await up.end('SIGINT');

  expect(up.child.exitCode, up.output).toBe(0);
  expect(up.output).toContain('warm sandboxes were not given up: the next start does that');
  expect(up.output).toContain('Stopped.');
  expect(agents()).toEqual([]);
  await temporal.teardown();
});
