/**
 * How long a start takes with the real agent-server, beside the boot of the agent-server itself, in turns.
 *
 * Boot is exec → first `/alive` of the agent-server with the environment that sandboxes get; start is POST → READY of a
 * conversation without a repository in a new sandbox. What Callboard adds is the difference to the boot within the same
 * start: two boots of one machine differ by half a second and more.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
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
    const product = await startProduct({
      env: { LLM_MODEL: 'openai/scripted', LLM_API_KEY: 'sk-scripted', LLM_BASE_URL: llm.url },
    });
    const runs: Measured[] = [];
    let theirs: PythonRealStarts | null = null;
    try {
      theirs = await PythonRealStarts.of(python, llm.url);
      await measureBoot(); // byte code and file cache
      await measureStart(product); // asks the agent-server for its version and tools, once per worker
      for (let run = 1; run <= count; run++) {
        const boot = await measureBoot();
        const measured = { boot, ...(await measureStart(product)) };
        runs.push(measured);
        await theirs?.turn();
        note(
          `start ${run}: ${duration(measured.start)}, of this ${duration(measured.ownBoot)} boot; boot alone ${duration(boot)}`,
        );
      }
    } finally {
      await theirs?.stop();
      await product.stop();
      await llm.close();
    }
    const of = (pick: (run: Measured) => number): number[] => runs.map(pick);
    const over = of(({ start, ownBoot }) => start - ownBoot);
    return [
      {
        measure: 'cold start, POST → READY minus the boot within it, real agent-server, no repository',
        value: duration(median(over)),
        detail: `${range(over, duration)}; the start ${duration(median(of(({ start }) => start)))}, boot within it ${duration(median(of(({ ownBoot }) => ownBoot)))}, boot alone ${duration(median(of(({ boot }) => boot)))}; ${phasesOf(runs)}`,
        bar: '≤ 0.3 s',
        met: median(over) <= 300,
        python: '1.1–1.8 s over its untuned boot',
        beside: theirs?.besideOver(over),
      },
    ];
  },
};
