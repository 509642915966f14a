/** Starts of the Python server, each in turn with one of ours. */
import { setTimeout as sleep } from 'node:timers/promises';
import { readFileSync } from 'node:fs';
import { timesBetter, type Beside } from '../beside.js';
import { duration, range } from '../measure.js';
import { median, percentile } from '../statistics.js';
import { startOnce } from '../timed-start.js';
import { childrenOf, type PythonServer } from './server.js';
import type { PythonSide } from './side.js';

/** How often the process of a sandbox is looked for, and whether it answers, in milliseconds. */
const LOOK_MS = 5;
const PROBE_MS = 25;
/** Starts that may fail before the measure does. */
const ATTEMPTS = 3;

/** With agent-servers that cost nothing. */
export class PythonLightStarts {
  readonly #singles: number[] = [];
  readonly #rates: number[] = [];
  readonly #p95s: number[] = [];
  readonly #failed: number[] = [];

  private constructor(private readonly server: PythonServer) {}

  static async of(python: PythonSide | null): Promise<PythonLightStarts | null> {
    if (!python) return null;
    const server = await python.light();
    await startOnce(server, {}); // loads what it loads with the first one
    return new PythonLightStarts(server);
  }

  async single(): Promise<void> {
    this.#singles.push((await startOnce(this.server, {})).took);
  }

  /** As many starts at once as will be measured, none of which counts. */
  async warmUp(count: number): Promise<void> {
    await Promise.allSettled(Array.from({ length: count }, () => startOnce(this.server, {})));
  }

  async together(count: number): Promise<void> {
    const began = performance.now();
    const starts = await Promise.allSettled(Array.from({ length: count }, () => startOnce(this.server, {})));
    const took = starts.flatMap((start) => (start.status === 'fulfilled' ? [start.value.took] : []));
    this.#rates.push((took.length * 1_000) / (performance.now() - began));
    this.#p95s.push(percentile(took, 0.95));
    this.#failed.push(count - took.length);
  }

  clean(): Promise<void> {
    return this.server.deleteSandboxes();
  }

  besideSingles(ours: readonly number[]): Beside {
    return {
      value: `${duration(median(this.#singles))} (${range(this.#singles, duration)})`,
      ratio: timesBetter({ ours, theirs: this.#singles, better: 'less' }),
    };
  }

  besideTogether(ours: readonly number[]): Beside {
    const rate = (value: number): string => value.toFixed(1);
    return {
      value: `SQLite: ${rate(median(this.#rates))} starts/s (${range(this.#rates, rate)}), p95 ${duration(median(this.#p95s))}, ${range(this.#failed, String)} of them failed`,
      ratio: timesBetter({ ours, theirs: this.#rates, better: 'more' }),
    };
  }
}

/** With its own agent-server, started as it starts it. */
export class PythonRealStarts {
  readonly #starts: number[] = [];
  readonly #boots: number[] = [];

  private constructor(private readonly server: PythonServer) {}

  /** @param llm base URL of the model */
  static async of(python: PythonSide | null, llm: string): Promise<PythonRealStarts | null> {
    if (!python) return null;
    const starts = new PythonRealStarts(
      await python.start({ llm: { model: 'openai/scripted', baseUrl: llm } }),
    );
    try {
      await starts.once(); // byte code and file cache
    } catch (error) {
      await starts.stop();
      throw error;
    }
    return starts;
  }

  /** A start in a new sandbox, which is the only one: it has no warm ones. */
  async turn(): Promise<void> {
    const { start, boot } = await this.once();
    this.#starts.push(start);
    this.#boots.push(boot);
  }

  private async once(): Promise<{ start: number; boot: number }> {
    for (let attempt = 1; ; attempt++) {
      const given = new AbortController();
      const booting = bootOfNext(this.server, given.signal);
      try {
        const { took: start } = await startOnce(this.server);
        return { start, boot: await booting };
      } catch (error) {
        // It gives a sandbox half a minute for its boot, which on a busy machine may not do.
        given.abort();
        await booting;
        if (attempt === ATTEMPTS) throw error;
      } finally {
        await this.server.deleteSandboxes();
      }
    }
  }

  besideStarts(ours: readonly number[]): Beside {
    return {
      value: `${duration(median(this.#starts))} (${range(this.#starts, duration)}), always cold`,
      ratio: timesBetter({ ours, theirs: this.#starts, better: 'less' }),
    };
  }

  /** What the server adds to the boot within a start. */
  besideOver(ours: readonly number[]): Beside {
    const over = this.#starts.map((start, run) => start - (this.#boots[run] ?? Number.NaN));
    return {
      value: `${duration(median(over))} (${range(over, duration)}); the start ${duration(median(this.#starts))}, boot within it ${duration(median(this.#boots))}`,
      ratio: timesBetter({ ours, theirs: over, better: 'less' }),
    };
  }

  stop(): Promise<void> {
    return this.server.stop();
  }
}

/**
 * The boot of the sandbox that is started next, exec → `/alive`, in milliseconds, as its process shows it.
 * @param given ends the waiting; the boot is no number then
 */
async function bootOfNext(server: PythonServer, given: AbortSignal): Promise<number> {
  const before = new Set(childrenOf(server.pid));
  let port: string | undefined;
  while (port === undefined) {
    if (given.aborted) return Number.NaN;
    await sleep(LOOK_MS);
    const added = childrenOf(server.pid).filter((child) => !before.has(child));
    port = added.map(portOf).find((found) => found !== undefined);
  }
  const began = performance.now();
  while (!(await alive(`http://127.0.0.1:${port}/alive`))) {
    if (given.aborted) return Number.NaN;
    await sleep(PROBE_MS);
  }
  return performance.now() - began;
}

/** The port on a sandbox's command line; before its exec a process still has that of the server. */
function portOf(pid: number): string | undefined {
  try {
    return /--port\0(\d+)/.exec(readFileSync(`/proc/${pid}/cmdline`, 'utf8'))?.[1];
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined; // it has ended
    throw error;
  }
}

async function alive(url: string): Promise<boolean> {
  try {
    return (await fetch(url)).ok;
  } catch (error) {
    if (error instanceof TypeError) return false; // nobody listens yet
    throw error;
  }
}
