import { MockActivityEnvironment } from '@temporalio/testing';
import { sql } from 'drizzle-orm';
import { pino } from 'pino';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  createActorSweepActivities,
  createHostSweepActivities,
} from '../../activities/sandbox-sweep-activities.js';
import type { DatabaseConnection } from '../../db/database.js';
import { HostSandboxes } from '../../db/host-sandboxes.js';
import { SandboxRepository } from '../../db/sandbox-repository.js';
import { thingOf, type SandboxCondition, type SandboxHandle } from '../../sandboxes/backend.js';
import { openTestDatabase } from '../support/database.js';
import { insertConversation, insertSandbox, newId } from '../support/rows.js';

const logger = pino({ level: 'silent' });
const handle: SandboxHandle = {
  backend: 'process',
  pid: 1,
  port: 1,
  url: 'http://x',
  workingDirectory: '/w',
};
const HOUR_AGO = new Date(Date.now() - 3_600_000);

let connection: DatabaseConnection;
let sandboxes: SandboxRepository;
let hostSandboxes: HostSandboxes;
beforeAll(async () => {
  connection = await openTestDatabase();
  sandboxes = new SandboxRepository(connection.database);
  hostSandboxes = new HostSandboxes(connection.database);
});
afterAll(() => connection.close());
beforeEach(async () => {
  await connection.database.execute(sql`delete from sandboxes`);
});

describe('the sweep of a host', () => {
  const sweepOf = (
    held: string[],
    { living = held, stubborn = [] }: { living?: string[]; stubborn?: string[] } = {},
    inspect: (id: string) => SandboxCondition | Promise<SandboxCondition> = () => ({ state: 'running' }),
  ) => {
    const destroyed: string[] = [];
    const watched = new Set<string>();
    const gone: string[] = [];
    const told: [string, object][] = [];
    const activities = createHostSweepActivities({
      hostId: 'here',
      backend: {
        list: async () => held,
        find: async (id) => (living.includes(id) ? handle : null),
        inspect: async (id) => inspect(id),
        async destroy(id) {
          if (stubborn.includes(id)) throw new Error('text file busy');
          destroyed.push(id);
        },
      },
      sandboxes: hostSandboxes,
      watcher: { watch: (id) => void watched.add(id), isWatching: (id) => watched.has(id) },
      actors: {
        async observe(id, observation) {
          if (observation.state === 'gone') gone.push(id);
          else told.push([id, observation]);
        },
      },
      logger,
      differenceMs: 1,
    });
    const run = () => new MockActivityEnvironment().run(() => activities.sweepHost());
    return { run, destroyed, watched, gone, told };
  };

  it('removes what is left of sandboxes deleted long ago, and only of those', async () => {
    const old = await insertSandbox(connection.database, {
      hostId: 'here',
      deletedAt: HOUR_AGO,
      status: 'MISSING',
    });
    const halfway = await insertSandbox(connection.database, {
      hostId: 'here',
      deletedAt: HOUR_AGO,
      status: 'PAUSED',
    });
    const justNow = await insertSandbox(connection.database, {
      hostId: 'here',
      deletedAt: new Date(),
      status: 'RUNNING',
    });
    const kept = await insertSandbox(connection.database, { hostId: 'here', status: 'ERROR' });
    const { run, destroyed } = sweepOf([old, halfway, justNow, kept, newId()]);
    expect(await run()).toMatchObject({ orphansRemoved: 2, orphansLeft: 0, unknown: 1 });
    expect(destroyed.sort()).toEqual([old, halfway].sort());
  });

  it('goes on after one that cannot be removed, and counts it', async () => {
    const row = { hostId: 'here', deletedAt: HOUR_AGO, status: 'MISSING' } as const;
    const [one, two] = [
      await insertSandbox(connection.database, row),
      await insertSandbox(connection.database, row),
    ];
    const { run, destroyed } = sweepOf([one, two], { stubborn: [one] });
    expect(await run()).toMatchObject({ orphansRemoved: 1, orphansLeft: 1 });
    expect(destroyed).toEqual([two]);
  });

  it('tells the actors of what is gone, watches what lives, and finds nothing more the second time', async () => {
    const insert = (status: 'RUNNING' | 'PAUSED' | 'STARTING', hostId = 'here') =>
      insertSandbox(connection.database, { hostId, status });
    const [lost, living, resting] = [
      await insert('RUNNING'),
      await insert('RUNNING'),
      await insert('PAUSED'),
    ];
    await insert('STARTING');
    await insert('RUNNING', 'elsewhere');
    const { run, watched, gone } = sweepOf([living], { living: [living] });
    expect(await run()).toMatchObject({ goneReported: 1, watchedAgain: 1 });
    expect([gone, [...watched]]).toEqual([[lost], [living]]);
    await sandboxes.setStatus(lost, 'MISSING'); // as its actor does
    expect(await run()).toEqual({
      orphansRemoved: 0,
      orphansLeft: 0,
      unknown: 0,
      goneReported: 0,
      watchedAgain: 0,
      differing: 0,
    });
    expect(resting).not.toBe(lost);
  });

  it('says again what a row has been wrong about for a while', async () => {
    const insert = (status: 'RUNNING' | 'PAUSED' | 'STARTING') =>
      insertSandbox(connection.database, { hostId: 'here', status });
    const [thawed, frozen, right, resting] = [
      await insert('PAUSED'),
      await insert('RUNNING'),
      await insert('RUNNING'),
      await insert('PAUSED'),
    ];
    const starting = await insert('STARTING');
    const asleep = new Set([frozen, resting, starting]);
    const { run, told } = sweepOf([thawed, frozen, right, resting, starting], {}, (id) => ({
      state: asleep.has(id) ? 'paused' : 'running',
    }));
    expect(await run()).toMatchObject({ differing: 2 });
    expect(new Map(told)).toEqual(
      new Map([
        [thawed, { state: 'running', row: 'PAUSED', thing: thingOf(handle) }],
        [frozen, { state: 'paused', row: 'RUNNING', thing: thingOf(handle) }],
      ]),
    );
  });

  it('takes a pause or resume that is under way for nothing more', async () => {
    const status = 'RUNNING';
    const [pausing, blinking] = [
      await insertSandbox(connection.database, { hostId: 'here', status }),
      await insertSandbox(connection.database, { hostId: 'here', status }),
    ];
    let looks = 0;
    const { run, told } = sweepOf([pausing, blinking], {}, async (id) => {
      if (id === pausing)
        await sandboxes.setStatus(pausing, 'PAUSED'); // by its actor, in this moment
      else looks++;
      return { state: id === pausing || looks === 1 ? 'paused' : 'running' };
    });
    expect(await run()).toMatchObject({ differing: 0 });
    expect(told).toEqual([]);
    expect(looks).toBe(2);
  });
});

describe('the sweep of actors', () => {
  const sweepOf = (living: string[], reallyLiving = living) => {
    const revived: string[] = [];
    const deleted: string[] = [];
    const activities = createActorSweepActivities({
      sandboxes: hostSandboxes,
      actors: {
        async *living() {
          yield* living;
        },
        lives: async (id) => reallyLiving.includes(id),
        revive: async ({ id }) => void revived.push(id),
        requestDelete: async (id) => void deleted.push(id),
      },
      logger,
    });
    const run = () => new MockActivityEnvironment().run(() => activities.sweepSandboxActors());
    return { run, revived, deleted, activities };
  };
  const insert = (values: Parameters<typeof insertSandbox>[1]) =>
    insertSandbox(connection.database, { updatedAt: HOUR_AGO, ...values });

  it('revives what is somebody’s, and deletes what nobody has ever got', async () => {
    const [alive, unlisted] = [await insert({ status: 'RUNNING' }), await insert({ status: 'RUNNING' })];
    const lost = await insert({ status: 'PAUSED', hostId: 'here' });
    const hidden = await insert({ status: 'RUNNING', hostId: 'here', deletedAt: HOUR_AGO });
    const refused = await insert({ status: 'STARTING' });
    const inhabited = await insert({ status: 'STARTING' });
    await insertConversation(connection.database, { sandboxId: inhabited });
    await insert({ status: 'MISSING', deletedAt: HOUR_AGO }); // deleted to the end
    await insertSandbox(connection.database, { status: 'STARTING', updatedAt: new Date() }); // being made
    const { run, revived, deleted } = sweepOf([alive], [alive, unlisted]);
    expect(await run()).toEqual({ revived: 2, deleted: 2 });
    expect(revived.sort()).toEqual([lost, inhabited].sort());
    expect(deleted.sort()).toEqual([hidden, refused].sort());
  });

  it('knows which hosts have something to be swept', async () => {
    await insert({ status: 'RUNNING', hostId: 'one' });
    await insert({ status: 'PAUSED', hostId: 'one' });
    await insert({ status: 'MISSING', hostId: 'two', deletedAt: HOUR_AGO });
    await insert({ status: 'RUNNING', hostId: 'three', deletedAt: HOUR_AGO });
    expect((await sweepOf([]).activities.sandboxHosts()).sort()).toEqual(['one', 'three']);
  });
});
