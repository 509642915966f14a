import { availableParallelism } from 'node:os';
import { Client } from '@temporalio/client';
import { Worker, type WorkerOptions } from '@temporalio/worker';
import type { Logger } from 'pino';
import { adoptSandboxes } from '../activities/adopt-sandboxes.js';
import { databasePatience } from '../activities/database-patience.js';
import { failureMasking } from '../activities/failure-masking.js';
import { PublicSkills } from '../activities/public-skills.js';
import { createSandboxActors } from '../activities/sandbox-actors.js';
import type { Config } from '../config/config.js';
import { hostTaskQueue, PLACEMENT_TASK_QUEUE, TASK_QUEUE } from '../contract/ids.js';
import type { SecretMasker } from '../contract/secret-masker.js';
import { beginHostBeat } from './host-beat.js';
import { openCore } from './core.js';
import { hostIdentity } from './host-identity.js';
import { ensureMaintenanceSchedule } from './maintenance-schedule.js';
import { registerSearchAttributes } from './search-attributes.js';
import { encryptedData } from '../identity/data-converter.js';
import { temporalOptions } from './temporal-connection.js';
import { UserError } from './user-error.js';
import { openWarmPool, renewWarmPool } from './warm-pool.js';
import { generalActivities } from './worker-activities.js';
import { openSandboxHost, type SandboxHost } from './sandbox-host.js';
import { connectWorker } from './worker-connection.js';
import { endWithSandboxes } from './worker-end.js';
import { EVERY_WORKER, WORKFLOW_POLLS } from './worker-options.js';
import { LONG_TASKS, workflowBundle } from './workflow-bundle.js';

export interface WorkerStart {
  config: Config;
  databaseUrl: string;
  temporalAddress: string;
  /** Program and arguments that start an agent-server; null on a machine that owns no sandboxes. */
  agentServerCommand: readonly string[] | null;
  /** Address of the API as sandboxes of this machine reach it, without trailing slash. */
  internalUrl: string;
  /** Warm sandboxes where the settings do not say how many; none if left out. */
  warmByDefault?: number;
  logger: Logger;
  /** Told of the secrets that the worker comes to know. */
  masker: SecretMasker;
  signal: AbortSignal;
}

export interface RunningWorker {
  hostId: string;
  /** Settles when the worker has ended; rejects when it ended by a fault. */
  ended: Promise<void>;
  stop(): Promise<void>;
  /**
   * Stops, and ends the sandboxes of this machine too: they are PAUSED then, and go on in their directories when
   * resumed. Those in which a start is under way are left alone, so that the start goes on after a restart.
   */
  stopWithSandboxes(): Promise<void>;
}

/** How long activities may take to let go when they are handed over, in milliseconds. */
const HANDOVER_MS = 10_000;

/** Starts at the same time on one machine: each agent-server's boot is five seconds of one core. */
const PARALLEL_BOOTS = 20;

/**
 * Runs workflows and activities, and owns the sandboxes of this machine. Connects to Temporal for as long as it takes.
 */
export async function startWorker(start: WorkerStart): Promise<RunningWorker> {
  const { config, logger, masker } = start;
  const bundle = workflowBundle(config.temporal.workflowStackTraces);
  const core = await openCore(config, start.databaseUrl, { logger, masker });
  const options = await temporalOptions(config, start.temporalAddress);
  const connection = await connectWorker(options, logger, start.signal);
  const { namespace } = config.temporal;
  const dataConverter = encryptedData(core.keys);
  const client = new Client({ connection, namespace, dataConverter });
  if (!(await registerSearchAttributes(client.connection, namespace))) {
    logger.warn({ namespace }, 'Temporal refused to register search attributes: register them by hand');
  }
  await ensureMaintenanceSchedule(client, config.maintenance).catch((err: unknown) => {
    logger.warn({ err }, 'the schedule of maintenance could not be set: what crashes leave behind stays');
  });
  const actors = createSandboxActors(client);
  const hostId = hostIdentity(config.data.hostDirectory);
  const publicSkills = new PublicSkills();
  const { agentServerCommand } = start;
  const host = agentServerCommand
    ? openSandboxHost({ ...start, agentServerCommand, core, actors, hostId, publicSkills })
    : null;
  const pool = openWarmPool({ config, core, client, logger }, start.warmByDefault ?? 0);
  const graceMs = config.server.shutdownGraceSeconds * 1000;
  // Activities still under way after the grace are handed over: cancelled here, taken up by another worker at once.
  const shutdown = { shutdownGraceTime: graceMs, shutdownForceTime: graceMs + HANDOVER_MS };
  const interceptors = { activity: [failureMasking(masker), databasePatience(logger)] };
  const create = (worker: Partial<WorkerOptions> & { taskQueue: string }): Promise<Worker> =>
    Worker.create({
      connection,
      namespace,
      dataConverter,
      interceptors,
      ...EVERY_WORKER,
      ...shutdown,
      ...worker,
    });
  const workers = await Promise.all([
    create({
      taskQueue: TASK_QUEUE,
      workflowBundle: bundle,
      ...LONG_TASKS,
      ...WORKFLOW_POLLS,
      ...versioning(config),
      activities: generalActivities({ config, core, client, actors, pool, publicSkills, logger }),
    }),
    ...hostWorkers(host, hostId).map(create),
  ]);
  const runs = workers.map((worker) => worker.run());
  const ended = Promise.all(runs).then(() => undefined);
  const beat = host
    ? await beginHostBeat({
        hosts: pool.hosts,
        hostId,
        // A boot is one core's work: not all of them.
        parallelBoots: Math.max(Math.floor(availableParallelism() / 2), 1),
        availableMemory: () => process.availableMemory(),
        sandboxBytes: () => host.backend.expectedMemory(),
        logger,
      })
    : null;
  await renewWarmPool(pool, { hostId, actors }).catch((err: unknown) => {
    logger.warn({ err }, 'the pool of warm sandboxes could not be woken: starts boot their own');
  });
  if (host) {
    const { hostSandboxes: sandboxes } = core;
    const { backend, watcher } = host;
    const counts = await adoptSandboxes({ hostId, backend, sandboxes, watcher, actors });
    if (counts.adopted + counts.gone > 0) logger.info(counts, 'sandboxes of this machine looked through');
  }
  const stopPolling = async (): Promise<void> => {
    await beat?.stop();
    for (const worker of workers) if (worker.getState() === 'RUNNING') worker.shutdown();
    await Promise.allSettled(runs);
    await host?.watcher.stop();
  };
  const close = async (): Promise<void> => {
    await connection.close();
    await core.close();
  };
  return {
    hostId,
    ended,
    async stop() {
      await stopPolling();
      await close();
    },
    async stopWithSandboxes() {
      await endWithSandboxes({
        host,
        pool,
        hostId,
        sandboxes: core.hostSandboxes,
        actors,
        logger,
        connection,
        stopPolling,
      });
      await close();
    },
  };
}

/**
 * Starts stay with the version that began them, actors move to the current one by themselves. Off unless a deployment
 * is named: one worker has nobody to leave its old runs to.
 */
function versioning({ temporal: { deploymentName, buildId } }: Config): Partial<WorkerOptions> {
  if (deploymentName === null && buildId === null) return {};
  if (deploymentName === null || buildId === null) {
    throw new UserError(
      'TEMPORAL_DEPLOYMENT_NAME and TEMPORAL_WORKER_BUILD_ID belong together: set both, or none.',
    );
  }
  return {
    workerDeploymentOptions: {
      version: { deploymentName, buildId },
      useWorkerVersioning: true,
      defaultVersioningBehavior: 'PINNED',
    },
  };
}

function hostWorkers(host: SandboxHost | null, hostId: string) {
  if (!host) return [];
  const slots = { activities: host.activities, maxConcurrentActivityTaskExecutions: PARALLEL_BOOTS };
  return [
    { taskQueue: PLACEMENT_TASK_QUEUE, ...slots },
    { taskQueue: hostTaskQueue(hostId), ...slots },
  ];
}
