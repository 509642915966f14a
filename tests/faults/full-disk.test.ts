/** Webhooks while the disk of the events is full, and after there is room again. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemDisk, type EventDisk } from '../../events/event-disk.js';
import { reindexEvents } from '../../events/reindex.js';
import { startEventApi, type EventApi, type TestSandbox } from '../support/event-api.js';
import { newId } from '../support/rows.js';
import { openSmallDisk, type SmallDisk } from '../support/small-disk.js';

let small: SmallDisk;
let api: EventApi;
let sandbox: TestSandbox;
/** What the next operation of a kind answers with. */
const failing = new Map<keyof EventDisk, string>();

/** An error of the system, from the operation that the test has named. */
const refusing = (disk: EventDisk): EventDisk => {
  const checked = <Result>(operation: keyof EventDisk, work: () => Promise<Result>): Promise<Result> => {
    const code = failing.get(operation);
    if (code === undefined) return work();
    return Promise.reject(Object.assign(new Error(code), { code, syscall: operation }));
  };
  return {
    ...disk,
    makeDirectory: (path) => checked('makeDirectory', () => disk.makeDirectory(path)),
    writeNew: (path, content) => checked('writeNew', () => disk.writeNew(path, content)),
    rename: (from, to) => checked('rename', () => disk.rename(from, to)),
    syncDirectory: (path) => checked('syncDirectory', () => disk.syncDirectory(path)),
  };
};

beforeAll(async () => {
  small = await openSmallDisk();
  api = await startEventApi({ directory: small.directory, disk: refusing(small.disk) });
  sandbox = await api.newSandbox();
});
afterAll(async () => {
  await api.close();
  await small.close();
});

const batchOf = (count: number, size: number) =>
  Array.from({ length: count }, (_, n) => ({
    id: newId(),
    kind: 'ObservationEvent',
    timestamp: `2026-01-01T00:00:${String(n).padStart(2, '0')}`,
    text: 'x'.repeat(size),
  }));
const post = (id: string, batch: unknown) => api.post(`/api/v1/webhooks/events/${id}`, sandbox.key, batch);
const count = (id: string) => api.events.count({ conversationId: id, users: null });
const filesOf = (id: string) => readdir(join(small.directory, 'v1', 'events', id)).catch(() => []);

describe('when the disk is full', () => {
  it.each([
    ['for the last of its events', 50_000],
    ['for any of them', 0],
  ])(
    'a batch that has no room %s is answered 503 and leaves nothing; sent again it is complete',
    async (_, room) => {
      const id = newId();
      await post(id, batchOf(1, 10));
      const batch = batchOf(5, 20_000);
      await small.fill(room);
      expect(await post(id, batch)).toMatchObject({
        status: 503,
        body: { detail: expect.stringContaining('disk of the server is full') as string },
      });
      expect(await count(id)).toBe(1);
      expect(await filesOf(id)).toHaveLength(1);
      expect(api.lost).toContain(id);
      await small.free();
      expect((await post(id, batch)).status).toBe(200);
      expect(await count(id)).toBe(6);
      expect(await filesOf(id)).toHaveLength(6);
    },
  );

  it('events are still read', async () => {
    const id = newId();
    const batch = batchOf(3, 100);
    await post(id, batch);
    await small.fill(0);
    expect((await api.get(`/api/v1/conversation/${id}/events/search`)).body).toMatchObject({ items: batch });
    await small.free();
  });
});

describe.each(['makeDirectory', 'writeNew', 'rename', 'syncDirectory'] as const)(
  'when %s fails',
  (operation) => {
    it.each(['ENOSPC', 'EDQUOT', 'EIO', 'EROFS'])(
      'with %s, nothing is visible, and a repetition is complete',
      async (code) => {
        const id = newId();
        const batch = batchOf(4, 100);
        failing.set(operation, code);
        try {
          expect((await post(id, batch)).status).toBe(503);
        } finally {
          failing.clear();
        }
        expect(await count(id)).toBe(0);
        // Where a name was given already its file is whole; nothing under a temporary name is left.
        for (const name of await filesOf(id)) expect(name).not.toMatch(/^\./);
        expect((await post(id, batch)).status).toBe(200);
        expect(await count(id)).toBe(4);
        expect(await filesOf(id)).toHaveLength(4);
        const { found } = await reindexEvents({
          directory: small.directory,
          disk: systemDisk,
          database: api.database,
          repair: false,
          conversationId: id,
        });
        expect(found).toMatchObject({ added: 0, torn: 0, duplicate: 0, missing: 0 });
      },
    );
  },
);
