/**
 * Records the histories that later versions must be able to replay: `node --import tsx tests/support/record-histories.ts`
 * once per release. Payloads come from fakes, not from people, and are encrypted with the master key of the tests.
 */
import { WithStartWorkflowOperation } from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';
import { TestWorkflowEnvironment } from '@temporalio/testing';
import { randomUUID } from 'node:crypto';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startEmbeddedTemporal } from '../../cli/embedded/temporal.js';
import { ensureTemporalCli } from '../../cli/provision/temporal-cli.js';
import {
  hostTaskQueue,
  PLACEMENT_TASK_QUEUE,
  sandboxPoolWorkflowId,
  TASK_QUEUE,
} from '../../contract/ids.js';
import type { PoolPlan } from '../../contract/sandbox-pool.js';
import {
  acceptedUpdate,
  callbacksQueuedSignal,
  CONVERSATION_WORKFLOW,
  conversationDeletedSignal,
  ensureRunningUpdate,
  MAINTENANCE_WORKFLOW,
  observedSignal,
  poolCloseSignal,
  poolRecycleSignal,
  runEndedSignal,
  SANDBOX_POOL_WORKFLOW,
  SANDBOX_WORKFLOW,
  sandboxSignal,
  sandboxUpdate,
  START_CONVERSATION_WORKFLOW,
} from '../../workflows/messages.js';
import packageJson from '../../package.json' with { type: 'json' };
import { FakeConversation } from './fake-conversation.js';
import { FakeHost } from './fake-host.js';
import { FakePhases } from './fake-phases.js';
import { withoutStacks } from './recorded-payloads.js';
import { bundleWorkflows, createTestWorker, dataConverter } from './temporal.js';

const HISTORIES = fileURLToPath(new URL('../replay/histories/', import.meta.url));

const directory = mkdtempSync(join(tmpdir(), 'callboard-histories-'));
const log = (line: string): void => void process.stderr.write(`${line}\n`);
const temporal = await startEmbeddedTemporal({
  cli: await ensureTemporalCli({ env: process.env, note: log }),
  dataDir: directory,
  log,
});
const environment = await TestWorkflowEnvironment.createFromExistingServer({
  address: temporal.address,
  namespace: 'default',
  client: { dataConverter },
});
const workflowBundle = await bundleWorkflows();
const host = new FakeHost('recorded-host');
host.idlenessOfBoot = { state: 'wait', waitMs: 600_000 };
const phases = new FakePhases();
const conversation = new FakeConversation();
const counted = () => Promise.resolve({ repaired: 1 });
/** What the pool is told at its looks, in their order. */
const plans: Partial<PoolPlan>[] = [{ make: 2 }, {}, { make: 1, retire: ['old'] }, {}];
const pool = {
  surveyPool: (): Promise<PoolPlan> =>
    Promise.resolve({
      make: 0,
      retire: [],
      lookAgainMs: 60_000,
      isOver: false,
      report: { at: new Date(0).toISOString(), target: 2, ready: 0, booting: 0 },
      ...plans.shift(),
    }),
  bootWarmSandbox: () => Promise.resolve(),
  retireWarmSandboxes: (ids: string[]) => Promise.resolve(ids.length),
};
const sweeps = {
  sweepStarts: counted,
  sweepConversations: counted,
  sweepSandboxActors: counted,
  reconcileRunningSandboxes: counted,
  expireRecords: counted,
  sandboxHosts: () => Promise.resolve([host.hostId]),
};
const workers = await Promise.all([
  createTestWorker(environment, {
    taskQueue: TASK_QUEUE,
    workflowBundle,
    activities: {
      ...host.rowActivities,
      ...phases.activities,
      ...conversation.activities,
      ...sweeps,
      ...pool,
    },
  }),
  createTestWorker(environment, { taskQueue: PLACEMENT_TASK_QUEUE, activities: host.hostActivities }),
  createTestWorker(environment, {
    taskQueue: hostTaskQueue(host.hostId),
    activities: { ...host.hostActivities, sweepHost: counted },
  }),
]);
const runs = workers.map((worker) => worker.run());
const { workflow } = environment.client;

/** Names of this machine and paths on it do not belong into a recorded history. */
function withoutTraces(key: string, value: unknown): unknown {
  if (key === 'stackTrace') return '';
  if (key === 'identity') return 'recorder';
  if (key === 'name' && typeof value === 'string' && /^\d+@/.test(value)) return 'sticky-queue';
  return value;
}

/** Runs one case to its end and writes its history, unless this version has recorded it already. */
async function record(name: string, run: (id: string) => Promise<string>): Promise<void> {
  const file = join(HISTORIES, `${packageJson.version}--${name}.json`);
  if (existsSync(file)) return log(`kept ${file}`);
  const workflowId = await run(randomUUID());
  const handle = workflow.getHandle(workflowId);
  await handle.result().catch((err: unknown) => log(`${name} ended with ${String(err)}, as it should`));
  const history: unknown = await withoutStacks(JSON.parse(historyToJSON(await handle.fetchHistory())));
  writeFileSync(file, JSON.stringify(history, withoutTraces, 1));
  log(`wrote ${file}`);
}

const startOf = (taskId: string) => ({
  workflowId: `start-task/${taskId}`,
  taskQueue: TASK_QUEUE,
  args: [{ taskId }],
});

const start = async (taskId: string): Promise<string> => {
  const { workflowId } = await workflow.start(START_CONVERSATION_WORKFLOW, startOf(taskId));
  return workflowId;
};

/** As an API of 0.4.0 does it, which may run beside workers of today. */
const startByUpdate = async (taskId: string): Promise<string> => {
  const operation = new WithStartWorkflowOperation(START_CONVERSATION_WORKFLOW, {
    ...startOf(taskId),
    workflowIdConflictPolicy: 'USE_EXISTING',
  });
  await workflow.executeUpdateWithStart(acceptedUpdate, { startWorkflowOperation: operation });
  return `start-task/${taskId}`;
};

await record('startConversation--ready', start);
await record('startConversation--by-update', startByUpdate);
await record('startConversation--bare', async (id) => {
  phases.repository = { hasSetupScript: false, hasPreCommitHook: false };
  return start(id);
});
await record('startConversation--in-one-step', async (id) => {
  phases.isBare = true;
  return start(id);
});
phases.isBare = false;
await record('startConversation--error', async (id) => {
  phases.failing = { prepareRepository: ApplicationFailure.nonRetryable('git clone failed', 'CloneFailed') };
  return start(id);
});
await record('sandbox--whole-life', async (id) => {
  const handle = await workflow.start(SANDBOX_WORKFLOW, {
    workflowId: `sandbox/${id}`,
    taskQueue: TASK_QUEUE,
    args: [{ sandboxId: id, status: 'STARTING' }],
  });
  await handle.executeUpdate(ensureRunningUpdate);
  await handle.signal(sandboxSignal('pause'));
  await handle.executeUpdate(sandboxUpdate('resume'));
  host.things.delete(id);
  await handle.signal(observedSignal, { state: 'gone', exitCode: 137 });
  await handle.executeUpdate(ensureRunningUpdate);
  await handle.executeUpdate(sandboxUpdate('delete'));
  return handle.workflowId;
});
await record('conversation--callbacks-and-deletion', async (id) => {
  const options = { workflowId: `conversation/${id}`, taskQueue: TASK_QUEUE, args: [{ conversationId: id }] };
  conversation.queued = 2;
  conversation.unreferencedSandboxId = `box-${id}`;
  await workflow.signalWithStart(CONVERSATION_WORKFLOW, { ...options, signal: callbacksQueuedSignal });
  await workflow.signalWithStart(CONVERSATION_WORKFLOW, { ...options, signal: runEndedSignal });
  await workflow.signalWithStart(CONVERSATION_WORKFLOW, { ...options, signal: conversationDeletedSignal });
  return options.workflowId;
});

await record('maintenance--round', async (id) => {
  const handle = await workflow.start(MAINTENANCE_WORKFLOW, {
    workflowId: `maintenance/${id}`,
    taskQueue: TASK_QUEUE,
    args: [],
  });
  return handle.workflowId;
});

await record('sandboxPool--refill-recycle-close', async (specId) => {
  const workflowId = sandboxPoolWorkflowId(specId);
  const handle = await workflow.start(SANDBOX_POOL_WORKFLOW, {
    workflowId,
    taskQueue: TASK_QUEUE,
    args: [{ specId }],
  });
  const looked = async (times: number): Promise<void> => {
    while (plans.length > 4 - times) await new Promise((resolve) => setTimeout(resolve, 50));
  };
  await looked(2);
  await handle.signal(poolRecycleSignal);
  await looked(4);
  await handle.signal(poolCloseSignal);
  return workflowId;
});

for (const worker of workers) worker.shutdown();
await Promise.all(runs);
await environment.teardown();
await temporal.stop();
rmSync(directory, { recursive: true, force: true });
