/**
 * `node --import tsx bench/ingest.ts [rounds]`: how many events a second are taken in durably, beside what the same
 * disk takes as bare files, measured in turns in one run.
 *
 * Batches of ten events of 1.5 kB, eight at a time, each to a conversation of its own. Bare files are written under a
 * temporary name, synced and renamed, and their directory is synced per batch: what any store of files has to do.
 */
import { randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, open, rename, rm } from 'node:fs/promises';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { incomingEvent } from '../events/incoming-event.js';
import { startEventApi, type EventApi, type TestSandbox } from '../tests/support/event-api.js';
import setUpEngines from '../tests/support/global-setup.js';
import { newId } from '../tests/support/rows.js';
import { median, table } from './statistics.js';

const ROUNDS = Number(process.argv[2] ?? 5);
const BATCHES = 200;
const BATCH = 10;
const CONCURRENCY = 8;

let clock = 0;
const event = () => ({
  id: randomUUID(),
  kind: 'ObservationEvent',
  source: 'environment',
  timestamp: new Date(1_760_000_000_000 + clock++).toISOString(),
  observation: { kind: 'TerminalObservation', content: [{ type: 'text', text: 'x'.repeat(1_300) }] },
});
const batch = () => Array.from({ length: BATCH }, event);

/** Events per second of `BATCHES` batches, `CONCURRENCY` at a time. */
async function rate(batchesOf: (lane: number) => Promise<() => Promise<unknown>>): Promise<number> {
  const lanes = await Promise.all(Array.from({ length: CONCURRENCY }, (_, lane) => batchesOf(lane)));
  let left = BATCHES;
  const began = performance.now();
  await Promise.all(
    lanes.map(async (store) => {
      while (left-- > 0) await store();
    }),
  );
  return (BATCHES * BATCH * 1_000) / (performance.now() - began);
}

async function bareFiles(): Promise<number> {
  const root = await mkdtemp(join(tmpdir(), 'callboard-bare-'));
  const result = await rate(async (lane) => {
    const directory = join(root, String(lane));
    await mkdir(directory);
    return () => bareBatch(directory);
  });
  await rm(root, { recursive: true, force: true });
  return result;
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

/** The store alone, with files, index and callback queue. */
const store = (api: EventApi, sandbox: TestSandbox) =>
  rate(async () => {
    const id = newId();
    await api.conversations.stubFor(id, { id: sandbox.id, createdByUserId: sandbox.owner });
    return () => api.events.ingest(id, batch().map(incomingEvent));
  });

/** The same through HTTP, the client's own work included: both are in this process. */
const webhooks = (api: EventApi, sandbox: TestSandbox) =>
  rate(async () => {
    const path = `/api/v1/webhooks/events/${newId()}`;
    return async () => {
      const { status, text } = await api.post(path, sandbox.key, batch());
      if (status !== 200) throw new Error(`${status}: ${text}`);
    };
  });

const stopEngines = await setUpEngines();
const api = await startEventApi();
const sandbox = await api.newSandbox();
try {
  const rates: Record<'files' | 'store' | 'webhooks', number[]> = { files: [], store: [], webhooks: [] };
  for (let round = 0; round <= ROUNDS; round++) {
    const measured = {
      files: await bareFiles(),
      store: await store(api, sandbox),
      webhooks: await webhooks(api, sandbox),
    };
    if (round === 0) continue; // compiles, and makes tables and directories
    for (const name of ['files', 'store', 'webhooks'] as const) rates[name].push(measured[name]);
  }
  const files = median(rates.files);
  const row = (title: string, values: number[]) => [
    title,
    Math.round(median(values)).toString(),
    `${Math.round(Math.min(...values))}–${Math.round(Math.max(...values))}`,
    `${Math.round((median(values) / files) * 100)} %`,
  ];
  process.stdout.write(
    `Events a second, durable; batches of ${BATCH}, concurrency ${CONCURRENCY}, ${ROUNDS} rounds, load ${loadavg()[0]?.toFixed(2)}\n` +
      `${table([
        ['', 'median', 'range', 'of bare files'],
        row('bare files, synced', rates.files),
        row('event store', rates.store),
        row('webhook over HTTP', rates.webhooks),
      ])}\n`,
  );
} finally {
  await api.close();
  await stopEngines();
}
