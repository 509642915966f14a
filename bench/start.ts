/**
 * `npm run bench`: measures what `docs/performance.md` promises and prints one table in Markdown.
 *
 *     npm run bench                             all measures
 *     npm run bench -- --only ingest,pages      some of them
 *     npm run bench -- --runs 9                 medians of nine runs instead of five
 *     npm run bench -- --python                 the Python server beside it, measured in turns in the same run
 *     npm run bench -- --list                   the names of all
 *     npm run bench -- --profile DIRECTORY      CPU profiles of API and worker, of the measures that share them
 *
 * Runs `dist/` (`npm run build`) on a PostgreSQL and a Temporal server of its own. Progress goes to standard error, the
 * table to standard output.
 */
import { existsSync } from 'node:fs';
import { cpus, loadavg, totalmem } from 'node:os';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import setUpEngines from '../tests/support/global-setup.js';
import type { Product } from '../tests/support/product.js';
import { startProduct } from '../tests/support/product.js';
import { startLightSandboxes, type LightSandboxes } from './light-sandboxes.js';
import { referenceWork } from './machine-speed.js';
import type { Measure, Surroundings } from './measure.js';
import { ingest } from './measures/ingest.js';
import { lean } from './measures/lean.js';
import { lightStarts } from './measures/light-starts.js';
import { lists } from './measures/lists.js';
import { pages } from './measures/pages.js';
import { realStart } from './measures/real-start.js';
import { warmStart } from './measures/warm-start.js';
import { machineTime, stolenSince } from './processes.js';
import { PythonSide } from './python-server/side.js';
import { reportOf, type MeasuredResult } from './report.js';

const MEASURES: readonly Measure[] = [lean, warmStart, realStart, lightStarts, ingest, lists, pages];

const note = (line: string): void => void process.stderr.write(`[bench] ${line}\n`);

/** API and worker on light sandboxes; many at a time, and as often as a measure likes. */
class LightProduct {
  #sandboxes: LightSandboxes | null = null;
  #product: Product | null = null;

  /** @param profiles directory for CPU profiles, or null */
  constructor(private readonly profiles: string | null) {}

  async get(): Promise<Product> {
    if (this.#product) return this.#product;
    this.#sandboxes = await startLightSandboxes();
    this.#product = await startProduct({
      env: {
        AGENT_SERVER_COMMAND: this.#sandboxes.command,
        LLM_MODEL: 'openai/none',
        LLM_API_KEY: 'sk-none',
        CALLBOARD_STARTS_PER_MINUTE: '0',
        CALLBOARD_WRITES_PER_MINUTE: '0',
      },
      nodeFlags: this.profiles === null ? [] : ['--cpu-prof', `--cpu-prof-dir=${this.profiles}`],
    });
    return this.#product;
  }

  async stop(): Promise<void> {
    await this.#product?.stop();
    await this.#sandboxes?.close();
  }
}

function options() {
  const { values } = parseArgs({
    options: {
      only: { type: 'string' },
      runs: { type: 'string', default: '5' },
      list: { type: 'boolean', default: false },
      profile: { type: 'string' },
      python: { type: 'boolean', default: false },
    },
  });
  const names = values.only?.split(',').map((name) => name.trim());
  const unknown = names?.filter((name) => !MEASURES.some((measure) => measure.name === name)) ?? [];
  if (unknown.length > 0) throw new Error(`no such measure: ${unknown.join(', ')}; --list names them`);
  const runs = Number(values.runs);
  if (!Number.isInteger(runs) || runs < 1) throw new Error('--runs takes a number from 1 on');
  return { ...values, runs, measures: MEASURES.filter(({ name }) => !names || names.includes(name)) };
}

async function main(): Promise<void> {
  const { list, runs, measures, profile, python: besidePython } = options();
  if (list) {
    for (const { name, title } of MEASURES) process.stdout.write(`${name.padEnd(14)}${title}\n`);
    return;
  }
  if (!existsSync(new URL('../dist/cli/main.js', import.meta.url))) {
    throw new Error('dist/ is missing: run npm run build');
  }
  const python = besidePython ? new PythonSide() : null;
  const stopEngines = await setUpEngines();
  const light = new LightProduct(profile === undefined ? null : resolve(profile));
  const surroundings: Surroundings = { runs, note, light: () => light.get(), python };
  const results: MeasuredResult[] = [];
  const failed: string[] = [];
  try {
    for (const { name, title, run } of measures) {
      note(`${title} …`);
      const began = performance.now();
      const before = machineTime();
      const workBefore = referenceWork();
      try {
        const measured = await run(surroundings);
        const [load = 0] = loadavg();
        const stolen = stolenSince(before);
        const work = (workBefore + referenceWork()) / 2;
        results.push(...measured.map((result) => ({ ...result, load, stolen, work })));
        note(`${title}: ${((performance.now() - began) / 1_000).toFixed(0)} s`);
      } catch (error) {
        failed.push(name);
        note(
          `${title} could not be measured: ${error instanceof Error ? (error.stack ?? '') : String(error)}`,
        );
      }
    }
  } finally {
    await python?.stop();
    await light.stop();
    await stopEngines();
  }
  const machine = `${cpus().length} cores (${cpus()[0]?.model.trim() ?? 'unknown'}), ${Math.round(totalmem() / 2 ** 30)} GB, Node ${process.version}`;
  process.stdout.write(reportOf(results, { runs, machine, python: besidePython }));
  if (failed.length > 0) {
    note(`not measured: ${failed.join(', ')}`);
    process.exitCode = 1;
  }
}

await main();
process.exit(); // connections of a measure that failed would keep it open
