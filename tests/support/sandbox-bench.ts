/** The sandbox actor on a real Temporal server, over a host in memory. */
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { randomUUID } from 'node:crypto';
import { hostTaskQueue, PLACEMENT_TASK_QUEUE, sandboxWorkflowId } from '../../contract/ids.js';
import {
  SANDBOX_WORKFLOW,
  sandboxAcceptedUpdate,
  sandboxStateQuery,
  type SandboxState,
} from '../../workflows/messages.js';
import { FakeHost } from './fake-host.js';
import { bundleWorkflows, connectTemporal, createTestWorker, uniqueTaskQueue } from './temporal.js';

export type SandboxActor = Awaited<ReturnType<SandboxBench['start']>>;

export class SandboxBench {
  readonly host = new FakeHost(`host-${randomUUID()}`);
  readonly taskQueue = uniqueTaskQueue();

  #stopGeneral: () => Promise<void> = () => Promise.resolve();

  private constructor(
    readonly environment: TestWorkflowEnvironment,
    private readonly stopWorkers: (() => Promise<void>)[],
  ) {}

  /** @param bundle the product's workflows if left out */
  static async open(bundle = bundleWorkflows()): Promise<SandboxBench> {
    const [environment, workflowBundle] = await Promise.all([connectTemporal(), bundle]);
    const bench = new SandboxBench(environment, []);
    bench.#stopGeneral = await bench.work({
      taskQueue: bench.taskQueue,
      workflowBundle,
      activities: bench.host.rowActivities,
    });
    for (const taskQueue of [PLACEMENT_TASK_QUEUE, hostTaskQueue(bench.host.hostId)]) {
      await bench.work({ taskQueue, activities: bench.host.hostActivities });
    }
    return bench;
  }

  /** Ends the worker of the workflows; another may take its place. */
  stopGeneral(): Promise<void> {
    return this.#stopGeneral();
  }

  /** Starts one more worker; the returned function stops it. */
  async work(options: Parameters<typeof createTestWorker>[1]): Promise<() => Promise<void>> {
    const worker = await createTestWorker(this.environment, options);
    const run = worker.run();
    const stop = async () => {
      if (worker.getState() === 'RUNNING') worker.shutdown();
      await run;
    };
    this.stopWorkers.push(stop);
    return stop;
  }

  async start(state: Partial<SandboxState> = {}) {
    const sandboxId = state.sandboxId ?? randomUUID();
    const handle = await this.environment.client.workflow.start(SANDBOX_WORKFLOW, {
      workflowId: sandboxWorkflowId(sandboxId),
      taskQueue: this.taskQueue,
      args: [{ status: 'STARTING', ...state, sandboxId }],
    });
    return Object.assign(handle, { sandboxId });
  }

  /** An actor whose sandbox is as its status says. */
  async startIn(status: SandboxState['status'], state: Partial<SandboxState> = {}) {
    const sandboxId = randomUUID();
    if (status === 'RUNNING' || status === 'PAUSED') {
      this.host.things.set(sandboxId, status === 'RUNNING' ? 'running' : 'paused');
    }
    return this.start({ sandboxId, status, hostId: this.host.hostId, ...state });
  }

  /** Resolves when everything sent so far has reached the actor and, if it needs no activity, been dealt with. */
  async reached(actor: SandboxActor): Promise<SandboxState> {
    await actor.executeUpdate(sandboxAcceptedUpdate);
    return actor.query(sandboxStateQuery);
  }

  /** Activities of one sandbox so far, looks at idleness and fetched events aside. */
  actionsOf(sandboxId: string): string[] {
    return this.host.calls
      .filter((call) => call.endsWith(` ${sandboxId}`))
      .map((call) => call.split(' ')[0] ?? '')
      .filter((activity) => activity !== 'judgeIdleness' && activity !== 'catchUpSandbox');
  }

  async close(): Promise<void> {
    await Promise.all(this.stopWorkers.map((stop) => stop()));
    await this.environment.teardown();
  }
}
