import {
  allHandlersFinished,
  CancellationScope,
  condition,
  continueAsNew,
  isCancellation,
  log,
  proxyActivities,
  proxyLocalActivities,
  setHandler,
  uuid4,
  workflowInfo,
} from '@temporalio/workflow';
import type { SandboxPoolActivities } from '../activities/sandbox-pool-activities.js';
import { base62, hexId } from '../contract/ids.js';
import { explain, logTimeout } from './failures.js';
import {
  poolCloseSignal,
  poolDrainSignal,
  poolFillSignal,
  poolLookSignal,
  poolRecycleSignal,
  poolStateQuery,
  type PoolState,
} from './messages.js';

const { surveyPool } = proxyLocalActivities<SandboxPoolActivities>({
  startToCloseTimeout: '5s',
  localRetryThreshold: '1m',
});

/** The sandbox's actor decides when a boot has failed. */
const { bootWarmSandbox } = proxyActivities<SandboxPoolActivities>({
  startToCloseTimeout: '45m',
  scheduleToCloseTimeout: '50m',
  heartbeatTimeout: '10s',
  retry: { initialInterval: '1s', maximumInterval: '10s', maximumAttempts: 5 },
});

/** Must end well, however late: nobody else removes them before the next look. */
const { retireWarmSandboxes } = proxyActivities<SandboxPoolActivities>({
  startToCloseTimeout: '1m',
  retry: { initialInterval: '1s', maximumInterval: '30s' },
});

/** After a boot that failed, the pool waits for so long, twice as long after the next one, in milliseconds. */
const FIRST_WAIT_MS = 5_000;
const LONGEST_WAIT_MS = 10 * 60_000;
/** An operator has emptied it: it looks rarely, in milliseconds. */
const DRAINED_LOOK_MS = 10 * 60_000;

/**
 * Keeps some sandboxes of one spec started and nobody's. What there is stands in SQL, where starts take them out by
 * themselves; this looks how many are missing, has them made one after another, and removes what is old or broken.
 */
export async function sandboxPool(initial: PoolState): Promise<void> {
  const state: PoolState = { ...initial };
  /** Signals that have come so far; a look has seen those that came before it. */
  let heard = 0;
  let closing = false;
  let booting = 0;
  /** The machine of each boot, where the plan has named one. */
  const bootingOn: string[] = [];

  setHandler(poolStateQuery, () => state);
  setHandler(poolLookSignal, () => {
    heard++;
    closing = false;
  });
  setHandler(poolRecycleSignal, () => {
    heard++;
    state.recycleBefore = new Date().toISOString();
    delete state.retryAt;
  });
  setHandler(poolDrainSignal, () => {
    heard++;
    state.drained = true;
  });
  setHandler(poolFillSignal, () => {
    heard++;
    delete state.drained;
    delete state.retryAt;
  });
  setHandler(poolCloseSignal, () => {
    heard++;
    closing = true;
  });

  async function boot(hostId?: string): Promise<void> {
    booting++;
    if (hostId !== undefined) bootingOn.push(hostId);
    const sandboxId = base62(bytesOf(hexId(uuid4())));
    try {
      await bootWarmSandbox(state.specId, sandboxId, hostId);
      // Whoever ended the pool has retired what there was then; of this one there may have been no row yet.
      if (closing) await retireWarmSandboxes([sandboxId]);
      delete state.failures;
      delete state.lastFailure;
      delete state.retryAt;
    } catch (err) {
      if (isCancellation(err)) throw err;
      logTimeout(err);
      await retireWarmSandboxes([sandboxId]);
      const { message, type } = explain(err);
      if (type === 'SandboxDeleted') return; // retired while it booted, which is no failure
      state.lastFailure = message;
      // Of several at once that fail for one reason, one counts.
      if ((state.retryAt ?? 0) > Date.now()) return;
      state.failures = (state.failures ?? 0) + 1;
      const waitMs = Math.min(FIRST_WAIT_MS * 2 ** (state.failures - 1), LONGEST_WAIT_MS);
      state.retryAt = Date.now() + waitMs;
      log.warn('a warm sandbox could not be started', { reason: message, nextTryMs: waitMs });
    } finally {
      booting--;
      if (hostId !== undefined) bootingOn.splice(bootingOn.indexOf(hostId), 1);
      heard++;
    }
  }

  const mayContinue = () => workflowInfo().continueAsNewSuggested && booting === 0 && allHandlersFinished();

  // `temporal workflow cancel` ends it at once; sandboxes that it leaves are looked after by the next one.
  for (;;) {
    if (closing) {
      await condition(() => booting === 0 || !closing);
      if (closing) return condition(allHandlersFinished);
    }
    const seen = heard;
    const waitedMs = state.waitingSince === undefined ? 0 : Date.now() - state.waitingSince;
    const plan = await surveyPool(state.specId, {
      drained: state.drained ?? false,
      ...(state.recycleBefore === undefined ? {} : { recycleBefore: state.recycleBefore }),
      booting,
      bootingOn: [...bootingOn],
      waitedMs,
    });
    state.report = plan.report;
    if (plan.report.waitsFor === undefined) delete state.waitingSince;
    else state.waitingSince ??= Date.now();
    if (plan.retire.length > 0) await retireWarmSandboxes(plan.retire);
    const restMs = Math.max((state.retryAt ?? 0) - Date.now(), 0);
    // A long history is not made longer by new boots: the next run begins them.
    if (restMs === 0 && !workflowInfo().continueAsNewSuggested) {
      for (let n = 0; n < plan.make; n++) begin(() => boot(plan.hosts?.[n]));
    }
    if (plan.isOver && booting === 0 && heard === seen) return condition(allHandlersFinished);
    if (mayContinue()) await continueAsNew<typeof sandboxPool>(state);
    const untilNext = state.drained ? DRAINED_LOOK_MS : plan.lookAgainMs;
    await condition(() => heard > seen, restMs > 0 ? Math.min(restMs, untilNext) : untilNext);
  }
}

const bytesOf = (hex: string): Uint8Array =>
  Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));

/** Has something done beside everything else. */
function begin(work: () => Promise<void>): void {
  CancellationScope.current()
    .run(work)
    .catch((err: unknown) => {
      if (!isCancellation(err)) log.error('the pool could not look after a boot', { reason: String(err) });
    });
}
