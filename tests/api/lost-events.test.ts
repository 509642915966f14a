import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { createLostEvents, type LostEventsDeps } from '../../api/lost-events.js';
import { LostEventReadModel } from '../../db/lost-event-read-model.js';
import { openTestDatabase } from '../support/database.js';
import { insertConversation, insertSandbox } from '../support/rows.js';

let connection: Awaited<ReturnType<typeof openTestDatabase>>;
let conversations: LostEventReadModel;
beforeAll(async () => {
  connection = await openTestDatabase();
  conversations = new LostEventReadModel(connection.database);
});
afterAll(() => connection.close());

function start(change: Partial<LostEventsDeps> = {}) {
  const compared: string[] = [];
  const lost = createLostEvents({
    reconcile: (id) => Promise.resolve(void compared.push(id)),
    conversations,
    logger: { info: () => undefined, warn: () => undefined },
    settleMs: 50,
    paceMs: 1,
    retryMs: { first: 5, longest: 20 },
    ...change,
  });
  onTestFinished(() => lost.close());
  return { lost, compared };
}

describe('a conversation whose webhook failed', () => {
  it('is compared once, when its sender has had the time to try again', async () => {
    const id = await insertConversation(connection.database);
    const { lost, compared } = start();
    for (let times = 0; times < 3; times++) lost.failed(id);
    lost.failed('f'.repeat(32)); // no conversation of ours
    expect(compared).toEqual([]);
    await vi.waitFor(() => expect(compared).toEqual([id]), 90_000);
  });

  it('is looked for again when another webhook fails while the database is being asked', async () => {
    const id = await insertConversation(connection.database);
    let answer: () => void = () => undefined;
    let questions = 0;
    const { lost, compared } = start({
      conversations: {
        async present(ids) {
          if (questions++ === 0) await new Promise<void>((resolve) => (answer = resolve));
          return conversations.present(ids);
        },
        inRunningSandboxes: (limit) => conversations.inRunningSandboxes(limit),
      },
    });
    lost.failed(id);
    await vi.waitFor(() => expect(questions).toBe(1), 90_000);
    lost.failed(id);
    answer();
    await vi.waitFor(() => expect(questions).toBe(2), 90_000);
    await vi.waitFor(() => expect(compared).toContain(id), 90_000);
  });

  it('stays noted while the database is away', async () => {
    const id = await insertConversation(connection.database);
    let failures = 3;
    const { lost, compared } = start({
      conversations: {
        present: (ids) => (failures-- > 0 ? Promise.reject(new Error('away')) : conversations.present(ids)),
        inRunningSandboxes: (limit) => conversations.inRunningSandboxes(limit),
      },
    });
    lost.failed(id);
    await vi.waitFor(() => expect(compared).toEqual([id]), 90_000);
    expect(failures).toBeLessThan(0);
  });

  it('stays noted while Temporal is away', async () => {
    const id = await insertConversation(connection.database);
    let failures = 3;
    const reached: string[] = [];
    const { lost } = start({
      reconcile: (reconciled) =>
        failures-- > 0 ? Promise.reject(new Error('away')) : Promise.resolve(void reached.push(reconciled)),
    });
    lost.compare(id);
    await vi.waitFor(() => expect(reached).toEqual([id]), 90_000);
  });
});

describe('after a time in which nobody listened', () => {
  it('every conversation whose sandbox runs is compared, the last active first, and no other', async () => {
    const database = connection.database;
    const box = (change: Parameters<typeof insertSandbox>[1]) => insertSandbox(database, change);
    const [old, young, paused, deleted] = await Promise.all([
      box({ lastActiveAt: new Date('2026-01-01') }),
      box({ lastActiveAt: new Date('2026-01-02') }),
      box({ status: 'PAUSED' }),
      box({ deletedAt: new Date() }),
    ]);
    const inBox = (sandboxId: string, deletedAt: Date | null = null) =>
      insertConversation(database, { sandboxId, deletedAt });
    const [first, second] = [await inBox(young), await inBox(old)];
    await Promise.all([inBox(paused), inBox(deleted), inBox(young, new Date())]);
    let failures = 2;
    const { lost, compared } = start({
      conversations: {
        present: (ids) => conversations.present(ids),
        inRunningSandboxes: (limit) =>
          failures-- > 0 ? Promise.reject(new Error('away')) : conversations.inRunningSandboxes(limit),
      },
    });
    await lost.sweep();
    await vi.waitFor(() => expect(compared).toEqual([first, second]), 90_000);
    expect(await conversations.runningSandboxes('', 10)).toEqual([old, young].sort());
  });
});
