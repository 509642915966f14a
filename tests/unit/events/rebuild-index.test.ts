import { sql } from 'drizzle-orm';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { AgentEvent } from '../../../contract/event.js';
import { CallbackRepository } from '../../../db/callback-repository.js';
import { ConversationRepository } from '../../../db/conversation-repository.js';
import { createEventStore, type EventStore } from '../../../events/event-store.js';
import { incomingEvent } from '../../../events/incoming-event.js';
import { rebuildEventIndex } from '../../../events/rebuild-index.js';
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
const rebuild = () => rebuildEventIndex({ directory, database: connection.database });
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
  expect(await rebuild()).toMatchObject({ added: before.items.length, removed: 0, unreadable: [] });
  const after = await search(id);
  // Events of the same microsecond may change places: the order of their arrival was in the database alone.
  expect([...after.items].sort()).toEqual([...before.items].sort());
  expect(await rebuild()).toMatchObject({ added: 0, removed: 0 });
});

it('entries without a file go, foreign files stay and are named, deleted conversations are left out', async () => {
  const [id, deleted] = [await newConversation(), await newConversation()];
  const events: AgentEvent[] = [1, 2].map((n) => ({
    id: `e${n}`,
    kind: 'ActionEvent',
    timestamp: `2026-01-0${n}`,
  }));
  await store.ingest(id, events.map(incomingEvent));
  await store.ingest(deleted, events.map(incomingEvent));
  await conversations.markDeleted(deleted);
  await connection.database.execute(sql`delete from event_index where conversation_id = ${deleted}`);
  const path = join(directory, 'v1', 'events', id);
  const [first] = await readdir(path);
  await rm(join(path, String(first)));
  await writeFile(join(path, 'notes.txt'), 'mine');
  await writeFile(join(path, '20260101T000000000000_K_broken'), '{"id":');
  expect(await rebuild()).toMatchObject({
    added: 0,
    removed: 1,
    unreadable: ['20260101T000000000000_K_broken', 'notes.txt'],
  });
  expect(await readdir(path)).toContain('notes.txt');
  expect((await search(id)).items).toHaveLength(1);
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
  await rebuild();
  const next = await callbacks.takeNext(id);
  expect(new Set(next.map(({ eventId }) => eventId))).toEqual(new Set(['waiting']));
  expect(await callbacks.remaining(id)).toBe(2);
});
