/**
 * How long a start takes with the real agent-server that finds no warm sandbox, beside the boot of the agent-server itself,
 * in turns.
 *
 * Boot is exec → first `/alive` of the agent-server with the environment that sandboxes get; start is POST → READY of a
 * conversation without a repository in a new sandbox, forked as by default, and booted by its command. What Callboard adds
 * to one that boots is the difference to the boot within the same start: two boots of one machine differ by half a second
 * and more.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { StartStatus } from '../../contract/start-task.js';
import { createProcessBackend } from '../../sandboxes/process-backend.js';
import { awaitReady } from '../../sandboxes/readiness.js';
import { required } from '../../tests/support/environment.js';
import { freePort } from '../../tests/support/loopback.js';
import { startProduct, type Product } from '../../tests/support/product.js';
import { finish, startScriptedLlm } from '../../tests/support/scripted-llm.js';
import { duration, range, type Measure } from '../measure.js';
import { PythonRealStarts } from '../python-server/starts.js';
import { median } from '../statistics.js';
import { phasesOf, startOnce } from '../timed-start.js';

/** As long as a worker may take until it forks, in milliseconds. */
const FORKING_MS = 120_000;

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

async function measureStart(product: Product): Promise<Omit<Measured, 'boot'>> {
  const { took: start, sandboxId, phases } = await startOnce(product);
  const ownBoot = bootOf(product, sandboxId);
  await product.call('DELETE', `/api/v1/sandboxes/${sandboxId}`);
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

export const realStart: Measure = {
  name: 'real-start',
  title: 'cold starts of the real agent-server',
  async run({ runs: count, note, python }) {
    const llm = await startScriptedLlm({ steps: [finish('Done')] });
    const env = { LLM_MODEL: 'openai/scripted', LLM_API_KEY: 'sk-scripted', LLM_BASE_URL: llm.url };
    const forking = await startProduct({ env });
    const booting = await startProduct({ env: { ...env, CALLBOARD_FORK_AGENT_SERVERS: '0' } });
    const forked: Measured[] = [];
    const booted: Measured[] = [];
    let theirs: PythonRealStarts | null = null;
    try {
      theirs = await PythonRealStarts.of(python, llm.url);
      await measureBoot(); // byte code and file cache
      // Each asks the agent-server for its version and tools, once per worker; one makes what it forks from then on.
      await measureStart(booting);
      await measureStart(forking);
      await forksNow(forking);
      for (let run = 1; run <= count; run++) {
        const boot = await measureBoot();
        forked.push({ boot, ...(await measureStart(forking)) });
        booted.push({ boot, ...(await measureStart(booting)) });
        await theirs?.turn();
        note(
          `start ${run}: forked ${duration(forked.at(-1)!.start)}, booted ${duration(booted.at(-1)!.start)}; boot alone ${duration(boot)}`,
        );
      }
    } finally {
      await theirs?.stop();
      await forking.stop();
      await booting.stop();
      await llm.close();
    }
    const over = forked.map(({ start, boot }) => start - boot);
    const added = booted.map(({ start, ownBoot }) => start - ownBoot);
    const bar = { bar: '≤ 0.3 s', python: '1.1–1.8 s over its untuned boot' };
    return [
      {
        measure: 'cold start, POST → READY minus a tuned boot beside it, real agent-server, no repository',
        value: duration(median(over)),
        detail: `${range(over, duration)}; ${whole(forked)}`,
        ...bar,
        met: median(over) <= 300,
        beside: theirs?.besideOver(over),
      },
      {
        measure: '… with forking turned off, minus the boot within it',
        value: duration(median(added)),
        detail: `${range(added, duration)}; ${whole(booted)}`,
        ...bar,
        met: median(added) <= 300,
      },
    ];
  },
};

function whole(runs: readonly Measured[]): string {
  const of = (pick: (run: Measured) => number): string => duration(median(runs.map(pick)));
  return `the start ${of(({ start }) => start)}, until its agent-server answers ${of(({ ownBoot }) => ownBoot)}, boot alone ${of(({ boot }) => boot)}; ${phasesOf(runs)}`;
}

/** Waits until its worker forks agent-servers. */
async function forksNow(product: Product): Promise<void> {
  const deadline = Date.now() + FORKING_MS;
  while (!product.worker.output.includes('agent-servers are forked from now on')) {
    if (Date.now() > deadline) throw new Error('the worker forks no agent-servers');
    await sleep(100);
  }
}
