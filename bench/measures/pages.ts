/**
 * Pages of events and counts in a conversation of a thousand events and in one of a million. The index has every event;
 * of the million files only those that are read are files of their own, the others are names of a few.
 */
import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { linkSync } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';
import { hexId } from '../../contract/ids.js';
import { eventFileName } from '../../events/event-file-name.js';
import { parseEventTimestamp } from '../../events/event-timestamp.js';
import type { Product } from '../../tests/support/product.js';
import { httpRequest, load } from '../load.js';
import { duration, range, type Measure, type Result } from '../measure.js';
import { PythonPages } from '../python-server/events.js';
import { median } from '../statistics.js';

const SMALL = 1_000;
const LARGE = 1_000_000;
const PAGE = 100;
/** Every how manieth event is a message; the others are observations. */
const MESSAGE_EVERY = 10;
/** Names that one file may have on common file systems, with room to spare. */
const NAMES_PER_FILE = 30_000;
const REQUESTS_PER_RUN = 40;
/** Runs of all pages in turn before any is measured. */
const WARM_UP_RUNS = 3;
const FIRST_TIME = Date.UTC(2026, 0, 1);

const kindOf = (place: number): string => (place % MESSAGE_EVERY === 0 ? 'MessageEvent' : 'ObservationEvent');
const timeOf = (place: number): Date => new Date(FIRST_TIME + place * 100);
const idOf = (place: number): string => `00000000-0000-4000-8000-${place.toString().padStart(12, '0')}`;

function fileNameOf(place: number): string {
  const timestamp = parseEventTimestamp(timeOf(place).toISOString());
  if (timestamp === null) throw new Error('no time');
  return eventFileName({ id: idOf(place), kind: kindOf(place), timestamp });
}

const eventOf = (place: number): string =>
  JSON.stringify({
    id: idOf(place),
    kind: kindOf(place),
    source: 'agent',
    timestamp: timeOf(place).toISOString(),
    text: 'x'.repeat(1_300),
  });

/** Places of the events that the measured requests read. */
function* readPlaces(events: number): Generator<number> {
  for (let place = 0; place < PAGE; place++) yield place;
  for (let place = 0; place < PAGE * MESSAGE_EVERY; place += MESSAGE_EVERY) yield place;
  for (let place = events - PAGE; place < events; place++) yield place;
  const deep = Math.floor(events * 0.9);
  for (let place = deep; place < deep + PAGE; place++) yield place;
}

async function seed(product: Product, events: number): Promise<string> {
  const id = hexId(randomUUID());
  const client = new pg.Client({ connectionString: product.databaseUrl });
  await client.connect();
  try {
    await client.query(
      `insert into conversations (id, sandbox_id, title, created_at, updated_at) values ($1, 'none', 'Large', now(), now())`,
      [id],
    );
    await client.query(
      `insert into event_index (conversation_id, event_id, kind, timestamp, file_name)
       select $1, event_id, kind, at,
         to_char(at at time zone 'UTC', 'YYYYMMDD"T"HH24MISSUS') || '_' || kind || '_' || event_id
       from (
         select '00000000-0000-4000-8000-' || lpad(place::text, 12, '0') as event_id,
           case when place % $3::int = 0 then 'MessageEvent' else 'ObservationEvent' end as kind,
           to_timestamp($4::float8 / 1000) + place * interval '100 milliseconds' as at
         from generate_series(0, $2::int - 1) as place) events`,
      [id, events, MESSAGE_EVERY, FIRST_TIME],
    );
    await client.query('vacuum analyze event_index'); // as the server does by itself, some time later
  } finally {
    await client.end();
  }
  const directory = join(product.directory, 'v1', 'events', id);
  await mkdir(directory, { recursive: true });
  const real = new Set(readPlaces(events));
  for (const place of real) await writeFile(join(directory, fileNameOf(place)), eventOf(place));
  let original = '';
  for (let place = 0, names = 0; place < events; place++) {
    if (real.has(place)) continue;
    const path = join(directory, fileNameOf(place));
    if (names++ % NAMES_PER_FILE === 0) {
      await writeFile(path, eventOf(place));
      original = path;
    } else {
      linkSync(original, path); // a million of them: waiting for each would take minutes
    }
  }
  return id;
}

interface Page {
  items: { id: string }[];
  next_page_id: string | null;
}

/** The cursor of a place, in the form in which the server makes them; the places of a seed are its ordinals. */
async function cursorBehind(product: Product, id: string, place: number): Promise<string> {
  const client = new pg.Client({ connectionString: product.databaseUrl });
  await client.connect();
  try {
    const { rows } = await client.query<{ at: string; ordinal: string }>(
      `select to_char(timestamp at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as at, ordinal
       from event_index where conversation_id = $1 and event_id = $2`,
      [id, idOf(place)],
    );
    const [row] = rows;
    return Buffer.from(JSON.stringify([row?.at, Number(row?.ordinal)])).toString('base64url');
  } finally {
    await client.end();
  }
}

/** The median of the requests of a run, in milliseconds; the answer is looked at once, beside them. */
async function timed(product: Product, path: string, check: (body: unknown) => boolean): Promise<number> {
  const { status, body } = await product.call('GET', path);
  if (status !== 200 || !check(body)) throw new Error(`${path} answered ${status}, or not what it should`);
  const request = httpRequest('GET', path);
  const result = await load({
    url: product.url,
    concurrency: 1,
    requests: REQUESTS_PER_RUN,
    next: () => request,
  });
  return result.p50;
}

export const pages: Measure = {
  name: 'pages',
  title: 'pages and counts of events',
  async run({ light, runs, note, python }) {
    const product = await light();
    const small = await seed(product, SMALL);
    note(`making a conversation of ${LARGE.toLocaleString('en-US')} events`);
    const large = await seed(product, LARGE);
    const theirs = await PythonPages.of(python, MESSAGE_EVERY);
    execFileSync('sync'); // a million names that are still being written would be measured with the first pages
    const questions = [
      { title: 'first', query: () => `limit=${PAGE}` },
      {
        title: 'deep',
        query: async (id: string, events: number) =>
          `limit=${PAGE}&page_id=${await cursorBehind(product, id, Math.floor(events * 0.9) - 1)}`,
      },
      { title: 'newest', query: () => `limit=${PAGE}&sort_order=TIMESTAMP_DESC` },
      { title: 'filtered by kind', query: () => `limit=${PAGE}&kind__eq=MessageEvent` },
    ];
    const asked: { title: string; paths: Record<'small' | 'large', string> }[] = [];
    for (const { title, query } of questions) {
      asked.push({
        title,
        paths: {
          small: `/api/v1/conversation/${small}/events/search?${await query(small, SMALL)}`,
          large: `/api/v1/conversation/${large}/events/search?${await query(large, LARGE)}`,
        },
      });
    }
    const page = (path: string): Promise<number> =>
      timed(product, path, (body) => (body as Page).items.length === PAGE);
    // The first some hundred pages of a process take up to twice as long as later ones, until their code is compiled: all
    // kinds of pages are asked in turn beforehand, or the kind that is measured first would show that, and not what it is.
    for (let run = 0; run < WARM_UP_RUNS; run++) {
      for (const { paths } of asked) for (const path of Object.values(paths)) await page(path);
    }
    const results: Result[] = [];
    for (const { title, paths } of asked) {
      const times: Record<'small' | 'large', number[]> = { small: [], large: [] };
      for (let run = 0; run <= runs; run++) {
        for (const size of ['small', 'large'] as const) {
          const time = await page(paths[size]);
          if (run > 0) times[size].push(time);
        }
        if (run > 0) await theirs?.page(title, paths.small.split('?')[1] ?? '');
      }
      const ratio = median(times.large.map((time, run) => time / (times.small[run] ?? Number.NaN)));
      results.push({
        measure: `event page of ${PAGE}, ${title}: p50 at 1k / at 1M events`,
        value: `${duration(median(times.small))} / ${duration(median(times.large))}, ratio ${ratio.toFixed(2)}`,
        detail: range(times.large, duration),
        bar: '≤ 10 ms, ratio ≤ 1.5',
        met: median(times.large) <= 10 && median(times.small) <= 10 && ratio <= 1.5,
        python: '0.3 s at 1k, 17 s at 50k',
        beside: theirs?.beside(title, times.small),
      });
    }
    const counts: number[] = [];
    for (let run = 0; run <= runs; run++) {
      const path = `/api/v1/conversation/${large}/events/count?kind__eq=MessageEvent`;
      const time = await timed(product, path, (body) => body === LARGE / MESSAGE_EVERY);
      if (run === 0) continue;
      counts.push(time);
      await theirs?.count('kind__eq=MessageEvent');
    }
    await theirs?.countLarge('kind__eq=MessageEvent');
    results.push({
      measure: `count with a filter: ${(LARGE / MESSAGE_EVERY).toLocaleString('en-US')} of 1M events, p50`,
      value: duration(median(counts)),
      detail: range(counts, duration),
      bar: '≤ 10 ms',
      met: median(counts) <= 10,
      python: '1.3 s at 1k, 108 s at 10k',
      beside: theirs?.beside('count', counts),
    });
    await rm(join(product.directory, 'v1', 'events', large), { recursive: true, force: true });
    return results;
  },
};
