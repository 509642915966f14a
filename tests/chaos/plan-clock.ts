/** The time of the plan: stands still while the machine cannot follow, so that users and faults stay together. */
import { setTimeout as sleep } from 'node:timers/promises';

const TICK_MS = 100;

export interface PlanClock {
  /** Resolves when the plan has come to this time, in milliseconds from its beginning. */
  reach(at: number): Promise<void>;
}

/** @param isBehind whether what should have begun by now has not */
export function startPlanClock(isBehind: () => boolean): PlanClock {
  let planned = 0;
  let last = Date.now();
  setInterval(() => {
    const now = Date.now();
    if (!isBehind()) planned += now - last;
    last = now;
  }, TICK_MS).unref();
  return {
    async reach(at) {
      // The plan is never faster than the clock on the wall.
      while (planned < at) await sleep(Math.max(TICK_MS, at - planned));
    },
  };
}
