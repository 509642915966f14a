import { Context } from '@temporalio/activity';
import { WithStartWorkflowOperation } from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import type { Worker, WorkflowBundleWithSourceMap } from '@temporalio/worker';
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { startTaskWorkflowId } from '../../contract/ids.js';
import type { StartStatus } from '../../contract/start-task.js';
import { acceptedUpdate, START_CONVERSATION_WORKFLOW } from '../../workflows/messages.js';
import { bundleWorkflows, connectTemporal, createTestWorker, uniqueTaskQueue } from '../support/temporal.js';

const ALL_STATUSES: StartStatus[] = [
  'WORKING',
  'WAITING_FOR_SANDBOX',
  'PREPARING_REPOSITORY',
  'RUNNING_SETUP_SCRIPT',
  'SETTING_UP_GIT_HOOKS',
  'SETTING_UP_SKILLS',
  'STARTING_CONVERSATION',
  'READY',
];

interface Step {
  status: StartStatus;
  fields?: object;
}

/** Phases that do nothing, note that they were asked, and can be told to fail. */
class FakePhases {
  steps = new Map<string, Step[]>();
  calls: string[] = [];
  failing: Partial<Record<string, Error>> = {};
  isNew = true;
  repository = { hasSetupScript: true, hasPreCommitHook: true };
  hanging: string | null = null;

  private async phase<T>(name: string, taskId: string, result: T): Promise<T> {
    this.calls.push(`${name} ${taskId}`);
    while (this.hanging === name) {
      Context.current().heartbeat();
      await Context.current().sleep(20);
    }
    const failure = this.failing[name];
    if (failure) throw failure;
    return result;
  }

  activities = {
    acceptStartTask: async (taskId: string) => {
      const ended = this.steps.has(taskId);
      if (!ended) this.steps.set(taskId, [{ status: 'WORKING' }]);
      return { limits: { cloneSeconds: 60, setupScriptSeconds: 60 }, ended };
    },
    chooseSandbox: (taskId: string) => {
      this.steps.get(taskId)?.push({ status: 'WAITING_FOR_SANDBOX', fields: { sandboxId: `box-${taskId}` } });
      return this.phase('chooseSandbox', taskId, { id: `box-${taskId}`, isNew: this.isNew });
    },
    advanceStartTask: async (taskId: string, status: StartStatus, fields?: object) =>
      void this.steps.get(taskId)?.push({ status, ...(fields ? { fields } : {}) }),
    awaitSandbox: (taskId: string) =>
      this.phase('awaitSandbox', taskId, { agentServerUrl: 'http://127.0.0.1:1' }),
    prepareRepository: (taskId: string) => this.phase('prepareRepository', taskId, this.repository),
    runSetupScript: (taskId: string) => this.phase('runSetupScript', taskId, { exitCode: 0 }),
    installGitHooks: (taskId: string) => this.phase('installGitHooks', taskId, undefined),
    prepareSkills: (taskId: string) => this.phase('prepareSkills', taskId, undefined),
    createConversation: (taskId: string) =>
      this.phase('createConversation', taskId, {
        agentServerUrl: 'http://127.0.0.1:1',
        conversationId: 'c0ffee',
      }),
    releaseSandbox: async (sandboxId: string) => void this.calls.push(`releaseSandbox ${sandboxId}`),
    discardConversation: async (taskId: string) => void this.calls.push(`discardConversation ${taskId}`),
  };
}

describe('a start', () => {
  let environment: TestWorkflowEnvironment;
  let bundle: WorkflowBundleWithSourceMap;
  let worker: Worker;
  let run: Promise<void>;
  let phases: FakePhases;
  const taskQueue = uniqueTaskQueue();
  const fakes = new FakePhases();

  beforeAll(async () => {
    [environment, bundle] = await Promise.all([connectTemporal(), bundleWorkflows()]);
    worker = await createTestWorker(environment, {
      taskQueue,
      workflowBundle: bundle,
      activities: fakes.activities,
    });
    run = worker.run();
  });
  beforeEach(() => {
    phases = fakes;
    Object.assign(phases, { failing: {}, isNew: true, hanging: null, calls: [] });
    phases.repository = { hasSetupScript: true, hasPreCommitHook: true };
  });
  afterAll(async () => {
    worker.shutdown();
    await run;
    await environment.teardown();
  });

  const accept = async (taskId: string) => {
    const operation = new WithStartWorkflowOperation(START_CONVERSATION_WORKFLOW, {
      workflowId: startTaskWorkflowId(taskId),
      taskQueue,
      args: [{ taskId }],
      workflowIdConflictPolicy: 'USE_EXISTING',
    });
    await environment.client.workflow.executeUpdateWithStart(acceptedUpdate, {
      startWorkflowOperation: operation,
    });
    return operation.workflowHandle();
  };
  const statuses = (taskId: string) => phases.steps.get(taskId)?.map((step) => step.status);
  const last = (taskId: string) => phases.steps.get(taskId)?.at(-1);

  it('passes through all statuses in order, each before its work', async () => {
    const taskId = randomUUID();
    const handle = await accept(taskId);
    expect(statuses(taskId)?.[0]).toBe('WORKING'); // accepted means stored
    await handle.result();
    expect(statuses(taskId)).toEqual(ALL_STATUSES);
    expect(phases.steps.get(taskId)?.[1]?.fields).toEqual({ sandboxId: `box-${taskId}` });
    expect(last(taskId)?.fields).toEqual({ appConversationId: 'c0ffee' });
  });

  it('costs at most 45 events and 15 kB of history', async () => {
    phases.repository = { hasSetupScript: false, hasPreCommitHook: false };
    const handle = await accept(randomUUID());
    await handle.result();
    const description = await handle.describe();
    expect(description.historyLength).toBeLessThanOrEqual(45);
    expect(description.historySize).toBeLessThanOrEqual(15_000);
  });

  it('does no work for what the repository does not have, and still passes the statuses', async () => {
    phases.repository = { hasSetupScript: false, hasPreCommitHook: false };
    const taskId = randomUUID();
    await (await accept(taskId)).result();
    expect(statuses(taskId)).toEqual(ALL_STATUSES);
    expect(phases.calls.map((call) => call.split(' ')[0])).not.toContain('runSetupScript');
    expect(phases.calls.map((call) => call.split(' ')[0])).not.toContain('installGitHooks');
  });

  it('that fails ends in ERROR with the reason, and gives back the sandbox it had made', async () => {
    phases.failing = {
      prepareRepository: ApplicationFailure.nonRetryable(
        'git clone failed with exit code 128',
        'CloneFailed',
      ),
    };
    const taskId = randomUUID();
    const handle = await accept(taskId);
    await expect(handle.result()).rejects.toThrow();
    expect(last(taskId)).toEqual({
      status: 'ERROR',
      fields: { detail: 'git clone failed with exit code 128' },
    });
    expect(phases.calls).toContain(`releaseSandbox box-${taskId}`);
  });

  it('that fails in a sandbox it was given leaves the sandbox and removes its conversation', async () => {
    phases.isNew = false;
    phases.failing = {
      createConversation: ApplicationFailure.nonRetryable('the agent-server refused', 'Refused'),
    };
    const taskId = randomUUID();
    await expect((await accept(taskId)).result()).rejects.toThrow();
    expect(phases.calls).toContain(`discardConversation ${taskId}`);
    expect(phases.calls.some((call) => call.startsWith('releaseSandbox'))).toBe(false);
  });

  it('that is cancelled ends in ERROR with detail `cancelled`, and compensates', async () => {
    phases.hanging = 'runSetupScript';
    const taskId = randomUUID();
    const handle = await accept(taskId);
    await vi.waitFor(() => expect(phases.calls).toContain(`runSetupScript ${taskId}`), 10_000);
    await handle.cancel();
    await expect(handle.result()).rejects.toThrow();
    expect(last(taskId)).toEqual({ status: 'ERROR', fields: { detail: 'cancelled' } });
    expect(phases.calls).toContain(`releaseSandbox box-${taskId}`);
    expect((await handle.describe()).status.name).toBe('CANCELLED');
  });

  it('asked for twice runs once', async () => {
    const taskId = randomUUID();
    const [first] = await Promise.all([accept(taskId), accept(taskId)]);
    await first.result();
    await accept(taskId); // after its end
    await vi.waitFor(
      async () =>
        expect(
          (await environment.client.workflow.getHandle(startTaskWorkflowId(taskId)).describe()).status.name,
        ).toBe('COMPLETED'),
      10_000,
    );
    expect(phases.calls.filter((call) => call === `createConversation ${taskId}`)).toHaveLength(1);
  });
});
