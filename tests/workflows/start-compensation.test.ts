/** What a start gives back, for every phase in which it can end and every way of ending there. */
import { Context } from '@temporalio/activity';
import { ApplicationFailure, CancelledFailure } from '@temporalio/common';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import type { Worker, WorkflowBundleWithSourceMap } from '@temporalio/worker';
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { startTaskWorkflowId } from '../../contract/ids.js';
import { createWholeStart } from '../../activities/start/whole-start.js';
import type { StartStatus } from '../../contract/start-task.js';
import { START_CONVERSATION_WORKFLOW } from '../../workflows/messages.js';
import { bundleWorkflows, connectTemporal, createTestWorker, uniqueTaskQueue } from '../support/temporal.js';

type Ending = 'failure' | 'timeout' | 'cancel' | 'handovers';

const PHASES: [StartStatus, string][] = [
  ['WAITING_FOR_SANDBOX', 'awaitSandbox'],
  ['PREPARING_REPOSITORY', 'prepareRepository'],
  ['RUNNING_SETUP_SCRIPT', 'runSetupScript'],
  ['SETTING_UP_GIT_HOOKS', 'installGitHooks'],
  ['SETTING_UP_SKILLS', 'prepareSkills'],
  ['STARTING_CONVERSATION', 'createConversation'],
];
/** Phases that a setting limits. */
const LIMITED = new Set(['prepareRepository', 'runSetupScript']);
/** To each limit the workflow adds a minute: that leaves two seconds. */
const SHORT = { cloneSeconds: -58, setupScriptSeconds: -58, handoverSeconds: 0 };
const CASES = PHASES.flatMap(([status, activity]) =>
  (['failure', 'cancel', ...(LIMITED.has(activity) ? ['timeout' as const] : [])] as const).flatMap((ending) =>
    [true, false].map((isNew) => ({ taskId: randomUUID(), status, activity, ending, isNew })),
  ),
);

/** More than any number of tries. */
const HANDOVERS = 4;

interface Plan {
  at: string;
  ending: Ending;
  isNew: boolean;
}

/** What a start did, in order. */
interface Trace {
  statuses: StartStatus[];
  error: { detail?: string; cancelled?: boolean } | null;
  /** Phase that is reached. */
  reached: string | null;
  released: string[];
}

/** Phases that end as planned for each task. */
class PlannedPhases {
  readonly plans = new Map<string, Plan>();
  readonly traces = new Map<string, Trace>();
  readonly #silent: (() => void)[] = [];

  /** Lets activities end that nobody waits for any more. */
  end(): void {
    for (const end of this.#silent) end();
  }

  trace(taskId: string): Trace {
    const known = this.traces.get(taskId);
    if (known) return known;
    const trace: Trace = { statuses: [], error: null, reached: null, released: [] };
    this.traces.set(taskId, trace);
    return trace;
  }

  async #phase<Result>(name: string, taskId: string, result: Result): Promise<Result> {
    const plan = this.plans.get(taskId);
    if (plan?.at !== name) return result;
    this.trace(taskId).reached = name;
    switch (plan.ending) {
      case 'failure':
        throw ApplicationFailure.nonRetryable(`${name} went wrong: exit code 7. Do this.`, 'WentWrong');
      case 'timeout':
        Context.current().heartbeat({ phase: 'working on it' });
        await new Promise<void>((end) => this.#silent.push(end)); // not heard of again
        return result;
      case 'handovers':
        if (Context.current().info.attempt <= HANDOVERS) throw new CancelledFailure('WORKER_SHUTDOWN');
        return result;
      case 'cancel':
        for (;;) {
          Context.current().heartbeat();
          await Context.current().sleep(20);
        }
    }
  }

  readonly #parts = {
    acceptStartTask: async (taskId: string) => {
      const { statuses } = this.trace(taskId);
      if (statuses.length === 0) statuses.push('WORKING');
      const limits =
        this.plans.get(taskId)?.ending === 'timeout' ? SHORT : { cloneSeconds: 60, setupScriptSeconds: 60 };
      return { limits, ended: false, status: statuses.at(-1)!, conversationId: 'c0ffee' };
    },
    chooseSandbox: async (taskId: string) => {
      this.trace(taskId).statuses.push('WAITING_FOR_SANDBOX');
      return { id: `box-${taskId}`, isNew: this.plans.get(taskId)?.isNew ?? true };
    },
    advanceStartTask: async (taskId: string, status: StartStatus, fields: object = {}) => {
      const trace = this.trace(taskId);
      const was = trace.statuses.at(-1);
      trace.statuses.push(status);
      if (status === 'ERROR') trace.error = { ...fields };
      return { was };
    },
    awaitSandbox: (taskId: string) =>
      this.#phase('awaitSandbox', taskId, { agentServerUrl: 'http://127.0.0.1:1' }),
    prepareRepository: (taskId: string) =>
      this.#phase('prepareRepository', taskId, { hasSetupScript: true, hasPreCommitHook: true }),
    runSetupScript: (taskId: string) => this.#phase('runSetupScript', taskId, { exitCode: 0 }),
    installGitHooks: (taskId: string) => this.#phase('installGitHooks', taskId, null),
    prepareSkills: (taskId: string) => this.#phase('prepareSkills', taskId, null),
    createConversation: (taskId: string) =>
      this.#phase('createConversation', taskId, { agentServerUrl: '', conversationId: 'c0ffee' }),
    startBare: () => Promise.reject(new Error('all of these have a repository')),
    giveBackSandbox: async (taskId: string) => {
      if (this.plans.get(taskId)?.isNew) this.trace(taskId).released.push('sandbox');
    },
    discardConversation: async (taskId: string) => void this.trace(taskId).released.push('conversation'),
  };

  activities = { ...this.#parts, ...createWholeStart(this.#parts) };
}

describe('a start that ends', () => {
  let environment: TestWorkflowEnvironment;
  let bundle: WorkflowBundleWithSourceMap;
  let worker: Worker;
  let run: Promise<void>;
  const taskQueue = uniqueTaskQueue();
  const phases = new PlannedPhases();

  beforeAll(async () => {
    const [connected, workflowBundle] = await Promise.all([connectTemporal(), bundleWorkflows()]);
    environment = connected;
    worker = await createTestWorker(environment, {
      taskQueue,
      workflowBundle,
      activities: phases.activities,
    });
    bundle = workflowBundle;
    run = worker.run();
    // All at once: each waits most of its time.
    await Promise.all(CASES.map(begin));
  });
  afterAll(async () => {
    phases.end();
    worker.shutdown();
    await run;
    await environment.teardown();
  });

  const start = (taskId: string) =>
    environment.client.workflow.start(START_CONVERSATION_WORKFLOW, {
      workflowId: startTaskWorkflowId(taskId),
      taskQueue,
      args: [{ taskId }],
    });

  /** Starts the case; a cancellation is sent when its phase is reached. */
  async function begin({ taskId, activity, ending, isNew }: (typeof CASES)[number]): Promise<void> {
    phases.plans.set(taskId, { at: activity, ending, isNew });
    const handle = await start(taskId);
    if (ending !== 'cancel') return;
    await vi.waitFor(() => expect(phases.trace(taskId).reached).toBe(activity), 60_000);
    await handle.cancel();
  }

  it.each(CASES)(
    'by $ending in $status, sandbox new: $isNew, gives back what it took, and only that',
    async ({ taskId, status, activity, ending, isNew }) => {
      const handle = environment.client.workflow.getHandle(startTaskWorkflowId(taskId));
      const trace = phases.trace(taskId);
      await expect(handle.result()).rejects.toThrow();

      expect(trace.statuses.at(-1)).toBe('ERROR');
      expect(trace.statuses.at(-2)).toBe(status);
      const begun = status === 'STARTING_CONVERSATION';
      expect(trace.released).toEqual([...(begun ? ['conversation'] : []), ...(isNew ? ['sandbox'] : [])]);
      const closed = (await handle.describe()).status.name;
      if (ending === 'cancel') {
        expect(trace.error).toEqual({ detail: 'cancelled', cancelled: true });
        expect(closed).toBe('CANCELLED');
      } else {
        expect(closed).toBe('FAILED');
        expect(trace.error?.cancelled).toBeUndefined();
        if (ending === 'failure') {
          expect(trace.error?.detail).toBe(`${activity} went wrong: exit code 7. Do this.`);
        } else {
          expect(trace.error?.detail).toMatch(
            /took longer than its time limit while working on it: raise [A-Z_]+_TIMEOUT_SECONDS/,
          );
        }
      }
    },
  );

  it.each([...LIMITED])('READY after %s was handed over from worker to worker many times', async (at) => {
    const taskId = randomUUID();
    phases.plans.set(taskId, { at, ending: 'handovers', isNew: true });
    await (await start(taskId)).result();
    expect(phases.trace(taskId)).toMatchObject({ released: [], error: null });
    expect(phases.trace(taskId).statuses.at(-1)).toBe('READY');
  });

  it('with a part that cannot be given back still gives back the rest', async () => {
    const taskId = randomUUID();
    phases.plans.set(taskId, { at: 'createConversation', ending: 'failure', isNew: true });
    const other = uniqueTaskQueue();
    const clumsy = await createTestWorker(environment, {
      taskQueue: other,
      workflowBundle: bundle,
      activities: {
        ...phases.activities,
        discardConversation: () => Promise.reject(ApplicationFailure.nonRetryable('it is locked', 'Locked')),
      },
    });
    await clumsy.runUntil(async () => {
      const handle = await environment.client.workflow.start(START_CONVERSATION_WORKFLOW, {
        workflowId: startTaskWorkflowId(taskId),
        taskQueue: other,
        args: [{ taskId }],
      });
      await expect(handle.result()).rejects.toThrow();
    });
    expect(phases.trace(taskId).released).toEqual(['sandbox']);
  });
});
