/**
 * `npm run bench`: how long a start takes, beside the boot of the agent-server itself, measured in turns in one run.
 *
 * Boot is exec → first `/alive` of the agent-server with the environment that sandboxes get; start is POST → READY of a
 * conversation without a repository in a new sandbox. What Callboard adds is the difference to the boot within the same
 * start: two boots of one machine differ by half a second and more.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { startTasksOf } from '../cli/client/start-stream.js';
import { START_STATUSES, type StartStatus } from '../contract/start-task.js';
import { createProcessBackend } from '../sandboxes/process-backend.js';
import { awaitReady } from '../sandboxes/readiness.js';
import setUpEngines from '../tests/support/global-setup.js';
import { required } from '../tests/support/environment.js';
import { freePort } from '../tests/support/loopback.js';
import { startProduct, type Product } from '../tests/support/product.js';
import { finish, startScriptedLlm } from '../tests/support/scripted-llm.js';
import { median, table } from './statistics.js';

const RUNS = Number(process.argv[2] ?? 5);

interface Measured {
  /** Boot of an agent-server alone, in milliseconds. */
  boot: number;
  /** Boot of the agent-server within the start, exec → `/alive`, in milliseconds. */
  ownBoot: number;
  start: number;
  /** Milliseconds in each status but the last. */
  phases: Map<StartStatus, number>;
}

/** exec → `/alive` 200 with its process alive, in milliseconds. */
async function measureBoot(): Promise<number> {
  const directory = mkdtempSync(join(tmpdir(), 'callboard-bench-'));
  const silent = { info: () => undefined, warn: () => undefined };
  const backend = createProcessBackend({
    rootDirectory: directory,
    command: required('AGENT_SERVER_COMMAND'),
    address: '127.0.0.1',
    logger: silent,
  });
  const sandboxId = 'bench';
  const port = await freePort();
  const began = performance.now();
  const handle = await backend.launch({
    sandboxId,
    specId: 'bench',
    port,
    sessionApiKey: 'bench-session-key',
    secretKey: 'bench-secret-key',
    webhookBaseUrl: 'http://127.0.0.1:9/api/v1/webhooks',
    environment: {},
  });
  await awaitReady({ backend, sandboxId, handle, startupTimeoutMs: 120_000 });
  const took = performance.now() - began;
  await backend.destroy(sandboxId, handle);
  rmSync(directory, { recursive: true, force: true });
  return took;
}

/** POST → READY in milliseconds, and the time in each status as the stream brought them. */
async function measureStart(product: Product): Promise<Omit<Measured, 'boot'>> {
  const began = performance.now();
  const response = await fetch(`${product.url}/api/v1/app-conversations/stream-start`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      initial_message: { role: 'user', content: [{ type: 'text', text: 'Hello' }], run: true },
    }),
  });
  if (!response.ok || !response.body) throw new Error(`stream-start answered ${response.status}`);
  const phases = new Map<StartStatus, number>();
  let entered = began;
  let current: StartStatus | null = null;
  let sandboxId: string | null = null;
  for await (const task of startTasksOf(response.body)) {
    const now = performance.now();
    // What passes before the first status is the request itself.
    phases.set(current ?? 'WORKING', (phases.get(current ?? 'WORKING') ?? 0) + now - entered);
    entered = now;
    current = task.status;
    sandboxId = task.sandbox_id;
    if (task.status === 'ERROR') throw new Error(task.detail ?? 'the start failed');
  }
  const start = entered - began;
  const ownBoot = bootOf(product, sandboxId ?? '');
  await product.call('DELETE', `/api/v1/sandboxes/${sandboxId ?? ''}`);
  return { start, ownBoot, phases };
}

/** What the worker logged of the boot of a sandbox. */
function bootOf(product: Product, sandboxId: string): number {
  for (const line of product.worker.output.split('\n')) {
    if (!line.includes('"bootMs"') || !line.includes(sandboxId)) continue;
    return (JSON.parse(line) as { bootMs: number }).bootMs;
  }
  throw new Error(`the worker logged no boot of ${sandboxId}`);
}

const ms = (value: number): string => value.toFixed(0);

const tearDown = await setUpEngines();
const llm = await startScriptedLlm({ steps: [finish('Done')] });
const product = await startProduct({
  env: { LLM_MODEL: 'openai/scripted', LLM_API_KEY: 'sk-scripted', LLM_BASE_URL: llm.url },
});
const runs: Measured[] = [];
try {
  await measureBoot(); // byte code and file cache
  const first = await measureStart(product); // asks the agent-server for its version and tools, once per worker
  process.stderr.write(`first start of the worker: ${ms(first.start - first.ownBoot)} ms over its boot\n`);
  for (let run = 1; run <= RUNS; run++) {
    const boot = await measureBoot();
    const measured = { boot, ...(await measureStart(product)) };
    runs.push(measured);
    process.stderr.write(
      `run ${run}: boot ${ms(boot)} ms, start ${ms(measured.start)} ms, of this ${ms(measured.ownBoot)} ms boot\n`,
    );
  }
} finally {
  await product.stop();
  await llm.close();
  await tearDown();
}

const phases = START_STATUSES.filter((status) => status !== 'READY' && status !== 'ERROR');
const row = (name: string, pick: (run: Measured) => number): string[] => [
  name,
  ...runs.map((run) => ms(pick(run))),
  ms(median(runs.map(pick))),
];
process.stdout.write(
  `\nA start, in milliseconds (load ${loadavg()
    .map((load) => load.toFixed(1))
    .join(' ')})\n\n${table([
    ['', ...runs.map((_, index) => `run ${index + 1}`), 'median'],
    row('boot of an agent-server alone', (run) => run.boot),
    row('POST → READY', (run) => run.start),
    row('  of this the boot', (run) => run.ownBoot),
    row('  overhead over it', (run) => run.start - run.ownBoot),
    row('  overhead over a boot alone', (run) => run.start - run.boot),
    ...phases.map((status) => row(`    ${status}`, (run) => run.phases.get(status) ?? 0)),
  ])}\n`,
);
