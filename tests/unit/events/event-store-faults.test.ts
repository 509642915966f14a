/** The event store against a model: whatever is appended at once or twice, fails, crashes and is repaired in between. */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { AgentEvent } from '../../../contract/event.js';
import { ConversationRepository } from '../../../db/conversation-repository.js';
import type { Database } from '../../../db/database.js';
import { createEventStore, type EventStore } from '../../../events/event-store.js';
import { incomingEvent } from '../../../events/incoming-event.js';
import { reindexEvents } from '../../../events/reindex.js';
import { CrashingDisk, type DiskFault } from '../../support/crashing-disk.js';
import { openTestDatabase } from '../../support/database.js';
import { newId } from '../../support/rows.js';

let connection: Awaited<ReturnType<typeof openTestDatabase>>;
beforeAll(async () => {
  connection = await openTestDatabase();
});
afterAll(() => connection.close());

/** Where a transaction is cut: before it begins, before it is committed, or before its answer comes. */
const SQL_FAULTS = ['begin', 'commit', 'answer'] as const;
type SqlFault = (typeof SQL_FAULTS)[number];

type Step =
  | { do: 'append'; batches: number[][] }
  | { do: 'arm disk'; fault: DiskFault; steps: number }
  | { do: 'arm database'; fault: SqlFault; ends: boolean }
  | { do: 'reindex' }
  | { do: 'restart'; fault: 'kill' | 'power' };

/** Few ids in many forms: repeated, with another time, with none, with an id that a name cannot hold. */
const EVENTS: AgentEvent[] = Array.from({ length: 14 }, (_, n) => ({
  id: n % 5 === 4 ? `Odd/${n % 7}` : `event-${n % 7}`,
  kind: n % 3 === 0 ? 'MessageEvent' : 'ActionEvent',
  ...(n % 4 === 3 ? {} : { timestamp: `2026-01-01T00:00:0${n % 9}.000001` }),
  text: 'é'.repeat(n * 3),
}));
const idOf = (event: number): string => EVENTS[event]?.id ?? '';

const batch = fc.array(fc.nat(EVENTS.length - 1), { minLength: 1, maxLength: 5 });
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('append' as const),
      batches: fc.array(batch, { minLength: 1, maxLength: 4 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant('arm disk' as const),
      fault: fc.constantFrom<DiskFault>('ENOSPC', 'kill', 'power'),
      steps: fc.nat(45),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('arm database' as const),
      fault: fc.constantFrom(...SQL_FAULTS),
      ends: fc.boolean(),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('reindex' as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('restart' as const),
      fault: fc.constantFrom('kill' as const, 'power' as const),
    }),
  },
);

/** One conversation, from process to process. */
class Run {
  readonly id = newId();
  readonly disk = new CrashingDisk('/data');
  /** Ids that were answered for. */
  readonly acknowledged = new Set<string>();
  /** Ids that were ever sent. */
  readonly sent = new Set<string>();
  store: EventStore;
  #sqlFault: { fault: SqlFault; ends: boolean } | null = null;

  constructor(private readonly chance: () => number) {
    this.store = this.#open();
  }

  async take(next: Step): Promise<void> {
    switch (next.do) {
      case 'append':
        await Promise.all(next.batches.map((events) => this.append(events)));
        break;
      case 'arm disk':
        this.disk.arm(next.fault, next.steps);
        break;
      case 'arm database':
        this.#sqlFault = next;
        break;
      case 'reindex':
        await this.reindex().catch(() => undefined); // cut off by a fault: repeated at the end
        break;
      case 'restart':
        this.disk.end(next.fault);
    }
    if (this.disk.hasEnded) this.restart();
  }

  /** What is thrown is an answer that says: not stored. */
  async append(events: readonly number[]): Promise<void> {
    for (const event of events) this.sent.add(idOf(event));
    try {
      const incoming = events.map((event) => incomingEvent(EVENTS[event] as AgentEvent));
      await this.store.ingest(this.id, incoming);
      for (const event of events) this.acknowledged.add(idOf(event));
    } catch {
      // not acknowledged: there or not
    }
  }

  reindex() {
    return reindexEvents({
      directory: '/data',
      disk: this.disk,
      database: this.#database(),
      repair: true,
      conversationId: this.id,
    });
  }

  restart(): void {
    this.disk.restart(this.chance);
    this.#sqlFault = null;
    this.store = this.#open();
  }

  /** What a reader sees is whole, each event once, and nothing that was acknowledged is missing. */
  async check(): Promise<string[]> {
    const query = { conversationId: this.id, users: null };
    // Another process, whose database does not fail.
    const reader = createEventStore({ directory: '/data', disk: this.disk, database: connection.database });
    const { items } = await reader.search(query, { sortOrder: 'TIMESTAMP', limit: 100 });
    const ids = items.map((json) => (JSON.parse(json) as AgentEvent).id);
    expect(new Set(ids).size).toBe(ids.length);
    expect(ids.length).toBe(await reader.count(query));
    expect([...this.sent]).toEqual(expect.arrayContaining(ids));
    expect(ids).toEqual(expect.arrayContaining([...this.acknowledged]));
    const wanted = [...this.sent];
    const batch = await reader.batch(this.id, null, wanted);
    expect(batch.map((json) => json !== null)).toEqual(wanted.map((id) => ids.includes(id)));
    for (const json of items) expect(EVENTS.map((event) => JSON.stringify(event))).toContain(json);
    return ids;
  }

  #open(): EventStore {
    return createEventStore({ directory: '/data', disk: this.disk, database: this.#database() });
  }

  /** The real database, until a fault that is armed strikes one of its transactions. */
  #database(): Database {
    const { database } = connection;
    const strike = (where: SqlFault): void => {
      if (this.disk.hasEnded) throw new Error('the process has ended');
      if (this.#sqlFault?.fault !== where) return;
      const { ends } = this.#sqlFault;
      this.#sqlFault = null;
      if (ends) this.disk.end('kill');
      throw new Error('the connection was lost');
    };
    const transaction: Database['transaction'] = async (work, config) => {
      strike('begin');
      const result = await database.transaction(async (tx) => {
        const done = await work(tx);
        strike('commit');
        return done;
      }, config);
      strike('answer');
      return result;
    };
    return new Proxy(database, {
      get: (target, name) => (name === 'transaction' ? transaction : (Reflect.get(target, name) as unknown)),
    });
  }
}

async function newRun(seed: number): Promise<Run> {
  let state = seed;
  const run = new Run(() => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fff_ffff;
    return state / 0x8000_0000;
  });
  await new ConversationRepository(connection.database).stubFor(run.id, { id: 'box', createdByUserId: null });
  return run;
}

describe('whatever is appended, fails, crashes and is repaired in between', () => {
  it('what was acknowledged is there once, and nothing is there by halves', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 12 }), fc.nat(), async (steps, seed) => {
        const run = await newRun(seed);
        for (const next of steps) {
          await run.take(next);
          await run.check();
        }
        // After a repair, files and index say the same, and no trace of what failed is left.
        run.disk.end('kill');
        run.restart();
        await run.reindex();
        const ids = await run.check();
        expect(run.disk.files().filter((path) => !path.includes('quarantine'))).toHaveLength(ids.length);
        expect((await run.reindex()).found).toMatchObject({
          added: 0,
          missing: 0,
          torn: 0,
          duplicate: 0,
          temporary: 0,
        });
        // Sent again, everything is there.
        await run.append(EVENTS.map((_, event) => event));
        expect(await run.check()).toHaveLength(new Set(EVENTS.map(({ id }) => id)).size);
      }),
      { numRuns: 40 },
    );
  });

  it('an index that is lost comes back equal', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(batch, { minLength: 1, maxLength: 6 }), fc.nat(), async (batches, seed) => {
        const run = await newRun(seed);
        await Promise.all(batches.map((events) => run.append(events)));
        const before = await run.check();
        await connection.pool.query('delete from event_index where conversation_id = $1', [run.id]);
        await run.reindex();
        expect((await run.check()).sort()).toEqual(before.sort());
      }),
      { numRuns: 10 },
    );
  });
});
