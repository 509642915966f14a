/** Memory and boot of the Python server. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { timesBetter, type Beside } from '../beside.js';
import { duration, range } from '../measure.js';
import { residentMegabytes } from '../processes.js';
import { median } from '../statistics.js';
import type { PythonSide } from './side.js';

export class PythonLean {
  readonly #directory = mkdtempSync(join(tmpdir(), 'callboard-python-'));
  readonly #boots: number[] = [];
  #memory = Number.NaN;

  private constructor(private readonly python: PythonSide) {}

  /** @param settleMs how long it is left alone before its memory is looked at */
  static async of(python: PythonSide | null, settleMs: number): Promise<PythonLean | null> {
    if (!python) return null;
    const lean = new PythonLean(python);
    // The first boot makes the database: it is not counted.
    const server = await python.start({ directory: lean.#directory });
    await sleep(settleMs);
    lean.#memory = residentMegabytes(server.pid);
    await server.stop();
    return lean;
  }

  async boot(): Promise<void> {
    const server = await this.python.start({ directory: this.#directory });
    this.#boots.push(server.bootMs);
    await server.stop();
  }

  besideMemory(ours: number): Beside {
    return {
      value: `${Math.round(this.#memory)} MB, no worker`,
      ratio: timesBetter({ ours: [ours], theirs: [this.#memory], better: 'less' }),
    };
  }

  besideBoots(ours: readonly number[]): Beside {
    return {
      value: `${duration(median(this.#boots))} (${range(this.#boots, duration)})`,
      ratio: timesBetter({ ours, theirs: this.#boots, better: 'less' }),
    };
  }

  close(): void {
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
