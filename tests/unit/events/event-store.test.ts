import { sql } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/node-postgres';
import fc from 'fast-check';
import { randomBytes, randomUUID } from 'node:crypto';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { AgentEvent, EventSortOrder } from '../../../contract/event.js';
import { CallbackRepository } from '../../../db/callback-repository.js';
import { ConversationRepository } from '../../../db/conversation-repository.js';
import * as schema from '../../../db/schema/index.js';
import { systemDisk } from '../../../events/event-disk.js';
import type { EventQuery } from '../../../events/event-index.js';
import { createEventStore, type EventStore } from '../../../events/event-store.js';
import { incomingEvent } from '../../../events/incoming-event.js';
import { openTestDatabase } from '../../support/database.js';
import { recordedEvents, recordedLog } from '../../support/recorded.js';

let connection: Awaited<ReturnType<typeof openTestDatabase>>;
let conversations: ConversationRepository;
let directory: string;
let store: EventStore;
const missingFiles: string[] = [];

beforeAll(async () => {
  connection = await openTestDatabase();
  conversations = new ConversationRepository(connection.database);
  directory = await mkdtemp(join(tmpdir(), 'callboard-events-'));
  store = createEventStore({
    directory,
    database: connection.database,
    onDamage: ({ fileName }) => missingFiles.push(fileName),
  });
});
afterAll(async () => {
  await connection.close();
  await rm(directory, { recursive: true, force: true });
});

const newConversation = async (owner: string | null = 'ada'): Promise<string> => {
  const id = randomBytes(16).toString('hex');
  await conversations.stubFor(id, { id: 'sandbox', createdByUserId: owner });
  return id;
};

const event = (change: Partial<AgentEvent> = {}): AgentEvent => ({
  id: randomUUID(),
  kind: 'MessageEvent',
  timestamp: '2026-11-21T23:30:25.891445',
  ...change,
});

const all = (conversationId: string | null, change: Partial<EventQuery> = {}): EventQuery => ({
  conversationId,
  users: ['ada'],
  ...change,
});

const page = { sortOrder: 'TIMESTAMP', limit: 100 } as const;
const ingest = (conversationId: string, events: readonly AgentEvent[]) =>
  store.ingest(conversationId, events.map(incomingEvent));
const filesOf = (conversationId: string) => readdir(join(directory, 'v1', 'events', conversationId));

/** Ids of all events, page by page. */
async function walk(query: EventQuery, sortOrder: EventSortOrder, limit: number): Promise<string[]> {
  const ids: string[] = [];
  let pageId: string | null = null;
  do {
    const found = await store.search(query, { sortOrder, limit, pageId });
    expect(found.items.length).toBeLessThanOrEqual(limit);
    ids.push(...found.items.map((json) => (JSON.parse(json) as AgentEvent).id));
    pageId = found.next_page_id;
  } while (pageId !== null);
  return ids;
}

describe('stored events', () => {
  it.each(['1.34.0', '1.58.2'] as const)(
    'of a recorded %s log come back equal in content',
    async (version) => {
      const conversation = await newConversation();
      const log = [...recordedLog(version), ...recordedEvents('llm-error')] as AgentEvent[];
      await ingest(conversation, log);
      const found = await store.search(all(conversation), page);
      const byTime = (a: AgentEvent, b: AgentEvent) => String(a.timestamp).localeCompare(String(b.timestamp));
      expect(found.items.map((json): unknown => JSON.parse(json))).toEqual([...log].sort(byTime));
      expect(await store.count(all(conversation))).toBe(log.length);
    },
  );

  it('keep the exact text: big numbers, order of members, 1.0', async () => {
    const conversation = await newConversation();
    const json =
      '{"id":"big","kind":"Unheard","n":12345678901234567890,"f":1.0,"2":1,"1":2,"timestamp":"2026-01-01"}';
    await store.ingest(conversation, [{ event: JSON.parse(json) as AgentEvent, json }]);
    expect(await store.batch(conversation, null, ['big'])).toEqual([json]);
    const [name] = await filesOf(conversation);
    expect(name).toBe('20260101T000000000000_Unheard_big');
    expect(await readFile(join(directory, 'v1', 'events', conversation, String(name)), 'utf8')).toBe(json);
  });

  it('are stored once however often they come, one after another or all at once', async () => {
    const conversation = await newConversation();
    const batch = Array.from({ length: 5 }, () => event());
    const results = await Promise.all(Array.from({ length: 8 }, () => ingest(conversation, batch)));
    expect(results.flatMap(({ stored }) => stored.map(({ id }) => id)).sort()).toEqual(
      batch.map(({ id }) => id).sort(),
    );
    expect((await ingest(conversation, [...batch, ...batch])).stored).toEqual([]);
    expect(await filesOf(conversation)).toHaveLength(5);
    expect(await store.count(all(conversation))).toBe(5);
  });

  it('without a time that can be read get the time of their arrival, once', async () => {
    const conversation = await newConversation();
    const timeless = event({ timestamp: 'sometime' });
    const before = new Date().toISOString();
    const results = await Promise.all([1, 2, 3, 4].map(() => ingest(conversation, [timeless])));
    expect(results.flatMap(({ stored }) => stored)).toHaveLength(1);
    expect(await filesOf(conversation)).toHaveLength(1);
    expect(await store.count(all(conversation, { timestampGte: `${before.slice(0, 23)}000Z` }))).toBe(1);
  });

  it('leave no path out of their directory', async () => {
    const conversation = await newConversation();
    await ingest(conversation, [event({ id: '../../../escaped', kind: '../..' })]);
    expect(await readdir(directory)).toEqual(['v1']);
    expect(await filesOf(conversation)).toHaveLength(1);
  });

  it('are not kept when the agent-server does not keep them either', async () => {
    const conversation = await newConversation();
    const { stored } = await ingest(conversation, [
      event({ kind: 'StreamingDeltaEvent' }),
      event({ kind: 'ConversationStateUpdateEvent', key: 'full_state' }),
      event({ kind: 'ConversationStateUpdateEvent', key: 'stats' }),
    ]);
    expect(stored).toHaveLength(1);
    expect(await store.count(all(conversation))).toBe(1);
  });

  it('are not visible at all when the disk refuses one of them, and can be sent again', async () => {
    const conversation = await newConversation();
    const batch = [event(), event()];
    const path = join(directory, 'v1', 'events', conversation);
    await writeFile(path, 'a file where the directory should be');
    await expect(ingest(conversation, batch)).rejects.toThrow();
    expect(await store.count(all(conversation))).toBe(0);
    await rm(path);
    expect((await ingest(conversation, batch)).stored).toHaveLength(2);
  });

  it('whose file was written but not indexed are invisible and harmless', async () => {
    const conversation = await newConversation();
    const path = join(directory, 'v1', 'events', conversation);
    await mkdir(path, { recursive: true });
    await writeFile(join(path, '20261121T233025891445_MessageEvent_lost'), '{}');
    await ingest(conversation, [event()]);
    expect((await store.search(all(conversation), page)).items).toHaveLength(1);
  });

  it('with a lost file are left out and reported', async () => {
    const conversation = await newConversation();
    const [kept, lost] = [event(), event()];
    await ingest(conversation, [kept, lost]);
    const name = (await filesOf(conversation)).find((file) => file.endsWith(lost.id));
    await rm(join(directory, 'v1', 'events', conversation, String(name)));
    expect(await store.batch(conversation, null, [kept.id, lost.id])).toEqual([JSON.stringify(kept), null]);
    await store.repaired();
    expect(missingFiles).toContain(name);
  });
});

describe('callbacks', () => {
  it('are queued once per new event of their kind, in order (D15)', async () => {
    const conversation = await newConversation();
    const callbacks = new CallbackRepository(connection.database);
    const [first, second] = [event(), event()];
    const other = event({ kind: 'ActionEvent' });
    expect((await ingest(conversation, [first, other, second])).callbacksQueued).toBe(true);
    expect((await ingest(conversation, [first, second])).callbacksQueued).toBe(false);
    expect((await ingest(conversation, [event({ kind: 'ActionEvent' })])).callbacksQueued).toBe(false);
    expect(await callbacks.remaining(conversation)).toBe(2);
    expect(await callbacks.conversationsWithQueuedCallbacks()).toContain(conversation);
    const [head] = await callbacks.takeNext(conversation);
    expect(head?.eventId).toBe(first.id);
  });

  it('registered after their events have come get these too', async () => {
    const conversation = await newConversation();
    const callbacks = new CallbackRepository(connection.database);
    const messages = [event(), event()];
    await ingest(conversation, messages);
    await callbacks.register(conversation, [{ kind: 'LoggingCallbackProcessor' }]);
    await callbacks.register(conversation, [{ kind: 'LoggingCallbackProcessor' }]);
    expect(await callbacks.remaining(conversation)).toBe(4); // two processors, two messages
    const head = await callbacks.takeNext(conversation);
    expect(head.map(({ eventId }) => eventId)).toEqual([messages[0]?.id, messages[0]?.id]);
  });
});

describe('searching', () => {
  it('returns every event exactly once over all pages, in both directions (D21)', async () => {
    const conversation = await newConversation();
    // Many share a microsecond: only the order of arrival tells them apart.
    const events = Array.from({ length: 23 }, (_, n) => event({ timestamp: `2026-01-01T00:00:0${n % 3}.5` }));
    for (let at = 0; at < events.length; at += 4) await ingest(conversation, events.slice(at, at + 4));
    const expected = [0, 1, 2].flatMap((third) =>
      events.filter((_, n) => n % 3 === third).map(({ id }) => id),
    );
    for (const limit of [1, 2, 5, 23, 100]) {
      expect(await walk(all(conversation), 'TIMESTAMP', limit)).toEqual(expected);
      expect(await walk(all(conversation), 'TIMESTAMP_DESC', limit)).toEqual([...expected].reverse());
    }
  });

  it('compares times, not texts (D32)', async () => {
    const conversation = await newConversation();
    await ingest(conversation, [
      event({ id: 'a', timestamp: '2026-01-01T12:00:00' }),
      event({ id: 'b', timestamp: '2026-01-01T12:00:00.000001' }),
      event({ id: 'c', timestamp: '2026-01-01T14:00:00.5+02:00' }),
      event({ id: 'd', timestamp: '2026-01-01T12:00:01Z' }),
    ]);
    const between = (timestampGte: string, timestampLt: string) =>
      walk(all(conversation, { timestampGte, timestampLt }), 'TIMESTAMP', 10);
    expect(await between('2026-01-01T12:00:00.000000Z', '2026-01-01T12:00:01.000000Z')).toEqual([
      'a',
      'b',
      'c',
    ]);
    expect(await between('2026-01-01T12:00:00.000001Z', '2026-01-01T12:00:00.500000Z')).toEqual(['b']);
  });

  it.each([
    '100',
    'nonsense',
    '%%%',
    Buffer.from('["2026-99-01T00:00:00.000000Z",1]').toString('base64url'),
    '',
  ])('begins at the first page when the cursor is %j', async (pageId) => {
    const conversation = await newConversation();
    const one = event();
    await ingest(conversation, [one]);
    const found = await store.search(all(conversation), { ...page, pageId });
    expect(found).toEqual({ items: [JSON.stringify(one)], next_page_id: null });
  });

  it('finds as many events as it counts, whatever the filters', async () => {
    const mine = [await newConversation('eve'), await newConversation('eve')];
    const kinds = ['MessageEvent', 'ActionEvent', 'Unheard'];
    const time = (n: number) => `2026-02-01T00:00:${String(n).padStart(2, '0')}.000000Z`;
    for (const conversation of mine) {
      await ingest(
        conversation,
        Array.from({ length: 30 }, (_, n) => event({ kind: kinds[n % 3], timestamp: time((n * 7) % 30) })),
      );
    }
    const filters = fc.record({
      conversationId: fc.constantFrom(null, ...mine, 'f'.repeat(32)),
      kind: fc.option(fc.constantFrom(...kinds), { nil: undefined }),
      timestampGte: fc.option(fc.nat(35).map(time), { nil: undefined }),
      timestampLt: fc.option(fc.nat(35).map(time), { nil: undefined }),
      users: fc.constantFrom(['eve'], ['nobody'], ['nobody', 'eve']),
    });
    await fc.assert(
      fc.asyncProperty(
        filters,
        fc.constantFrom<EventSortOrder>('TIMESTAMP', 'TIMESTAMP_DESC'),
        fc.integer({ min: 1, max: 70 }),
        async (query, sortOrder, limit) => {
          const ids = await walk(query, sortOrder, limit);
          expect(new Set(ids).size).toBe(ids.length);
          expect(ids.length).toBe(await store.count(query));
        },
      ),
      { numRuns: 60 },
    );
  });

  it('counts without looking at events, unless a time is asked for', async () => {
    const conversation = await newConversation('counter');
    const queries = [
      all(conversation, { users: ['counter'] }),
      all(conversation, { users: ['counter'], kind: 'ActionEvent' }),
      all(null, { users: ['counter'], kind: 'ActionEvent' }),
    ];
    const counts = () => Promise.all(queries.map((query) => store.count(query)));
    const events = Array.from({ length: 12 }, (_, n) =>
      event({ kind: n % 3 === 0 ? 'ActionEvent' : 'MessageEvent' }),
    );
    await Promise.all([ingest(conversation, events.slice(0, 8)), ingest(conversation, events.slice(4))]);
    expect(await counts()).toEqual([12, 4, 4]);
    const remove = sql`delete from event_index where conversation_id = ${conversation} and event_id`;
    await connection.database.execute(sql`${remove} = ${events[0]!.id}`);
    expect(await counts()).toEqual([11, 3, 3]);
    await connection.database
      .transaction(async (tx) => {
        await tx.execute(sql`${remove} <> ''`);
        throw new Error('rolled back');
      })
      .catch((error: unknown) => expect(String(error)).toContain('rolled back'));
    expect(await counts()).toEqual([11, 3, 3]);
    // What is asked is the kept number, also where it is wrong (`reindex` mends it); a time asks the index.
    await connection.database.execute(
      sql`update event_counts set total = total + 100 where conversation_id = ${conversation}`,
    );
    expect(await counts()).toEqual([211, 103, 103]);
    expect(await store.count({ ...queries[0]!, timestampGte: '2000-01-01T00:00:00.000000Z' })).toBe(11);
    await connection.database.execute(sql`${remove} <> ''`);
    expect(await counts()).toEqual([200, 100, 100]);
  });

  it('across conversations is in order of time, with and without an owner', async () => {
    const owner = randomUUID();
    const [one, two] = [await newConversation(owner), await newConversation(owner)];
    const events = Array.from({ length: 12 }, (_, n) =>
      event({ timestamp: `2026-03-01T00:00:${String(n + 10)}` }),
    );
    await ingest(
      one,
      events.filter((_, n) => n % 2 === 0),
    );
    await ingest(
      two,
      events.filter((_, n) => n % 2 === 1),
    );
    const ids = events.map(({ id }) => id);
    expect(await walk(all(null, { users: [owner] }), 'TIMESTAMP', 5)).toEqual(ids);
    expect(await walk(all(null, { users: [owner] }), 'TIMESTAMP_DESC', 5)).toEqual([...ids].reverse());
    const window = {
      timestampGte: '2026-03-01T00:00:00.000000Z',
      timestampLt: '2026-03-02T00:00:00.000000Z',
    };
    expect(await walk(all(null, { users: null, ...window }), 'TIMESTAMP', 5)).toEqual(ids);
    expect(await store.count(all(null, { users: null, ...window }))).toBe(12);
  });
});

describe('what a caller may see', () => {
  it('is only what belongs to their own conversations', async () => {
    const conversation = await newConversation('ada');
    const secret = event();
    await ingest(conversation, [secret]);
    for (const id of [conversation, null]) {
      const query = all(id, { users: ['mallory'] });
      expect((await store.search(query, page)).items).toEqual([]);
      expect(await store.count(query)).toBe(0);
      expect(await store.batch(id, ['mallory'], [secret.id])).toEqual([null]);
    }
    expect(await store.batch(null, ['ada'], [secret.id])).toEqual([JSON.stringify(secret)]);
    expect(await store.batch(null, null, [secret.id])).toEqual([JSON.stringify(secret)]);
  });

  it('is aligned with the ids asked for, in any spelling', async () => {
    const conversation = await newConversation();
    const [a, b] = [event(), event({ id: 'plain' })];
    await ingest(conversation, [a, b]);
    const hex = a.id.replaceAll('-', '').toUpperCase();
    const texts = await store.batch(conversation, ['ada'], ['plain', 'none', a.id, hex, 'plain']);
    expect(texts.map((text) => (text === null ? null : (JSON.parse(text) as AgentEvent).id))).toEqual([
      'plain',
      null,
      a.id,
      a.id,
      'plain',
    ]);
  });

  it('is nothing of a deleted conversation, and nothing is stored for it any more (D19)', async () => {
    const conversation = await newConversation();
    const kept = event();
    await ingest(conversation, [kept]);
    await conversations.markDeleted(conversation);
    expect(await store.count(all(conversation))).toBe(0);
    expect((await ingest(conversation, [event()])).stored).toEqual([]);
    expect(await store.batch(null, null, [kept.id])).toEqual([null]);
    for (let i = 0; i < 2; i++) await store.deleteConversation(conversation);
    await expect(filesOf(conversation)).rejects.toThrow('ENOENT');
    const { rows } = await connection.database.execute(
      sql`select 1 from event_index where conversation_id = ${conversation}`,
    );
    expect(rows).toEqual([]);
  });

  it.each([
    ['answered when the conversation is being deleted', true],
    ['refused when it is not', false],
  ])('whose directory vanishes while they come in is %s', async (_what, isDeleted) => {
    const conversation = await newConversation();
    if (isDeleted) await conversations.markDeleted(conversation);
    const beside = createEventStore({
      directory,
      database: connection.database,
      disk: {
        ...systemDisk,
        syncDirectory: async (path) => {
          if (path.endsWith(conversation)) await systemDisk.removeTree(path);
          await systemDisk.syncDirectory(path);
        },
      },
    });
    const ingested = beside.ingest(conversation, [incomingEvent(event())]);
    if (isDeleted) expect((await ingested).stored).toEqual([]);
    else await expect(ingested).rejects.toThrow('ENOENT');
  });
});

describe('a disk that does not answer for one conversation', () => {
  it('does not hold up those that are committed beside it', async () => {
    const of = async (lane: number): Promise<string> => {
      for (;;) {
        const id = await newConversation();
        if (parseInt(id.slice(-1), 16) % 2 === lane) return id;
      }
    };
    const [hanging, free] = await Promise.all([of(0), of(1)]);
    let answer: () => void = () => undefined;
    const answered = new Promise<void>((resolve) => (answer = resolve));
    let asked: () => void = () => undefined;
    const isAsked = new Promise<void>((resolve) => (asked = resolve));
    const beside = createEventStore({
      directory,
      database: connection.database,
      disk: {
        ...systemDisk,
        syncDirectory: async (path) => {
          if (path.endsWith(hanging)) {
            asked();
            await answered;
          }
          await systemDisk.syncDirectory(path);
        },
      },
    });
    const late = beside.ingest(hanging, [incomingEvent(event())]);
    await isAsked;
    expect((await beside.ingest(free, [incomingEvent(event())])).stored).toHaveLength(1);
    answer();
    expect((await late).stored).toHaveLength(1);
  });
});

describe('with fifty thousand events', () => {
  it('search, filtered count and batch use indexes only (D35)', async () => {
    const many = await newConversation('scale');
    await connection.database.execute(sql`
      insert into event_index (conversation_id, event_id, kind, timestamp, file_name)
      select case when n % 10 = 0 then ${many} else md5((n % 400)::text) end, 'scale-' || n,
        (array['MessageEvent', 'ActionEvent', 'ObservationEvent'])[n % 3 + 1],
        '2026-01-01'::timestamptz + n * interval '1 second', 'x'
      from generate_series(1, 50000) n`);
    await connection.database.execute(sql`
      insert into conversations (id, created_by_user_id, sandbox_id, created_at, updated_at)
      select md5(n::text), 'others', 'sandbox', now(), now() from generate_series(0, 399) n`);
    await connection.database.execute(sql`vacuum analyze event_index`);
    await connection.database.execute(sql`analyze event_counts`);
    await connection.database.execute(sql`analyze conversations`);
    const asked: { query: string; params: unknown[] }[] = [];
    const logged = drizzle(connection.pool, {
      schema,
      logger: { logQuery: (query, params) => void asked.push({ query, params }) },
    });
    const explainedStore = createEventStore({ directory, database: logged });
    const queries: EventQuery[] = [
      all(many, { users: ['scale'] }),
      all(many, { users: null, kind: 'ActionEvent' }),
      all(many, {
        users: ['scale'],
        timestampGte: '2026-01-01T01:00:00.000000Z',
        timestampLt: '2026-01-01T03:00:00.000000Z',
      }),
      all(null, { users: ['scale'] }),
      all(null, { users: null }),
    ];
    for (const query of queries) {
      for (const sortOrder of ['TIMESTAMP', 'TIMESTAMP_DESC'] as const) {
        const first = await explainedStore.search(query, { sortOrder, limit: 100 });
        expect(first.next_page_id).not.toBeNull();
        await explainedStore.search(query, { sortOrder, limit: 100, pageId: first.next_page_id });
      }
      if (query.conversationId !== null) await explainedStore.count(query);
    }
    await explainedStore.batch(many, ['scale'], ['scale-2', 'scale-40000']);
    await explainedStore.batch(null, ['scale'], ['scale-2', 'scale-40000']);
    const plans: string[] = [];
    const client = await connection.pool.connect();
    for (const { query, params } of asked) {
      // Settings and transactions around a statement count: all are repeated in the same order.
      const statement = /^\s*select/.test(query) ? `explain analyze ${query}` : query;
      const explained = await client.query<Record<'QUERY PLAN', string>>(statement, params);
      plans.push([query, ...explained.rows.map((row) => row['QUERY PLAN'])].join('\n'));
    }
    client.release(true);
    expect(plans.length).toBeGreaterThan(20);
    for (const plan of plans) {
      expect(plan).not.toMatch(/Seq Scan on event_(index|counts)/);
      if (!plan.includes('count(*)')) {
        const touched = [...plan.matchAll(/event_index.*actual .*rows=([\d.]+)/g)].map((match) =>
          Number(match[1]),
        );
        expect(Math.max(...touched), plan).toBeLessThanOrEqual(101);
      }
    }
  });
});

it('a directory that cannot be written to is an error, not a loss', async () => {
  const readOnly = await mkdtemp(join(tmpdir(), 'callboard-read-only-'));
  await writeFile(join(readOnly, 'v1'), 'in the way');
  await chmod(readOnly, 0o500);
  const broken = createEventStore({ directory: readOnly, database: connection.database });
  const conversation = await newConversation();
  await expect(broken.ingest(conversation, [incomingEvent(event())])).rejects.toThrow();
  expect(await store.count(all(conversation))).toBe(0);
  await chmod(readOnly, 0o700);
  await rm(readOnly, { recursive: true });
});
