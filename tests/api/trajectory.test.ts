import { randomBytes } from 'node:crypto';
import { mkdtemp, readdir, readlink, rm, writeFile } from 'node:fs/promises';
import { get, type IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { fromBuffer } from 'yauzl';
import { legacyInsightRoutes, type LegacyInsightDeps } from '../../api/legacy/conversation-insight-routes.js';
import { trajectoryRoutes } from '../../api/trajectory-routes.js';
import { dashedId } from '../../contract/ids.js';
import { ConversationReadModel } from '../../db/conversation-read-model.js';
import { systemDisk, type EventDisk } from '../../events/event-disk.js';
import { createEventStore, type EventStore } from '../../events/event-store.js';
import { openTestStores, type TestStores } from '../support/identity.js';
import { insertConversation, insertSandbox, newId } from '../support/rows.js';
import { startTestServer, type TestServer } from '../support/test-server.js';

const MANY = 2_500;
/** What packing does not make much smaller. */
const LARGE = randomBytes(225_000).toString('base64');
let stores: TestStores;
let api: TestServer;
/** A conversation of ann with so many events. */
let long: string;
let directory: string;
let events: EventStore;
let reads = 0;

/** The machine's disk; that it keeps what it is given through a power cut is not what is tested here. */
const disk: EventDisk = {
  ...systemDisk,
  writeNew: (path, content) => writeFile(path, content, { flag: 'wx' }),
  syncDirectory: () => Promise.resolve(),
  read: (path) => {
    reads++;
    return systemDisk.read(path);
  },
};

beforeAll(async () => {
  [stores, directory] = await Promise.all([openTestStores(), mkdtemp(join(tmpdir(), 'callboard-download-'))]);
  const { database } = stores.connection;
  events = createEventStore({ directory, database, disk });
  const conversations = new ConversationReadModel(database);
  const older = { conversations, events, maxEvents: 0 } as unknown as LegacyInsightDeps; // no sandbox is asked here
  api = await startTestServer(
    [...trajectoryRoutes({ conversations, events, maxEvents: 0 }), ...legacyInsightRoutes(older)],
    { auth: stores.auth },
  );
  long = await conversationWith(MANY);
});
afterAll(async () => {
  await api.close();
  await stores.close();
  await rm(directory, { recursive: true, force: true });
});

/** JSON texts as agents send them: with spaces or without, numbers that a parser would change, large ones. */
function eventText(place: number): { id: string; json: string } {
  const id = `00000000-0000-4000-8000-${String(place).padStart(12, '0')}`;
  const second = String(place % 60).padStart(2, '0');
  const minute = String(Math.floor(place / 60)).padStart(2, '0');
  const text = JSON.stringify(`ünï "${place}" ${place % 50 === 0 ? LARGE : 'small'}`);
  return {
    id,
    json: `{"id":"${id}","kind":"MessageEvent","timestamp":"2026-11-21T10:${minute}:${second}","cost":1.0,"big":12345678901234567890,"text":${text},"none":[]}`,
  };
}

async function conversationWith(count: number, owner = 'ann'): Promise<string> {
  const { database } = stores.connection;
  const id = await insertConversation(database, { createdByUserId: owner, title: 'T', tags: { a: 'b' } });
  for (let from = 0; from < count; from += 500) {
    const batch = Array.from({ length: Math.min(500, count - from) }, (_, index) => eventText(from + index));
    await events.ingest(
      id,
      batch.map(({ json }) => ({ event: JSON.parse(json) as never, json })),
    );
  }
  return id;
}

const download = (id: string, user = 'ann') =>
  api.fetch(`/api/v1/app-conversations/${id}/download`, { headers: { 'x-test-user': user } });

/** Names and contents of an archive, in order. */
async function unzipped(bytes: Buffer): Promise<[string, string][]> {
  const entries: [string, string][] = [];
  await new Promise<void>((resolve, reject) => {
    fromBuffer(bytes, { lazyEntries: true, strictFileNames: true }, (failure, zip) => {
      if (failure) return reject(failure);
      zip.on('entry', (entry: { fileName: string }) => {
        zip.openReadStream(entry as never, (broken, stream) => {
          if (broken) return reject(broken);
          const chunks: Buffer[] = [];
          stream.on('data', (chunk: Buffer) => chunks.push(chunk));
          stream.on('end', () => {
            entries.push([entry.fileName, Buffer.concat(chunks).toString()]);
            zip.readEntry();
          });
        });
      });
      zip.on('end', resolve);
      zip.on('error', reject);
      zip.readEntry();
    });
  });
  return entries;
}

/** Files of this process that are open below the directory of the events. */
async function openEventFiles(): Promise<string[]> {
  const descriptors = await readdir('/proc/self/fd');
  const targets = await Promise.all(
    descriptors.map((name) => readlink(`/proc/self/fd/${name}`).catch(() => '')),
  );
  return targets.filter((target) => target.startsWith(directory));
}

describe('the archive of a conversation', () => {
  it('holds what is stored of it, and thousands of events, byte for byte and in order', async () => {
    const id = long;
    const response = await download(dashedId(id).toUpperCase());
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toBe('application/zip');
    expect(response.headers.get('content-disposition')).toBe(
      `attachment; filename="conversation_${dashedId(id)}.zip"`,
    );
    expect(response.headers.get('transfer-encoding')).toBe('chunked');
    const bytes = Buffer.from(await response.arrayBuffer());
    const [meta, ...entries] = await unzipped(bytes);
    expect(meta?.[0]).toBe('meta.json');
    const stored = JSON.parse(meta?.[1] ?? '') as Record<string, unknown>;
    expect(meta?.[1]).toBe(JSON.stringify(stored, null, 2));
    expect(stored).toMatchObject({ id, title: 'T', tags: { a: 'b' }, created_by_user_id: 'ann' });
    for (const live of ['sandbox_status', 'execution_status', 'conversation_url', 'session_api_key']) {
      expect(stored).not.toHaveProperty(live);
    }
    expect(entries).toHaveLength(MANY);
    for (const [place, [name, content]] of entries.entries()) {
      const { id: eventId, json } = eventText(place);
      expect(name).toBe(`event_${String(place).padStart(6, '0')}_${eventId}.json`);
      // Printed over several lines, and otherwise as it was sent.
      expect(
        content
          .split('\n')
          .map((line) => line.trim())
          .join('')
          .replaceAll('": ', '":'),
      ).toBe(json);
      expect(content.startsWith('{\n  "id": ')).toBe(true);
    }
  });

  it('is there when the sandbox is gone, or has never been', async () => {
    const { database } = stores.connection;
    const sandboxId = await insertSandbox(database, { status: 'MISSING', deletedAt: new Date() });
    const id = await insertConversation(database, { createdByUserId: 'ann', sandboxId });
    const response = await download(id);
    expect(response.status).toBe(200);
    const entries = await unzipped(Buffer.from(await response.arrayBuffer()));
    expect(entries.map(([name]) => name)).toEqual(['meta.json']);
  });

  it('is not given to others, nor of what is not there or deleted', async () => {
    const foreign = await conversationWith(1);
    const deleted = await insertConversation(stores.connection.database, {
      createdByUserId: 'ann',
      deletedAt: new Date(),
    });
    for (const [id, user] of [
      [foreign, 'bob'],
      [deleted, 'ann'],
      [newId(), 'ann'],
    ] as const) {
      const response = await download(id, user);
      expect(response.status).toBe(404);
      expect(await response.json()).toEqual({ detail: `Conversation not found: ${dashedId(id)}` });
    }
    expect((await download('nonsense')).status).toBe(422);
  });

  it('is refused, before its first byte, when it would be too large', async () => {
    const id = await conversationWith(3);
    const conversations = new ConversationReadModel(stores.connection.database);
    const limited = await startTestServer(trajectoryRoutes({ conversations, events, maxEvents: 2 }));
    try {
      const response = await limited.fetch(`/api/v1/app-conversations/${id}/download`);
      expect(response.status).toBe(413);
      expect(await response.json()).toEqual({
        detail: 'Conversation export contains 3 events, exceeding the limit of 2',
      });
    } finally {
      await limited.close();
    }
  });

  it('is made once at a time, leaves nothing behind when its reader goes, and can then be had again', async () => {
    const id = long;
    reads = 0;
    const reader = await new Promise<IncomingMessage>((resolve, reject) => {
      get(
        `${api.url}/api/v1/app-conversations/${id}/download`,
        { headers: { 'x-test-user': 'ann' } },
        resolve,
      ).on('error', reject);
    });
    await new Promise((resolve) => reader.once('readable', resolve));
    expect(reader.read()).not.toBeNull(); // and no more
    const second = await download(id);
    expect(second.status).toBe(409);
    expect(await second.json()).toEqual({ detail: `Conversation export already running: ${dashedId(id)}` });
    // What is not taken is not read either.
    expect(reads).toBeLessThan(MANY);
    reader.destroy();
    await vi.waitFor(async () => {
      const again = await download(id);
      expect(again.status).toBe(200);
      expect(await unzipped(Buffer.from(await again.arrayBuffer()))).toHaveLength(MANY + 1);
    }, 90_000);
    expect(await openEventFiles()).toEqual([]);
    expect(api.log.filter(({ level }) => Number(level) >= 40)).toEqual([]);
  });

  it('is cut off when an event cannot be read, so that nobody takes it for whole', async () => {
    const id = await conversationWith(600);
    const spy = vi.spyOn(disk, 'read').mockRejectedValue(new Error('the cable was pulled'));
    try {
      const response = await download(id);
      expect(response.status).toBe(200);
      await expect(response.arrayBuffer()).rejects.toThrow();
    } finally {
      spy.mockRestore();
    }
    expect((await download(id)).status).toBe(200);
  });
});

describe('older clients', () => {
  const legacy = async (path: string, user = 'ann') =>
    api.fetch(`/api/conversations/${long}${path}`, { headers: { 'x-test-user': user } });
  const page = async (query: string) => {
    const { events: found, has_more } = (await (await legacy(`/events?${query}`)).json()) as {
      events: { id: string }[];
      has_more: boolean;
    };
    return [found.map(({ id }) => Number(id.slice(-12))), has_more];
  };

  it('get all events as one document, as they were sent', async () => {
    const answer = await legacy('/trajectory');
    expect(answer.headers.get('content-type')).toBe('application/json');
    const text = await answer.text();
    expect((JSON.parse(text) as { trajectory: unknown[] }).trajectory).toHaveLength(MANY);
    expect(text.startsWith(`{"trajectory":[${eventText(0).json},${eventText(1).json}`)).toBe(true);
  });

  it.each([
    ['limit=2', [0, 1], true],
    ['start_id=3&limit=2', [3, 4], true],
    ['start_id=3&end_id=4', [3, 4], false],
    [`start_id=${MANY - 1}`, [MANY - 1], false],
    [`start_id=${MANY}`, [], false],
    ['reverse=true&limit=2', [MANY - 1, MANY - 2], true],
    ['reverse=true&end_id=5&start_id=4', [5, 4], false],
  ])('page through the places of the log: %s', async (query, places, more) => {
    expect(await page(query)).toEqual([places, more]);
  });

  it('are refused what is out of bounds or not theirs', async () => {
    for (const limit of ['0', '101']) {
      expect(await (await legacy(`/events?limit=${limit}`)).json()).toEqual({ detail: 'Invalid limit' });
    }
    expect((await legacy('/events?start_id=-1')).status).toBe(422);
    for (const path of ['/events', '/trajectory']) expect((await legacy(path, 'bob')).status).toBe(404);
  });
});
