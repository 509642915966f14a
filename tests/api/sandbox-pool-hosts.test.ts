import { sql } from 'drizzle-orm';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { beginHostBeat } from '../../cli/host-beat.js';
import { Hosts } from '../../db/hosts.js';
import { poolStateQuery } from '../../workflows/messages.js';
import { openApi, type ApiFixture } from '../support/api-fixture.js';
import { openTestDatabase } from '../support/database.js';
import { poolBench, WITHIN } from '../support/pool-bench.js';

const GB = 1024 ** 3;
/** What is left when 768 MB are kept for others is no agent-server. */
const FULL = 900 * 1024 ** 2;

describe('a pool over two machines', () => {
  let api: ApiFixture;
  const pool = poolBench(() => api);
  beforeAll(async () => {
    api = await openApi({ warm: { size: 4, max: 4 }, hosts: ['first', 'second'] });
  });
  afterEach(() => pool.clear());
  afterAll(() => api.close());

  /** The machines have so much memory from now on, and have said so. */
  const have = async (memory: Record<'first' | 'second', number>) => {
    for (const [id, availableMemory] of Object.entries(memory)) {
      api.conduct.freeMemory.set(id, availableMemory);
      await api.pool.hosts.beat({ id, availableMemory, parallelBoots: 4, sandboxBytes: null });
    }
  };
  const placed = async () => (await pool.warm()).map(({ hostId }) => hostId).sort();

  it('shares what it keeps between those that have as much memory', async () => {
    await have({ first: 16 * GB, second: 16 * GB });
    await pool.wake();
    await pool.ready(4);
    expect(await placed()).toEqual(['first', 'first', 'second', 'second']);
  });

  it('keeps none where there is no memory, whichever worker looks', async () => {
    await have({ first: FULL, second: 16 * GB });
    await pool.wake();
    await pool.ready(4);
    expect(await placed()).toEqual(['second', 'second', 'second', 'second']);
  });

  it('makes none while no machine has memory, and says so, and begins when one has', async () => {
    await have({ first: FULL, second: FULL });
    await pool.wake();
    await vi.waitFor(async () => {
      const { report } = await pool.handle().query(poolStateQuery);
      expect(report).toMatchObject({ ready: 0, booting: 0, waitsFor: 'free memory' });
    }, WITHIN);
    expect(api.conduct.booted).toEqual([]);
    await have({ first: 16 * GB, second: FULL });
    await pool.wake();
    await pool.ready(4);
    expect(await placed()).toEqual(['first', 'first', 'first', 'first']);
  });
});

describe('the machines that are there', () => {
  it('are those that have told of themselves lately, with what they said last, until they leave', async () => {
    const connection = await openTestDatabase();
    const { database } = connection;
    const hosts = new Hosts(database);
    const one = { id: 'a', availableMemory: 64 * GB, parallelBoots: 8, sandboxBytes: null };
    const other = { id: 'b', availableMemory: 2 * GB, parallelBoots: 2, sandboxBytes: GB / 4 };
    await hosts.beat({ id: 'b', availableMemory: 3 * GB, parallelBoots: 1, sandboxBytes: GB / 2 });
    await hosts.beat(one);
    await hosts.beat(other);
    expect(await hosts.present()).toMatchObject([one, other]);
    await database.execute(sql`update hosts set seen_at = now() - interval '1 minute' where id = 'a'`);
    expect((await hosts.present()).map(({ id }) => id)).toEqual(['b']);
    expect(await hosts.known()).toMatchObject([
      { ...one, isPresent: false },
      { ...other, isPresent: true },
    ]);
    await hosts.leave('b');
    expect(await hosts.present()).toEqual([]);
    await connection.close();
  });

  it('say what a sandbox takes there, and when that changes', async () => {
    const connection = await openTestDatabase();
    const hosts = new Hosts(connection.database);
    let sandboxBytes = GB / 2;
    const beat = await beginHostBeat({
      hosts,
      hostId: 'here',
      parallelBoots: 1,
      availableMemory: () => 2 * GB,
      sandboxBytes: () => sandboxBytes,
      logger: pino({ level: 'silent' }),
    });
    expect(await hosts.present()).toMatchObject([{ id: 'here', sandboxBytes: GB / 2 }]);
    sandboxBytes = GB / 4;
    await vi.waitFor(
      async () => expect(await hosts.present()).toMatchObject([{ sandboxBytes: GB / 4 }]),
      WITHIN,
    );
    await beat.stop();
    expect(await hosts.known()).toEqual([]);
    await connection.close();
  });
});
