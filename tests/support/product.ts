/** The product as its users run it: separate processes made from `dist/`, on the engines of the test run. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { poolStateQuery } from '../../workflows/messages.js';
import { createTestDatabase, type TestDatabase } from './database.js';
import { required } from './environment.js';
import { freePort } from './loopback.js';
import { TEST_MASTER_SECRET } from './master-key.js';
import { connectTemporal } from './temporal.js';

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

/** Long enough for a cold Node process on a busy machine. */
const BOOT_MS = 180_000;

/** One `callboard` process. */
export class ProductProcess {
  output = '';
  readonly child: ChildProcess;

  constructor(command: string, env: Record<string, string>, nodeFlags: readonly string[] = []) {
    if (!existsSync(MAIN)) throw new Error('dist/ is missing: run npm run build');
    this.child = spawn(process.execPath, [...nodeFlags, MAIN, command], {
      env: { PATH: process.env['PATH'], HOME: process.env['HOME'], ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream?.on('data', (data: Buffer) => (this.output += data.toString()));
    }
  }

  get running(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  /** Ends it; resolves when it is gone. */
  async end(signal: NodeJS.Signals): Promise<void> {
    if (!this.running) return;
    const exit = once(this.child, 'exit');
    this.child.kill(signal);
    await exit;
  }
}

export interface Product {
  /** Base URL of the API. */
  url: string;
  databaseUrl: string;
  directory: string;
  temporal: TestWorkflowEnvironment;
  api: ProductProcess;
  worker: ProductProcess;
  /** Kills the worker with -9 and starts another one in its place. */
  replaceWorker(): Promise<void>;
  /** Asks the worker to end (SIGTERM); another takes its place, before or after it has ended. */
  relieveWorker(order: 'relief first' | 'end first'): Promise<void>;
  /** Kills the API with -9 and starts another one on the same port. */
  replaceApi(): Promise<void>;
  /** A request to the API; the answer's JSON with its status. */
  // eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters -- the caller says what it expects
  call<Body = unknown>(method: string, path: string, body?: unknown): Promise<{ status: number; body: Body }>;
  stop(): Promise<void>;
}

export interface ProductOptions {
  env?: Record<string, string>;
  /** For Node, in front of the program. */
  nodeFlags?: readonly string[];
}

/** Starts API and worker on a fresh database, a fresh namespace and a fresh data directory. */
export async function startProduct({ env = {}, nodeFlags = [] }: ProductOptions = {}): Promise<Product> {
  const directory = mkdtempSync(join(tmpdir(), 'callboard-product-'));
  const [database, temporal, port] = await Promise.all([createTestDatabase(), connectTemporal(), freePort()]);
  const url = `http://127.0.0.1:${port}`;
  const common = {
    OH_PERSISTENCE_DIR: directory,
    DATABASE_URL: database.url,
    TEMPORAL_ADDRESS: required('TEST_TEMPORAL_ADDRESS'),
    TEMPORAL_NAMESPACE: temporal.namespace ?? 'default',
    AGENT_SERVER_COMMAND: required('AGENT_SERVER_COMMAND'),
    PORT: String(port),
    LOG_JSON: '1',
    // The git servers of the tests have no API.
    CALLBOARD_GIT_VERIFY_TOKENS: 'false',
    // The same as that of the client in `temporal`, which could not read anything else.
    JWT_SECRET: TEST_MASTER_SECRET,
    ...env,
  };
  const product: Product = {
    url,
    databaseUrl: database.url,
    directory,
    temporal,
    api: new ProductProcess('api', common, nodeFlags),
    worker: new ProductProcess('worker', common, nodeFlags),
    async replaceWorker() {
      await product.worker.end('SIGKILL');
      product.worker = new ProductProcess('worker', common);
    },
    async relieveWorker(order) {
      const before = product.worker;
      if (order === 'end first') await before.end('SIGTERM');
      product.worker = new ProductProcess('worker', common);
      await polling(product.worker);
      await before.end('SIGTERM');
    },
    async replaceApi() {
      await product.api.end('SIGKILL');
      product.api = new ProductProcess('api', common);
      await answering(product);
    },
    // eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters -- as declared
    async call<Body>(method: string, path: string, body?: unknown) {
      const response = await fetch(`${url}${path}`, {
        method,
        headers: body === undefined ? {} : { 'content-type': 'application/json' },
        body: body === undefined ? null : JSON.stringify(body),
      });
      const text = await response.text();
      return { status: response.status, body: (text === '' ? null : parsed(text)) as Body };
    },
    stop: () => stop(product, database),
  };
  await answering(product);
  return product;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (err) {
    if (err instanceof SyntaxError) return text;
    throw err;
  }
}

/** Waits until a worker says that it takes work. */
async function polling(worker: ProductProcess): Promise<void> {
  const deadline = Date.now() + BOOT_MS;
  while (!worker.output.includes('the worker polls')) {
    if (!worker.running || Date.now() > deadline)
      throw new Error(`the worker does not poll:\n${worker.output}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Waits until the API says that everything behind it is there. */
async function answering(product: Product): Promise<void> {
  const deadline = Date.now() + BOOT_MS;
  let last = 'no answer';
  while (Date.now() < deadline) {
    if (!product.api.running) throw new Error(`the API ended:\n${product.api.output}`);
    try {
      const response = await fetch(`${product.url}/ready`);
      if (response.ok) return;
      last = await response.text();
    } catch (err) {
      last = String(err);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`the API was not ready in time: ${last}\n${product.api.output}\n${product.worker.output}`);
}

/** Deletes every sandbox through the API, so that no agent-server outlives the test, then ends everything. */
async function stop(product: Product, database: TestDatabase): Promise<void> {
  if (product.worker.running && product.api.running) {
    await drainPools(product);
    const { body } = await product.call<{ items: { id: string }[] }>('GET', '/api/v1/sandboxes/search');
    for (const { id } of body.items) await product.call('DELETE', `/api/v1/sandboxes/${id}`);
    await allActorsEnded(product);
  }
  await Promise.all([product.api.end('SIGTERM'), product.worker.end('SIGTERM')]);
  await product.temporal.teardown();
  await database.drop();
  rmSync(product.directory, { recursive: true, force: true });
}

/** What is kept warm is in no list of the API. */
async function drainPools({ temporal }: Product): Promise<void> {
  const { workflow } = temporal.client;
  const query = "WorkflowType = 'sandboxPool' AND ExecutionStatus = 'Running'";
  for await (const { workflowId } of workflow.list({ query })) {
    const pool = workflow.getHandle(workflowId);
    await pool.signal('drain');
    // Of a boot that has just begun nothing may be seen elsewhere yet.
    for (const deadline = Date.now() + BOOT_MS; Date.now() < deadline;) {
      const { report } = await pool.query(poolStateQuery);
      if (report?.target === 0 && report.booting === 0) break;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

/** Waits until no sandbox actor runs any more. */
async function allActorsEnded({ temporal }: Product): Promise<void> {
  const deadline = Date.now() + 180_000;
  const query = "WorkflowType = 'sandbox' AND ExecutionStatus = 'Running'";
  while ((await temporal.client.workflow.count(query)).count > 0) {
    if (Date.now() > deadline) throw new Error('sandboxes were still being deleted after three minutes');
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
