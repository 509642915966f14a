/** Memory of idle processes, and how long they take until they serve. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { createTestDatabase } from '../../tests/support/database.js';
import { required } from '../../tests/support/environment.js';
import { freePort } from '../../tests/support/loopback.js';
import { ProductProcess, startProduct } from '../../tests/support/product.js';
import { duration, range, type Measure } from '../measure.js';
import { residentMegabytes } from '../processes.js';
import { PythonLean } from '../python-server/lean.js';
import { median } from '../statistics.js';

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
/** How long processes are left alone before their memory is looked at, in milliseconds. */
const SETTLE_MS = 10_000;
const BOOT_LIMIT_MS = 120_000;

/** Asks until the address answers 200; milliseconds since `began`. */
async function firstAnswer(url: string, began: number): Promise<number> {
  while (performance.now() - began < BOOT_LIMIT_MS) {
    try {
      const response = await fetch(url);
      await response.arrayBuffer();
      if (response.status === 200) return performance.now() - began;
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // nobody listens yet
    }
    await sleep(5);
  }
  throw new Error(`${url} did not answer in time`);
}

/** exec → first 200 of `/ready`: database and Temporal are there and migrated. */
async function bootOfApi(): Promise<number> {
  const directory = mkdtempSync(join(tmpdir(), 'callboard-boot-'));
  const [database, port] = await Promise.all([createTestDatabase(), freePort()]);
  const began = performance.now();
  const api = new ProductProcess('api', {
    OH_PERSISTENCE_DIR: directory,
    DATABASE_URL: database.url,
    TEMPORAL_ADDRESS: required('TEST_TEMPORAL_ADDRESS'),
    PORT: String(port),
    LOG_JSON: '1',
  });
  try {
    return await firstAnswer(`http://127.0.0.1:${port}/api/v1/sandboxes/search`, began);
  } finally {
    await api.end('SIGTERM');
    await database.drop();
    rmSync(directory, { recursive: true, force: true });
  }
}

/** exec → first 200 of `up` with everything embedded, in a data directory that it has used before. */
async function bootOfUp(directory: string): Promise<number> {
  const port = await freePort();
  const { DATABASE_URL: _database, TEMPORAL_ADDRESS: _temporal, ...env } = process.env;
  const began = performance.now();
  const up = spawn(process.execPath, [MAIN, 'up'], {
    env: { ...env, OH_PERSISTENCE_DIR: directory, PORT: String(port), TEMPORAL_UI_PORT: '0' },
    stdio: 'ignore',
  });
  try {
    return await firstAnswer(`http://127.0.0.1:${port}/ready`, began);
  } finally {
    const ended = once(up, 'exit');
    up.kill('SIGTERM');
    await ended;
  }
}

async function repeated(runs: number, measureOnce: () => Promise<number>): Promise<number[]> {
  const times: number[] = [];
  for (let run = 0; run < runs; run++) times.push(await measureOnce());
  return times;
}

export const lean: Measure = {
  name: 'lean',
  title: 'memory and boot',
  async run({ runs, python }) {
    const product = await startProduct();
    await sleep(SETTLE_MS);
    const api = residentMegabytes(product.api.child.pid);
    const worker = residentMegabytes(product.worker.child.pid);
    await product.stop();

    await bootOfApi(); // file cache
    const theirs = await PythonLean.of(python, SETTLE_MS);
    const apiBoots = await repeated(runs, async () => {
      const took = await bootOfApi();
      await theirs?.boot();
      return took;
    });
    theirs?.close();
    const directory = mkdtempSync(join(tmpdir(), 'callboard-boot-'));
    const firstUp = await bootOfUp(directory);
    const upBoots = await repeated(runs, () => bootOfUp(directory));
    rmSync(directory, { recursive: true, force: true });
    return [
      {
        measure: 'memory idle: api + worker',
        value: `${Math.round(api + worker)} MB`,
        detail: `api ${Math.round(api)} MB, worker ${Math.round(worker)} MB`,
        bar: '≤ 350 MB together',
        met: api + worker <= 350,
        python: '356 MB, no worker',
        beside: theirs?.besideMemory(api + worker),
      },
      {
        measure: '`api`: boot to the first 200',
        value: duration(median(apiBoots)),
        detail: range(apiBoots, duration),
        bar: '≤ 1.5 s',
        met: median(apiBoots) <= 1_500,
        python: '6.1 s',
        beside: theirs?.besideBoots(apiBoots),
      },
      {
        measure: '`up` with everything embedded: boot to ready',
        value: duration(median(upBoots)),
        detail: `${range(upBoots, duration)}; in an empty directory ${duration(firstUp)}`,
        bar: '≤ 5 s',
        met: median(upBoots) <= 5_000,
        python: '',
      },
    ];
  },
};
