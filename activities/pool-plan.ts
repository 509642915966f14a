/** How many warm sandboxes there should be, and what to do about those there are. */
import type { PoolLook, PoolPlan } from '../contract/sandbox-pool.js';
import type { Host } from '../db/hosts.js';
import type { Demand, WarmSandbox } from '../db/warm-sandboxes.js';
import { hasMemory, placesFor, roomsOf } from './pool-rooms.js';

export interface PoolSettings {
  /** Sandboxes kept in any case. */
  size: number;
  /** Up to how many demand may raise that. */
  max: number;
  /** Age from which on one is replaced, in milliseconds. */
  maxAgeMs: number;
}

/** What is known at a look. */
export interface PoolView {
  now: Date;
  sandboxes: readonly WarmSandbox[];
  /** Ids of those that do not answer any more. */
  outOfReach: ReadonlySet<string>;
  demand: readonly Demand[];
  startsUnderWay: boolean;
  /** The machines that are there, and what room they have. */
  hosts: readonly Host[];
}

/** For how long a rush is remembered, in milliseconds. */
export const DEMAND_MS = 10 * 60_000;
/** Starts within this time meet what was warm at its beginning, in milliseconds: a claim waits for calm, then a boot. */
const REFILL_MS = 15_000;
/** How long the pool lets starts go first, in milliseconds. */
const COURTESY_MS = 60_000;
/** Looks when nothing happens, when a boot has to wait, and when something is on its way out, in milliseconds. */
const LOOK_MS = 60_000;
const SOON_MS = 2_000;

/** Most starts that came within the time of one refill. */
export function mostAtOnce(demand: readonly Demand[], withinMs = REFILL_MS): number {
  const times = demand.map(({ at }) => at.getTime()).sort((a, b) => a - b);
  let most = 0;
  for (let first = 0, last = 0; last < times.length; last++) {
    while ((times[last] ?? 0) - (times[first] ?? 0) > withinMs) first++;
    most = Math.max(most, last - first + 1);
  }
  return most;
}

/** How many to keep: as many as came at once lately, within what is configured. */
export function targetOf({ size, max }: PoolSettings, demand: readonly Demand[]): number {
  return size === 0 ? 0 : Math.max(size, Math.min(max, mostAtOnce(demand)));
}

/** What to do now. Pure: the same view leads to the same plan. */
export function planPool(settings: PoolSettings, look: PoolLook, view: PoolView): PoolPlan {
  const { now, sandboxes } = view;
  const target = look.drained ? 0 : targetOf(settings, view.demand);
  const living = sandboxes.filter(({ retired }) => !retired);
  const usable = living.filter(
    ({ id, status }) => (status === 'RUNNING' || status === 'STARTING') && !view.outOfReach.has(id),
  );
  const isOld = ({ warmSince }: WarmSandbox): boolean =>
    now.getTime() - warmSince.getTime() > settings.maxAgeMs ||
    (look.recycleBefore !== undefined && warmSince < new Date(look.recycleBefore));
  const fresh = usable.filter((one) => !isOld(one));
  const ready = fresh.filter(({ status }) => status === 'RUNNING');
  // An old one may be taken until a new one is there.
  const replaced = ready.length >= target ? usable.filter(isOld) : [];
  const surplus = fresh.toReversed().slice(0, Math.max(fresh.length - target, 0));
  const broken = living.filter((one) => !usable.includes(one));
  const leaving = sandboxes.filter(({ retired }) => retired);
  const retire = [...leaving, ...broken, ...replaced, ...surplus].map(({ id }) => id);

  const starting = fresh.length - ready.length;
  // Those of which there is no row yet, and those that a start has taken while they booted.
  const booting = Math.max(look.booting, starting);
  const missing = Math.max(target - ready.length - booting, 0);
  const rooms = roomsOf(look, view);
  const waitsFor =
    missing === 0
      ? undefined
      : view.startsUnderWay && look.waitedMs < COURTESY_MS
        ? 'starts that are under way'
        : rooms.length === 0
          ? 'a worker that owns sandboxes'
          : !rooms.some(hasMemory)
            ? 'free memory'
            : undefined;
  const places = waitsFor ? [] : placesFor(missing, rooms);
  return {
    make: places.length,
    hosts: places,
    retire,
    lookAgainMs: view.startsUnderWay && missing > 0 ? SOON_MS : LOOK_MS,
    isOver: target === 0 && sandboxes.length === 0 && !look.drained,
    report: {
      at: now.toISOString(),
      target,
      ready: usable.filter(({ status }) => status === 'RUNNING').length,
      booting,
      ...(waitsFor ? { waitsFor } : {}),
    },
  };
}
