/** Starts whose agent-server costs nothing: what Callboard, Temporal and PostgreSQL take for one, and for fifty at once. */
import { setTimeout as sleep } from 'node:timers/promises';
import { startTasksOf } from '../../cli/client/start-stream.js';
import { required } from '../../tests/support/environment.js';
import type { Product } from '../../tests/support/product.js';
import { openFloor } from '../floor/floor.js';
import { duration, range, type Measure, type Result } from '../measure.js';
import { processorSeconds, processorSecondsOfAll, processWith } from '../processes.js';
import { PythonLightStarts } from '../python-server/starts.js';
import { median, percentile } from '../statistics.js';

const AT_ONCE = 50;
const SINGLE = 10;
/** Sandboxes that are listed and deleted at a time. */
const PAGE = 100;
/** As long as a deletion of so many may take, in milliseconds. */
const CLEAN_MS = 120_000;

/** POST → READY in milliseconds, or why it failed. */
async function start(product: Product): Promise<number | string> {
  const began = performance.now();
  const response = await fetch(`${product.url}/api/v1/app-conversations/stream-start`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{}',
  });
  if (!response.ok || !response.body) return `HTTP ${response.status}: ${await response.text()}`;
  let last: { status: string; detail?: string | null } = { status: 'nothing' };
  for await (const task of startTasksOf(response.body)) last = task;
  return last.status === 'READY'
    ? performance.now() - began
    : `${last.status}: ${last.detail ?? 'no detail'}`;
}

/** Processor seconds so far, by whom. */
function usedBy(product: Product): Record<string, number> {
  const engines = required('TEST_ENGINES_DIRECTORY');
  return {
    API: processorSeconds(product.api.child.pid),
    worker: processorSeconds(product.worker.child.pid),
    Temporal: processorSecondsOfAll(processWith('start-dev', engines)),
    PostgreSQL: processorSecondsOfAll(processWith('postgres', engines)),
    bench: processorSeconds(undefined),
  };
}

/** Milliseconds of processor time a start, by whom. */
const perStart = (before: Record<string, number>, after: Record<string, number>): Record<string, number> =>
  Object.fromEntries(
    Object.entries(after).map(([who, seconds]) => [who, ((seconds - (before[who] ?? 0)) * 1_000) / AT_ONCE]),
  );

const textOf = (runs: readonly Record<string, number>[]): string =>
  Object.keys(runs[0] ?? {})
    .map((who) => `${who} ${median(runs.map((run) => run[who] ?? 0)).toFixed(0)} ms`)
    .join(', ');

/** What the same server and SDK made of starts in which nothing is done. */
interface FloorRuns {
  rates: number[];
  processor: Record<string, number>[];
}

const noFloor = (): FloorRuns => ({ rates: [], processor: [] });

function floorResult(what: string, { rates, processor }: FloorRuns): Result {
  const each = (who: string): string => median(processor.map((used) => used[who] ?? 0)).toFixed(0);
  return {
    measure: `the floor: ${AT_ONCE} workflows ${what}, in which nothing is done`,
    value: `${median(rates).toFixed(1)}/s`,
    detail: `${range(rates, (value) => value.toFixed(1))}; processor time each: Temporal ${each('Temporal')} ms, worker and client ${each('bench')} ms`,
    bar: '',
    met: null,
    python: '',
  };
}

/** Deletes all sandboxes and waits until their actors have ended: what is left would be measured with what comes next. */
async function clean(product: Product): Promise<void> {
  for (;;) {
    const { body } = await product.call<{ items: { id: string }[] }>(
      'GET',
      `/api/v1/sandboxes/search?limit=${PAGE}`,
    );
    await Promise.all(body.items.map(({ id }) => product.call('DELETE', `/api/v1/sandboxes/${id}`)));
    if (body.items.length < PAGE) break;
  }
  const deadline = Date.now() + CLEAN_MS;
  const query = "WorkflowType = 'sandbox' AND ExecutionStatus = 'Running'";
  while ((await product.temporal.client.workflow.count(query)).count > 0) {
    if (Date.now() > deadline) throw new Error('sandboxes were still being deleted');
    await sleep(100);
  }
}

export const lightStarts: Measure = {
  name: 'light-starts',
  title: 'starts on light agent-servers',
  async run({ light, runs, note, python }) {
    const product = await light();
    await start(product); // asks the agent-server for its version and tools, once per worker
    const theirs = await PythonLightStarts.of(python);
    const singles: number[] = [];
    for (let run = 0; run < SINGLE; run++) {
      const took = await start(product);
      if (typeof took === 'string') throw new Error(`a start failed: ${took}`);
      singles.push(took);
      await theirs?.single();
    }
    // A process that has just begun compiles while it works: its first burst takes a third longer, and does not count.
    await Promise.all(Array.from({ length: AT_ONCE }, () => start(product)));
    await theirs?.warmUp(AT_ONCE);
    await theirs?.clean();
    // Ours run on until the end: for each new directory ext4 looks through what was deleted in the last minute, and
    // the deletion of one burst would be measured with the next.
    const floor = await openFloor(product);
    const rates: number[] = [];
    const floors = { same: noFloor(), fewest: noFloor() };
    const p95s: number[] = [];
    const processor: Record<string, number>[] = [];
    let failed = 0;
    for (let run = 1; run <= runs; run++) {
      const before = usedBy(product);
      const began = performance.now();
      const took = await Promise.all(Array.from({ length: AT_ONCE }, () => start(product)));
      const elapsed = performance.now() - began;
      const ended = took.filter((time) => typeof time === 'number');
      rates.push((ended.length * 1_000) / elapsed);
      for (const reason of took) if (typeof reason === 'string') note(`a start failed: ${reason}`);
      failed += AT_ONCE - ended.length;
      p95s.push(percentile(ended, 0.95));
      processor.push(perStart(before, usedBy(product)));
      note(`${AT_ONCE} starts: ${rates.at(-1)?.toFixed(1) ?? ''}/s; ${textOf(processor.slice(-1))}`);
      for (const steps of ['same', 'fewest'] as const) {
        const idle = usedBy(product);
        const { rates: floorRates, processor: used } = floors[steps];
        floorRates.push(await floor.starts(AT_ONCE, steps));
        used.push(perStart(idle, usedBy(product)));
        note(
          `${AT_ONCE} starts that do nothing, ${steps} steps: ${floorRates.at(-1)?.toFixed(1) ?? ''}/s; ${textOf(used.slice(-1))}`,
        );
      }
      await theirs?.together(AT_ONCE);
      await theirs?.clean();
    }
    await floor.close();
    await clean(product);
    const rate = median(rates);
    return [
      {
        measure: 'one start on a light agent-server, POST → READY',
        value: duration(median(singles)),
        detail: range(singles, duration),
        bar: '≤ 0.4 s',
        met: median(singles) <= 400,
        python: '1.56 s',
        beside: theirs?.besideSingles(singles),
      },
      {
        measure: `${AT_ONCE} concurrent starts on a light agent-server`,
        value: `${rate.toFixed(1)} starts/s, p95 ${duration(median(p95s))}, ${failed} failed`,
        detail: `${range(rates, (value) => value.toFixed(1))}; processor time a start: ${textOf(processor)}`,
        bar: '≥ 20 starts/s, p95 ≤ 3 s, none failed',
        met: rate >= 20 && median(p95s) <= 3_000 && failed === 0,
        python: 'SQLite 2.3/s with 19 of 50 failed; PostgreSQL 7.8/s, p95 6.4 s',
        beside: theirs?.besideTogether(rates),
      },
      floorResult('with the steps of these starts', floors.same),
      floorResult(
        'with the fewest steps that outlive a worker, one activity for a start and one for its sandbox',
        floors.fewest,
      ),
    ];
  },
};
