import {
  ActivityFailure,
  isCancellation,
  log,
  proxyActivities,
  TimeoutFailure,
  type ActivityOptions,
} from '@temporalio/workflow';
import type { MaintenanceActivities } from '../activities/maintenance-activities.js';
import type { ReconcileActivities } from '../activities/reconcile-activities.js';
import type { ActorSweepActivities, HostSweepActivities } from '../activities/sandbox-sweep-activities.js';
import { hostTaskQueue } from '../contract/ids.js';
import { explain, logTimeout } from './failures.js';

/** The next round is a few minutes away: better to go on with the rest than to insist. */
const ONE_SWEEP: ActivityOptions = {
  startToCloseTimeout: '10m',
  scheduleToCloseTimeout: '15m',
  heartbeatTimeout: '1m',
  retry: { initialInterval: '1s', maximumInterval: '10s', maximumAttempts: 3 },
};

const { sweepStarts, sweepConversations, expireRecords } = proxyActivities<MaintenanceActivities>(ONE_SWEEP);
const { sweepSandboxActors, sandboxHosts } = proxyActivities<ActorSweepActivities>(ONE_SWEEP);

const { reconcileRunningSandboxes } = proxyActivities<ReconcileActivities>(ONE_SWEEP);

const onHost = (hostId: string) =>
  proxyActivities<HostSweepActivities>({
    ...ONE_SWEEP,
    taskQueue: hostTaskQueue(hostId),
    scheduleToStartTimeout: '10s', // a machine that is off, or busy, is swept in another round
    heartbeatTimeout: '2m',
  });

/** What a sweep has counted; a text says why it could not be done. */
export type SweepResult = Record<string, number> | string;

/** What one round has found and set right. */
export interface MaintenanceReport {
  sweeps: Record<string, SweepResult>;
  /** By host id. */
  hosts: Record<string, SweepResult>;
}

/** One round of maintenance, started by a schedule: what crashes have left between the systems is found and set right. */
export async function maintenance(): Promise<MaintenanceReport> {
  const report: MaintenanceReport = { sweeps: {}, hosts: {} };
  // One after another: they are in no hurry, and starts come first, whose sandboxes the next one looks at.
  report.sweeps['starts'] = await outcomeOf(sweepStarts);
  report.sweeps['conversations'] = await outcomeOf(sweepConversations);
  report.sweeps['sandboxes'] = await outcomeOf(sweepSandboxActors);
  report.sweeps['events'] = await outcomeOf(() => reconcileRunningSandboxes());
  report.sweeps['expiry'] = await outcomeOf(expireRecords);
  const hosts = await sandboxHosts();
  await Promise.all(
    hosts.map(async (hostId) => {
      report.hosts[hostId] = await outcomeOf(() => onHost(hostId).sweepHost());
    }),
  );
  if (deservesMention(report)) log.info('maintenance has found something', { ...report });
  return report;
}

/** One sweep that fails does not keep the others from being done. */
async function outcomeOf<Counts extends object>(
  sweep: () => Promise<Counts & Record<keyof Counts, number>>,
): Promise<SweepResult> {
  try {
    return Object.fromEntries(Object.entries<number>(await sweep()));
  } catch (err) {
    if (isCancellation(err)) throw err;
    if (isAway(err)) return 'away';
    logTimeout(err);
    const { message } = explain(err);
    log.warn('a sweep could not be done; the next round tries again', { reason: message });
    return message;
  }
}

const isAway = (err: unknown): boolean =>
  err instanceof ActivityFailure &&
  err.cause instanceof TimeoutFailure &&
  err.cause.timeoutType === 'SCHEDULE_TO_START';

/** What nobody can change from here is counted in each round, and logged by the host that sees it. */
const STANDING = new Set(['unknown', 'orphansLeft']);

const deservesMention = ({ sweeps, hosts }: MaintenanceReport): boolean =>
  [...Object.values(sweeps), ...Object.values(hosts)].some(
    (result) =>
      typeof result !== 'string' &&
      Object.entries(result).some(([name, count]) => count > 0 && !STANDING.has(name)),
  );
