import { sql } from 'drizzle-orm';
import { mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { AgentEvent } from '../../../contract/event.js';
import { CallbackRepository } from '../../../db/callback-repository.js';
import { ConversationRepository } from '../../../db/conversation-repository.js';
import { createEventStore, type EventStore } from '../../../events/event-store.js';
import { incomingEvent } from '../../../events/incoming-event.js';
import { EventDirectoryEmpty, reindexEvents } from '../../../events/reindex.js';
import type { ReindexFinding } from '../../../events/reindex-findings.js';
import { openTestDatabase } from '../../support/database.js';
import { recordedLog } from '../../support/recorded.js';
import { newId } from '../../support/rows.js';

let connection: Awaited<ReturnType<typeof openTestDatabase>>;
let directory: string;
let store: EventStore;
let conversations: ConversationRepository;
let callbacks: CallbackRepository;

beforeAll(async () => {
  connection = await openTestDatabase();
  directory = await mkdtemp(join(tmpdir(), 'callboard-rebuild-'));
  const { database } = connection;
  store = createEventStore({ directory, database });
  conversations = new ConversationRepository(database);
  callbacks = new CallbackRepository(database);
});
afterAll(async () => {
  await connection.close();
  await rm(directory, { recursive: true, force: true });
});

const newConversation = async () => {
  const id = newId();
  await conversations.stubFor(id, { id: 'sandbox', createdByUserId: null });
  return id;
};
const reindex = async (repair = true, conversationId?: string) => {
  const findings: ReindexFinding[] = [];
  const result = await reindexEvents({
    directory,
    database: connection.database,
    repair,
    conversationId,
    onFinding: (finding) => findings.push(finding),
  });
  return { ...result, findings };
};
const search = (conversationId: string) =>
  store.search({ conversationId, users: null }, { sortOrder: 'TIMESTAMP', limit: 100 });

it('a lost index is made anew from the files, and is the same as before', async () => {
  const id = await newConversation();
  const odd: AgentEvent[] = [
    { id: '../odd id', kind: 'Odd/Kind' },
    { id: 'UPPER', kind: 'MessageEvent', timestamp: 'never' },
  ];
  await store.ingest(id, [...(recordedLog('1.34.0') as AgentEvent[]), ...odd].map(incomingEvent));
  const before = await search(id);
  await connection.database.execute(sql`delete from event_index`);
  expect((await reindex(false)).found).toMatchObject({ added: before.items.length, missing: 0 });
  expect((await search(id)).items).toEqual([]);
  expect(await reindex()).toMatchObject({
    found: { added: before.items.length, missing: 0, torn: 0, foreign: 0 },
  });
  const after = await search(id);
  // Events of the same microsecond may change places: the order of their arrival was in the database alone.
  expect([...after.items].sort()).toEqual([...before.items].sort());
  expect(await reindex()).toMatchObject({
    sound: before.items.length,
    found: { added: 0, missing: 0 },
    findings: [],
    toWake: [],
  });
});

/** A conversation with two events, and the directory of its files. */
async function twoEvents() {
  const id = await newConversation();
  const events: AgentEvent[] = [1, 2].map((n) => ({
    id: `e${n}`,
    kind: 'ActionEvent',
    timestamp: `2026-01-0${n}`,
  }));
  await store.ingest(id, events.map(incomingEvent));
  const path = join(directory, 'v1', 'events', id);
  const [first = '', second = ''] = (await readdir(path)).sort();
  return { id, path, first, second, events };
}
const quarantined = (id: string) => readdir(join(directory, 'v1', 'quarantine', id)).catch(() => []);

it('an entry without a file goes, and the event is to be fetched again', async () => {
  const { id, path, first } = await twoEvents();
  await rm(join(path, first));
  expect((await reindex(false)).findings).toEqual([{ kind: 'missing', conversationId: id, name: first }]);
  expect(await store.count({ conversationId: id, users: null })).toBe(2);
  expect(await reindex()).toMatchObject({ found: { missing: 1 }, toFetch: [id] });
  expect(await store.count({ conversationId: id, users: null })).toBe(1);
  expect(await store.missing(id, ['e1', 'e2'])).toEqual(['e1']);
  expect((await reindex()).findings).toEqual([]);
});

it.each([
  ['empty', ''],
  ['cut off', '{"id":"e1","kind":"Acti'],
  ['of zeros', '\0\0\0\0'],
  ['another event', '{"id":"e7","kind":"ActionEvent"}'],
] as const)(
  'an indexed file that is %s is set aside, and the event is to be fetched again',
  async (_, text) => {
    const { id, path, first } = await twoEvents();
    await writeFile(join(path, first), text);
    expect(await reindex(true, id)).toMatchObject({ found: { torn: 1 }, toFetch: [id] });
    expect(await store.missing(id, ['e1', 'e2'])).toEqual(['e1']);
    expect(await readdir(path)).not.toContain(first);
    const [aside = ''] = await quarantined(id);
    expect(await readFile(join(directory, 'v1', 'quarantine', id, aside), 'utf8')).toBe(text);
  },
);

it('what a crash leaves without an entry is removed, set aside or indexed; foreign files stay and are named', async () => {
  const { id, path, first, second } = await twoEvents();
  const old = new Date(Date.now() - 3_600_000);
  await writeFile(join(path, '.11111111-1111-1111-1111-111111111111.tmp'), '{"half":');
  await utimes(join(path, '.11111111-1111-1111-1111-111111111111.tmp'), old, old);
  await writeFile(join(path, '.22222222-2222-2222-2222-222222222222.tmp'), '{"being written":');
  await writeFile(join(path, '20260101T000000000000_K_empty'), '');
  await writeFile(join(path, '20260101T000000000001_K_broken'), '{"id":');
  await writeFile(join(path, '20260101T000000000002_ActionEvent_e1'), await readFile(join(path, first)));
  await writeFile(
    join(path, '20260101T000000000003_ActionEvent_e2'),
    '{"id":"e2","kind":"ActionEvent","n":1}',
  );
  await writeFile(join(path, '20260101T000000000004_ActionEvent_e3'), '{"id":"e3","kind":"ActionEvent"}');
  await writeFile(join(path, '#4711'), '{"id":"e4","kind":"ActionEvent","timestamp":"2026-01-04"}');
  await writeFile(join(path, 'notes.txt'), 'mine');
  const counts = { temporary: 1, torn: 2, duplicate: 2, added: 1, renamed: 1, foreign: 1, missing: 0 };
  expect((await reindex(false, id)).found).toMatchObject(counts);
  expect(await readdir(path)).toHaveLength(11);
  expect((await reindex(true, id)).found).toMatchObject(counts);
  expect((await readdir(path)).sort()).toEqual(
    [
      '.22222222-2222-2222-2222-222222222222.tmp',
      first,
      second,
      '20260101T000000000004_ActionEvent_e3',
      '20260104T000000000000_ActionEvent_e4',
      'notes.txt',
    ].sort(),
  );
  expect(await quarantined(id)).toHaveLength(2); // the half file, and the second e2, which says something else
  expect(await store.count({ conversationId: id, users: null })).toBe(4);
  expect((await reindex(true, id)).findings).toMatchObject([{ kind: 'foreign', name: 'notes.txt' }]);
});

it('a second file takes the place of one that is lost', async () => {
  const { id, path, first } = await twoEvents();
  const twin = '20260101T000000000009_ActionEvent_e1';
  await writeFile(join(path, twin), await readFile(join(path, first)));
  await writeFile(join(path, first), '');
  expect((await reindex(true, id)).found).toMatchObject({ torn: 1, added: 1 });
  expect(await store.missing(id, ['e1', 'e2'])).toEqual([]);
  expect((await search(id)).items).toHaveLength(2);
});

it('files of a deleted conversation are removed', async () => {
  const { id, path } = await twoEvents();
  await conversations.markDeleted(id);
  expect((await reindex(false, id)).found.leftover).toBe(1);
  expect((await reindex(true, id)).found.leftover).toBe(1);
  await expect(readdir(path)).rejects.toThrow('ENOENT');
  const { rows } = await connection.database.execute(
    sql`select 1 from event_index where conversation_id = ${id}`,
  );
  expect(rows).toEqual([]);
});

it('an index is not emptied because the directory of all events is not there', async () => {
  await twoEvents();
  const elsewhere = await mkdtemp(join(tmpdir(), 'callboard-unmounted-'));
  await expect(
    reindexEvents({ directory: elsewhere, database: connection.database, repair: true }),
  ).rejects.toBeInstanceOf(EventDirectoryEmpty);
  await rm(elsewhere, { recursive: true });
});

it('goes on after the conversation where an earlier run was interrupted', async () => {
  await Promise.all([twoEvents(), twoEvents(), twoEvents()]);
  await connection.database.execute(sql`delete from event_index`);
  const stop = new AbortController();
  let last = '';
  const options = { directory, database: connection.database, repair: true };
  const interrupted = reindexEvents({
    ...options,
    signal: stop.signal,
    onConversation(conversationId, { conversations: done }) {
      last = conversationId;
      if (done === 2) stop.abort(new Error('enough'));
    },
  });
  await expect(interrupted).rejects.toThrow('enough');
  const rest = await reindexEvents({ ...options, after: last });
  expect(rest.found.added).toBeGreaterThan(0);
  expect((await reindex(false)).found).toMatchObject({ added: 0, missing: 0 });
});

it('while events come in, every one of them stays and is stored once', async () => {
  const id = await newConversation();
  const event = (n: number): AgentEvent => ({ id: `live-${n}`, kind: 'ActionEvent' });
  let done = false;
  const writing = (async () => {
    for (let n = 0; n < 60; n++) await store.ingest(id, [event(n), event(n + 1)].map(incomingEvent));
    done = true;
  })();
  let runs = 0;
  for (; !done; runs++) expect((await reindex(true, id)).found).toMatchObject({ missing: 0, torn: 0 });
  await writing;
  expect(runs).toBeGreaterThan(1);
  expect(await store.count({ conversationId: id, users: null })).toBe(61);
  expect((await reindex(true, id)).found).toMatchObject({ missing: 0, torn: 0 });
  expect((await search(id)).items).toHaveLength(61);
});

it('callbacks run for what they have no result for, and not again for the rest', async () => {
  const id = await newConversation();
  await callbacks.register(id, [{ kind: 'LoggingCallbackProcessor' }]);
  const message = (name: string): AgentEvent => ({ id: name, kind: 'MessageEvent' });
  await store.ingest(id, [incomingEvent(message('done'))]);
  for (const queued of await callbacks.takeNext(id)) {
    await callbacks.finish(queued, { result: { status: 'SUCCESS', detail: null } });
  }
  await store.ingest(id, [incomingEvent(message('waiting'))]);
  await connection.database.execute(sql`delete from event_index where conversation_id = ${id}`);
  await connection.database.execute(sql`delete from callback_queue where conversation_id = ${id}`);
  expect((await reindex(true, id)).toWake).toEqual([id]);
  const next = await callbacks.takeNext(id);
  expect(new Set(next.map(({ eventId }) => eventId))).toEqual(new Set(['waiting']));
  expect(await callbacks.remaining(id)).toBe(2);
});

it('numbers of events that are wrong are counted anew', async () => {
  const id = await newConversation();
  await store.ingest(id, [
    incomingEvent({ id: 'one', kind: 'MessageEvent', timestamp: '2026-11-21T00:00:00' }),
    incomingEvent({ id: 'two', kind: 'ActionEvent', timestamp: '2026-11-21T00:00:01' }),
  ]);
  const count = (kind?: string) => store.count({ conversationId: id, users: null, kind });
  const { database } = connection;
  expect((await reindex(false, id)).found.miscounted).toBe(0);
  await database.execute(
    sql`update event_counts set total = 5 where conversation_id = ${id} and kind = 'MessageEvent'`,
  );
  await database.execute(
    sql`delete from event_counts where conversation_id = ${id} and kind = 'ActionEvent'`,
  );
  await database.execute(sql`insert into event_counts values (${id}, 'NoEvent', 1)`);
  expect((await reindex(false, id)).found.miscounted).toBe(1);
  expect(await count()).toBe(6);
  expect((await reindex(true, id)).found.miscounted).toBe(1);
  expect([await count(), await count('MessageEvent'), await count('ActionEvent')]).toEqual([2, 1, 1]);
  expect((await reindex(true, id)).found.miscounted).toBe(0);
});
