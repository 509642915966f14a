import {
  ActivityCancellationType,
  allHandlersFinished,
  ApplicationFailure,
  CancellationScope,
  condition,
  continueAsNew,
  isCancellation,
  patched,
  proxyActivities,
  proxyLocalActivities,
  setHandler,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow';
import type { SandboxHostActivities } from '../../activities/sandbox-host-activities.js';
import type { SandboxRowActivities } from '../../activities/sandbox-row-activities.js';
import { hostTaskQueue, PLACEMENT_TASK_QUEUE } from '../../contract/ids.js';
import { SANDBOX_ORDERS, type SandboxOrder, type SandboxStatus } from '../../contract/sandbox-states.js';
import { isObeyed } from '../../contract/sandbox-transitions.js';
import { explain } from '../failures.js';
import { processEnded } from './causes.js';
import {
  ensureRunningUpdate,
  observedSignal,
  sandboxAcceptedUpdate,
  sandboxSignal,
  sandboxStateQuery,
  sandboxUpdate,
  type SandboxObservation,
  type SandboxState,
} from '../messages.js';
import { CALLBOARD_SANDBOX_STATUS } from '../search-attributes.js';

const { recordSandboxStatus, recordSandboxDeleted, findSandboxHost } =
  proxyLocalActivities<SandboxRowActivities>({
    startToCloseTimeout: '5s',
    localRetryThreshold: '1m',
  });

/** The activities of the machine that owns the sandbox; before it is placed, of whichever machine takes it. */
const onHost = (hostId: string | undefined) => {
  const taskQueue = hostId === undefined ? PLACEMENT_TASK_QUEUE : hostTaskQueue(hostId);
  const { boot } = proxyActivities<SandboxHostActivities>({
    taskQueue,
    startToCloseTimeout: '40m',
    scheduleToStartTimeout: '3m', // no machine takes it: say so instead of waiting
    scheduleToCloseTimeout: '45m',
    heartbeatTimeout: '10s',
    // With no wait for its end, a boot given up could still launch after the sandbox was destroyed.
    cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
    retry: { initialInterval: '200ms', maximumInterval: '5s', maximumAttempts: 5 },
  });
  const { suspend, awaken } = proxyActivities<SandboxHostActivities>({
    taskQueue,
    startToCloseTimeout: '30s',
    scheduleToStartTimeout: '2m',
    retry: { initialInterval: '200ms', maximumInterval: '5s', maximumAttempts: 5 },
  });
  const { destroy } = proxyActivities<SandboxHostActivities>({
    taskQueue,
    startToCloseTimeout: '1m',
    retry: { initialInterval: '500ms', maximumInterval: '30s' },
  });
  return { boot, suspend, awaken, destroy };
};

/** What stands in the mailbox: an order, the first boot, or what the host's watcher saw. */
type Letter = { kind: SandboxOrder | 'boot' } | { kind: 'observed'; observation: SandboxObservation };

/** How things stood right after a letter had been dealt with. */
type Outcome = Pick<SandboxState, 'status' | 'detail' | 'failureType'>;

/**
 * The actor as version 0.1.0 released it, for runs that began then. Not to be changed: their histories are replayed
 * with it. After the first letter that reaches it under a later version it continues as a run of that version.
 */
export async function lifeOf010(initial: SandboxState): Promise<void> {
  const state: SandboxState = { ...initial };
  const mailbox: { letter: Letter; settle: (outcome: Outcome) => void }[] = [];
  /** The boot or resume that waits or is under way: who needs the sandbox running waits for this one. */
  let starting: Promise<Outcome> | undefined;
  let deleted = false;
  let work: CancellationScope | undefined;
  let leaving = false;

  const post = (letter: Letter): Promise<Outcome> => {
    const outcome = new Promise<Outcome>((settle) => mailbox.push({ letter, settle }));
    // Nobody waits for the boot of what is to be deleted.
    if (letter.kind === 'delete' && starting) work?.cancel();
    if (letter.kind === 'boot' || letter.kind === 'resume') starting = outcome;
    return outcome;
  };

  // Posted before any handler is set: an update that came with the first task finds a boot to wait for.
  if (state.status === 'STARTING') void post({ kind: 'boot' });

  setHandler(sandboxStateQuery, () => state);
  setHandler(observedSignal, (observation) => void post({ kind: 'observed', observation }));
  setHandler(sandboxAcceptedUpdate, () => Promise.resolve(state.status));
  for (const order of SANDBOX_ORDERS) {
    setHandler(sandboxSignal(order), () => void post({ kind: order }));
    setHandler(sandboxUpdate(order), async () => (await post({ kind: order })).status, {
      validator: () => {
        if (isObeyed(order, state.status)) return;
        throw ApplicationFailure.nonRetryable(
          `cannot ${order} a sandbox that is ${state.status}`,
          'SandboxStatusConflict',
        );
      },
    });
  }
  setHandler(ensureRunningUpdate, async () => {
    // A boot under way answers for itself: it is not tried a second time behind the caller's back.
    const { status, detail, failureType } = await (starting ?? post({ kind: 'resume' }));
    if (status === 'RUNNING') return status;
    throw ApplicationFailure.nonRetryable(detail ?? `it is ${status}`, failureType ?? 'SandboxNotRunning');
  });

  const become = async (status: SandboxStatus, why?: { message: string; type: string }): Promise<void> => {
    state.status = status;
    state.detail = why?.message;
    state.failureType = why?.type;
    await recordSandboxStatus(state.sandboxId, status, why?.message ?? null);
    upsertSearchAttributes([{ key: CALLBOARD_SANDBOX_STATUS, value: status }]);
  };

  const boot = async (): Promise<void> => {
    if (state.status !== 'STARTING') await become('STARTING');
    const launched = await onHost(state.hostId).boot(state.sandboxId);
    if (launched.outcome === 'elsewhere') {
      // Another machine had claimed it, in an attempt whose answer was lost: go on there.
      state.hostId = launched.hostId;
      return boot();
    }
    state.hostId = launched.hostId; // the row is RUNNING already, written with what the boot found out
    state.status = 'RUNNING';
    state.detail = state.failureType = undefined;
    upsertSearchAttributes([{ key: CALLBOARD_SANDBOX_STATUS, value: 'RUNNING' }]);
  };

  const obey: Record<SandboxOrder | 'boot', () => Promise<void>> = {
    async boot() {
      if (state.status !== 'RUNNING') await boot();
    },
    async pause() {
      if (state.status !== 'RUNNING') return;
      const { state: condition } = await onHost(state.hostId).suspend(state.sandboxId);
      if (condition === 'gone') await become('MISSING', processEnded(null));
      else await become('PAUSED');
    },
    async resume() {
      if (state.status === 'RUNNING') return;
      if (state.status === 'PAUSED') {
        const { state: condition } = await onHost(state.hostId).awaken(state.sandboxId);
        if (condition === 'running') return become('RUNNING');
      }
      await boot(); // its process is gone: a new one in the same directory
    },
    async delete() {
      // A boot that failed or was given up may have been placed without our knowing.
      const hostId = state.hostId ?? (await findSandboxHost(state.sandboxId));
      if (hostId !== null) await onHost(hostId).destroy(state.sandboxId);
      await recordSandboxDeleted(state.sandboxId);
      state.status = 'MISSING';
      deleted = true;
    },
  };

  const observe = async (observation: SandboxObservation): Promise<void> => {
    // A paused sandbox may lose its process and stay paused: to resume it is to start it again in its directory.
    if (observation.state === 'gone' && state.status === 'RUNNING') {
      await become('MISSING', processEnded(observation.exitCode ?? null));
    } else if (observation.state === 'paused' && state.status === 'RUNNING') {
      await become('PAUSED');
    } else if (observation.state === 'running' && state.status === 'PAUSED') {
      await become('RUNNING');
    }
  };

  const deal = async (letter: Letter): Promise<void> => {
    work = new CancellationScope();
    try {
      await work.run(() => (letter.kind === 'observed' ? observe(letter.observation) : obey[letter.kind]()));
    } catch (err) {
      const why = explain(err);
      if (why.type === 'SandboxDeleted')
        deleted = true; // its row says so: there is nothing to act for
      // A pause that could not be carried out leaves the sandbox as it was.
      else if (letter.kind !== 'pause' && !isCancellation(err)) await become('ERROR', why);
    } finally {
      work = undefined;
    }
  };

  // `temporal workflow cancel` means: end it, orderly.
  CancellationScope.current().cancelRequested.catch(() => void post({ kind: 'delete' }));
  await CancellationScope.nonCancellable(async () => {
    while (!deleted) {
      await condition(
        () =>
          mailbox.length > 0 || workflowInfo().continueAsNewSuggested || (leaving && allHandlersFinished()),
      );
      const next = mailbox.shift();
      if (next) {
        if (patched('2026-11-sandbox-table')) leaving = true;
        await deal(next.letter);
        const { status, detail, failureType } = state;
        if (!mailbox.some(({ letter }) => letter.kind === 'resume')) starting = undefined;
        next.settle({ status, detail, failureType });
      } else {
        // A letter that comes meanwhile is dealt with first: its sender waits for it.
        await condition(() => allHandlersFinished() || mailbox.length > 0);
        if (mailbox.length === 0) await continueAsNew<typeof lifeOf010>(state);
      }
    }
    const gone = {
      status: 'MISSING' as const,
      detail: 'the sandbox was deleted',
      failureType: 'SandboxDeleted',
    };
    for (const { settle } of mailbox.splice(0)) settle(gone);
    await condition(allHandlersFinished);
  });
}
