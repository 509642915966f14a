import { describe, expect, it } from 'vitest';
import {
  mostAtOnce,
  planPool,
  targetOf,
  type PoolSettings,
  type PoolView,
} from '../../../activities/pool-plan.js';
import type { PoolLook } from '../../../contract/sandbox-pool.js';
import type { Host } from '../../../db/hosts.js';
import type { WarmSandbox } from '../../../db/warm-sandboxes.js';

const NOW = new Date('2026-11-22T12:00:00Z');
const secondsAgo = (seconds: number) => new Date(NOW.getTime() - seconds * 1000);
const settings: PoolSettings = { size: 2, max: 5, maxAgeMs: 3_600_000 };
const one = (id: string, values: Partial<WarmSandbox> = {}): WarmSandbox => ({
  id,
  status: 'RUNNING',
  agentServerUrl: 'http://x',
  agentServerVersion: '1',
  hostId: 'here',
  warmSince: secondsAgo(60),
  updatedAt: secondsAgo(55),
  retired: false,
  ...values,
});
const MB = 1024 ** 2;
const host = (
  id: string,
  availableMemory = 64 * 1024 * MB,
  parallelBoots = 2,
  sandboxBytes: number | null = null,
): Host => ({
  id,
  availableMemory,
  parallelBoots,
  sandboxBytes,
  seenAt: secondsAgo(5),
});
const plan = (
  sandboxes: WarmSandbox[],
  {
    view = {},
    look = {},
    own = settings,
  }: { view?: Partial<PoolView>; look?: Partial<PoolLook>; own?: PoolSettings } = {},
) =>
  planPool(
    own,
    { drained: false, booting: 0, waitedMs: 0, ...look },
    {
      now: NOW,
      sandboxes,
      outOfReach: new Set(),
      demand: [],
      startsUnderWay: false,
      hosts: [host('here')],
      ...view,
    },
  );
const demand = (...seconds: number[]) => seconds.map((ago) => ({ at: secondsAgo(ago), served: true }));

describe('the plan of the pool', () => {
  it('makes what is missing, no more at once than may boot', () => {
    expect(plan([])).toMatchObject({ make: 2, retire: [], isOver: false });
    expect(plan([one('a')])).toMatchObject({ make: 1 });
    expect(plan([one('a'), one('b', { status: 'STARTING' })])).toMatchObject({ make: 0 });
    expect(plan([], { own: { ...settings, size: 9, max: 9 } })).toMatchObject({ make: 2 });
    // Of a boot that has just begun there may be no row yet.
    expect(plan([], { look: { booting: 1, bootingOn: ['here'] } })).toMatchObject({ make: 1 });
  });

  it('replaces what is out of reach, though its row says that it runs', () => {
    const view = { outOfReach: new Set(['lost']) };
    expect(plan([one('lost'), one('b')], { view })).toMatchObject({ retire: ['lost'], make: 1 });
  });

  it('replaces what does not run, and what is old only when there is something new', () => {
    const old = one('old', { warmSince: secondsAgo(7200) });
    const own = { ...settings, size: 1 };
    expect(plan([one('dead', { status: 'MISSING' }), one('b')], { own })).toMatchObject({
      retire: ['dead'],
      make: 0,
    });
    expect(plan([old], { own })).toMatchObject({ make: 1, retire: [] });
    expect(plan([old, one('b')], { own })).toMatchObject({ make: 0, retire: ['old'] });
    expect(plan([one('b')], { own, look: { recycleBefore: NOW.toISOString() } })).toMatchObject({
      make: 1,
      retire: [],
    });
  });

  it('grows with starts that come at once, up to its limit, and shrinks when they are forgotten', () => {
    expect(mostAtOnce(demand(100, 98, 97, 30, 29))).toBe(3);
    expect(targetOf(settings, demand(1))).toBe(2);
    expect(targetOf(settings, demand(1, 2, 3, 4))).toBe(4);
    expect(targetOf(settings, demand(1, 2, 3, 4, 5, 6, 7))).toBe(5);
    expect(targetOf({ ...settings, max: 0 }, demand(1, 2, 3, 4))).toBe(2);
    expect(plan(['a', 'b', 'c', 'd'].map((id) => one(id)))).toMatchObject({ make: 0, retire: ['d', 'c'] });
  });

  it('lets starts go first, for a while, and leaves memory to others', () => {
    const busy = { view: { startsUnderWay: true } };
    expect(plan([], busy)).toMatchObject({ make: 0, report: { waitsFor: 'starts that are under way' } });
    expect(plan([], { ...busy, look: { waitedMs: 61_000 } })).toMatchObject({ make: 2 });
    expect(plan([], { view: { hosts: [host('here', 900 * MB)] } })).toMatchObject({
      make: 0,
      report: { waitsFor: 'free memory' },
    });
    expect(plan([], { view: { hosts: [host('here', 1200 * MB)] } })).toMatchObject({ make: 1 });
  });

  it('removes everything when nothing is to be kept, and is over when all is gone', () => {
    const off = { own: { ...settings, size: 0 }, view: { demand: demand(1, 2, 3) } };
    expect(plan([one('a')], off)).toMatchObject({ make: 0, retire: ['a'], isOver: false });
    expect(plan([], off)).toMatchObject({ isOver: true });
    expect(plan([one('a')], { look: { drained: true } })).toMatchObject({ make: 0, retire: ['a'] });
    // An operator's order stays in force.
    expect(plan([], { look: { drained: true } })).toMatchObject({ make: 0, isOver: false });
    // Its actor was told before, and is told again.
    expect(plan([one('a', { retired: true }), one('b'), one('c')])).toMatchObject({ retire: ['a'] });
  });

  it('boots each where most memory is left, no more at once than that machine may', () => {
    const own = { ...settings, size: 4, max: 4 };
    const hosts = [host('large', 4_000 * MB), host('small', 3_500 * MB)];
    expect(plan([], { own, view: { hosts } }).hosts).toEqual(['large', 'large', 'small', 'small']);
    const many = [host('large', 4_000 * MB, 9), host('small', 3_500 * MB, 9)];
    expect(plan([], { own, view: { hosts: many } }).hosts).toEqual(['large', 'large', 'small', 'large']);
    expect(plan([], { own, view: { hosts: [hosts[1]!] } })).toMatchObject({
      make: 2,
      hosts: ['small', 'small'],
    });
  });

  it('judges each machine by its own memory, and by what boots there', () => {
    const own = { ...settings, size: 3, max: 3 };
    const full = host('full', 900 * MB);
    const hosts = [full, host('free', 2_000 * MB, 9)];
    expect(plan([], { own, view: { hosts } }).hosts).toEqual(['free', 'free', 'free']);
    // 2,000 MB are three sandboxes and what is left to others; each of these has taken one's place.
    const look = { booting: 1, bootingOn: ['free'] };
    expect(plan([], { own, look, view: { hosts } }).hosts).toEqual(['free', 'free']);
    const starting = one('a', { status: 'STARTING', hostId: 'free' });
    expect(plan([starting], { own, look, view: { hosts } }).hosts).toEqual(['free', 'free']);
    const unheard = one('b', { hostId: 'free', updatedAt: secondsAgo(1) });
    expect(plan([starting, unheard], { own, look, view: { hosts } }).hosts).toEqual(['free']);
    // What boots elsewhere takes nothing here.
    expect(plan([], { own, look: { booting: 1, bootingOn: ['full'] }, view: { hosts } }).hosts).toEqual([
      'free',
      'free',
    ]);
    const none = { make: 0, hosts: [], report: { waitsFor: 'free memory' } };
    expect(plan([], { own, view: { hosts: [full] } })).toMatchObject(none);
  });

  it.each<[string, number | null, number]>([
    ['those that boot', 400 * MB, 3],
    ['those that are forked', 220 * MB, 5],
    ['those of a machine that does not say, which boot', null, 3],
  ])('counts what a machine says its sandboxes take: %s', (_, sandboxBytes, fits) => {
    const own = { ...settings, size: 9, max: 9 };
    const here = host('here', 2_000 * MB, 9, sandboxBytes);
    expect(plan([], { own, view: { hosts: [here] } }).make).toBe(fits);
    // What has begun takes as much as what is to begin.
    const starting = one('a', { status: 'STARTING' });
    expect(plan([starting], { own, view: { hosts: [here] } }).make).toBe(fits - 1);
    const edge = 768 * MB + (sandboxBytes ?? 400 * MB);
    expect(plan([], { own, view: { hosts: [host('here', edge, 9, sandboxBytes)] } }).make).toBe(1);
    expect(plan([], { own, view: { hosts: [host('here', edge - 1, 9, sandboxBytes)] } })).toMatchObject({
      make: 0,
      report: { waitsFor: 'free memory' },
    });
  });

  it('goes where memory is left by then, whatever a sandbox takes on each machine', () => {
    const own = { ...settings, size: 4, max: 4 };
    const hosts = [host('forks', 2_000 * MB, 9, 220 * MB), host('boots', 2_100 * MB, 9, 400 * MB)];
    expect(plan([], { own, view: { hosts } }).hosts).toEqual(['boots', 'forks', 'forks', 'boots']);
    const full = [host('forks', 1_000 * MB, 9, 220 * MB), host('boots', 1_100 * MB, 9, 400 * MB)];
    expect(plan([], { own, view: { hosts: full } }).hosts).toEqual(['forks']);
  });

  it('waits for a machine when none has told of itself', () => {
    const nobody = { make: 0, report: { waitsFor: 'a worker that owns sandboxes' } };
    expect(plan([], { view: { hosts: [] } })).toMatchObject(nobody);
    expect(plan([one('a'), one('b')], { view: { hosts: [] } }).report.waitsFor).toBeUndefined();
  });
});
