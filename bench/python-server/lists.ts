/** Polls and lists of the Python server, in turns with ours, on as many rows. */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { timesBetter, type Beside } from '../beside.js';
import { httpRequest, load, type LoadOptions, type LoadResult } from '../load.js';
import { duration, whole } from '../measure.js';
import { median } from '../statistics.js';
import type { PythonSide } from './side.js';

const SEED = fileURLToPath(new URL('./seed.py', import.meta.url));
/** Requests of ours for each of theirs: of ten thousand a run would take minutes. */
const FEWER = 20;

export interface Rows {
  startTasks: number;
  conversations: number;
  /** Sandboxes that run; the newest tenth of the conversations lives in them. */
  sandboxes: number;
}

export class PythonLists {
  readonly #results = new Map<string, LoadResult[]>();

  private constructor(private readonly url: string) {}

  static async of(python: PythonSide | null, rows: Rows): Promise<PythonLists | null> {
    if (!python) return null;
    const server = await python.light();
    const ids: string[] = [];
    for (let made = 0; made < rows.sandboxes; made++) {
      const { body } = await server.call<{ id: string }>('POST', '/api/v1/sandboxes');
      ids.push(body.id);
    }
    const database = join(server.directory, 'openhands.db');
    await python.run(SEED, database, String(rows.startTasks), String(rows.conversations), ...ids);
    return new PythonLists(server.url);
  }

  /** A turn of the question that the path asks; a start task that is asked for is the newest of its own. */
  async turn(
    path: string,
    { concurrency, requests }: Pick<LoadOptions, 'concurrency' | 'requests'>,
  ): Promise<void> {
    const bytes = httpRequest('GET', path.replace(/ids=\w+/, `ids=${'a'.repeat(8)}${'0'.repeat(24)}`));
    const result = await load({
      url: this.url,
      concurrency,
      requests: Math.max(concurrency * 2, Math.ceil(requests / FEWER)),
      next: () => bytes,
    });
    this.#results.set(path, [...(this.#results.get(path) ?? []), result]);
  }

  besideRates(path: string, ours: readonly LoadResult[]): Beside {
    const theirs = this.#resultsOf(path);
    const rates = (results: readonly LoadResult[]): number[] => results.map(({ perSecond }) => perSecond);
    return {
      value: `${whole(median(rates(theirs)))} requests/s, p99 ${duration(median(theirs.map(({ p99 }) => p99)))}`,
      ratio: timesBetter({ ours: rates(ours), theirs: rates(theirs), better: 'more' }),
    };
  }

  besideTimes(path: string, ours: readonly LoadResult[]): Beside {
    const theirs = this.#resultsOf(path);
    const middle = (results: readonly LoadResult[]): number[] => results.map(({ p50 }) => p50);
    return {
      value: `p50 ${duration(median(middle(theirs)))}`,
      ratio: timesBetter({ ours: middle(ours), theirs: middle(theirs), better: 'less' }),
    };
  }

  #resultsOf(path: string): LoadResult[] {
    return this.#results.get(path) ?? [];
  }
}
