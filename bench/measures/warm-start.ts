/** How long a start takes that finds a warm sandbox: POST → READY with the real agent-server, without a repository. */
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import type { Product } from '../../tests/support/product.js';
import { startProduct } from '../../tests/support/product.js';
import { finish, startScriptedLlm } from '../../tests/support/scripted-llm.js';
import { duration, range, type Measure } from '../measure.js';
import { processorSeconds } from '../processes.js';
import { PythonRealStarts } from '../python-server/starts.js';
import { median } from '../statistics.js';
import { phasesOf, startOnce, type TimedStart } from '../timed-start.js';

/** As long as the pool may take to boot the next one, in milliseconds. */
const REFILL_MS = 180_000;
/** What it is asked for ahead when it runs is done by then, in milliseconds. */
const SETTLED_MS = 2_000;

/** Waits for one; returns the pid of its agent-server. */
async function warmOneRuns(product: Product): Promise<number> {
  const client = new pg.Client({ connectionString: product.databaseUrl });
  await client.connect();
  const deadline = Date.now() + REFILL_MS;
  try {
    for (;;) {
      const { rows } = await client.query<{ pid: number }>(
        `select (handle->>'pid')::int as pid from sandboxes
         where warm_since is not null and deleted_at is null and status = 'RUNNING'`,
      );
      const [warm] = rows;
      if (warm) return warm.pid;
      if (Date.now() > deadline) throw new Error('no sandbox has become warm');
      await sleep(100);
    }
  } finally {
    await client.end();
  }
}

export const warmStart: Measure = {
  name: 'warm-start',
  title: 'starts in warm sandboxes of the real agent-server',
  async run({ runs, note, python }) {
    const llm = await startScriptedLlm({ steps: [finish('Done')] });
    const product = await startProduct({
      env: {
        LLM_MODEL: 'openai/scripted',
        LLM_API_KEY: 'sk-scripted',
        LLM_BASE_URL: llm.url,
        CALLBOARD_WARM_SANDBOXES: '1',
        CALLBOARD_WARM_SANDBOXES_MAX: '1',
      },
    });
    const starts: TimedStart[] = [];
    let theirs: PythonRealStarts | null = null;
    /** Processor time of the agent-servers from the request to READY, in milliseconds. */
    const used: number[] = [];
    try {
      theirs = await PythonRealStarts.of(python, llm.url);
      for (let run = 0; run <= runs; run++) {
        const pid = await warmOneRuns(product);
        if (run > 0) await theirs?.turn(); // before ours, behind which the next one is booted
        await sleep(SETTLED_MS);
        const before = processorSeconds(pid);
        const start = await startOnce(product);
        const work = (processorSeconds(pid) - before) * 1_000;
        note(`warm start: ${duration(start.took)}, of which the agent-server worked ${duration(work)}`);
        if (run > 0) used.push(work);
        await product.call('DELETE', `/api/v1/sandboxes/${start.sandboxId}`);
        if (run > 0) starts.push(start);
      }
    } finally {
      await theirs?.stop();
      await product.stop();
      await llm.close();
    }
    const took = starts.map((start) => start.took);
    return [
      {
        measure: 'warm start, POST → READY, real agent-server, no repository',
        value: duration(median(took)),
        detail: `${range(took, duration)}; ${phasesOf(starts)}; processor time of the agent-server ${duration(median(used))}`,
        bar: '≤ 0.6 s',
        met: median(took) <= 600,
        python: '8.2–9.3 s',
        beside: theirs?.besideStarts(took),
      },
    ];
  },
};
