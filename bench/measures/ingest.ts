/**
 * How many events a second are taken in durably, beside what the same disk takes as bare files, in turns.
 *
 * Batches of ten events of 1.5 kB, eight at a time, each to a conversation of its own. Bare files are written under a
 * temporary name, synced and renamed, and their directory is synced per batch: what any store of files has to do. They lie
 * beside the events, on the same file system, and stay until the end: nobody is measured while the disk cleans up after
 * the one before.
 */
import { randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, open, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { hexId } from '../../contract/ids.js';
import { httpRequest, load } from '../load.js';
import { range, whole, type Measure } from '../measure.js';
import { processorSeconds } from '../processes.js';
import { PythonIngest } from '../python-server/events.js';
import { median } from '../statistics.js';

const BATCHES = 300;
const BATCH = 10;
const CONCURRENCY = 8;
const BAR = { perSecond: 1_600, ofFiles: 0.6 };

let clock = 0;
const event = () => ({
  id: randomUUID(),
  kind: 'ObservationEvent',
  source: 'environment',
  timestamp: new Date(1_760_000_000_000 + clock++).toISOString(),
  observation: { kind: 'TerminalObservation', content: [{ type: 'text', text: 'x'.repeat(1_300) }] },
});
const batch = () => Array.from({ length: BATCH }, event);

/** @param within a directory of the file system on which the events are, removed by its owner */
async function bareFiles(within: string): Promise<number> {
  const root = await mkdtemp(join(within, 'bare-'));
  const lanes = Array.from({ length: CONCURRENCY }, (_, lane) => join(root, String(lane)));
  for (const lane of lanes) await mkdir(lane);
  let left = BATCHES;
  const began = performance.now();
  await Promise.all(
    lanes.map(async (lane) => {
      while (left-- > 0) await bareBatch(lane);
    }),
  );
  return (BATCHES * BATCH * 1_000) / (performance.now() - began);
}

async function bareBatch(directory: string): Promise<void> {
  await Promise.all(
    batch().map(async (one) => {
      const temporary = join(directory, `.${one.id}`);
      const file = await open(temporary, 'wx', 0o600);
      await file.writeFile(JSON.stringify(one));
      await file.sync();
      await file.close();
      await rename(temporary, join(directory, one.id));
    }),
  );
  const handle = await open(directory, 'r');
  await handle.sync();
  await handle.close();
}

async function webhooks(url: string, key: string): Promise<number> {
  const paths = Array.from({ length: CONCURRENCY }, () => `/api/v1/webhooks/events/${hexId(randomUUID())}`);
  const result = await load({
    url,
    concurrency: CONCURRENCY,
    requests: BATCHES,
    next: (lane) =>
      httpRequest('POST', paths[lane] ?? '', {
        headers: { 'X-Session-API-Key': key },
        body: JSON.stringify(batch()),
      }),
  });
  return result.perSecond * BATCH;
}

export const ingest: Measure = {
  name: 'ingest',
  title: 'taking in events',
  async run({ light, runs, python }) {
    const product = await light();
    const { body } = await product.call<{ id: string }>('POST', '/api/v1/sandboxes');
    let key: string | null = null;
    while (key === null) {
      const found = await product.call<({ session_api_key: string | null } | null)[]>(
        'GET',
        `/api/v1/sandboxes?id=${body.id}`,
      );
      key = found.body[0]?.session_api_key ?? null;
    }
    const theirs = await PythonIngest.of(python);
    const files: number[] = [];
    const taken: number[] = [];
    const processor: number[] = [];
    for (let run = 0; run <= runs; run++) {
      const bare = await bareFiles(product.directory);
      const before = processorSeconds(product.api.child.pid);
      const rate = await webhooks(product.url, key);
      if (run === 0) continue; // compiles, makes tables and directories
      files.push(bare);
      taken.push(rate);
      processor.push(((processorSeconds(product.api.child.pid) - before) * 1_000) / BATCHES);
      await theirs?.turn({ batch: BATCH, concurrency: CONCURRENCY });
    }
    await product.call('DELETE', `/api/v1/sandboxes/${body.id}`);
    await theirs?.end();
    const share = median(taken.map((rate, run) => rate / (files[run] ?? Number.NaN)));
    return [
      {
        measure: `event ingest over HTTP, batches of ${BATCH}, concurrency ${CONCURRENCY}, durable`,
        value: `${whole(median(taken))} events/s, ${Math.round(share * 100)} % of bare files`,
        detail: `${range(taken, whole)}; bare files ${whole(median(files))}; API ${median(processor).toFixed(1)} ms of processor time a batch`,
        bar: `≥ ${whole(BAR.perSecond)} events/s or ≥ ${BAR.ofFiles * 100} % of bare files`,
        met: median(taken) >= BAR.perSecond || share >= BAR.ofFiles,
        python: '190–210 events/s',
        beside: theirs?.beside(taken),
      },
    ];
  },
};
