import { WithStartWorkflowOperation } from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import type { Worker, WorkflowBundleWithSourceMap } from '@temporalio/worker';
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { startTaskWorkflowId } from '../../contract/ids.js';
import { acceptedUpdate, START_CONVERSATION_WORKFLOW } from '../../workflows/messages.js';
import { FakePhases, STATUSES_OF_A_START } from '../support/fake-phases.js';
import { bundleWorkflows, connectTemporal, createTestWorker, uniqueTaskQueue } from '../support/temporal.js';

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
    Object.assign(phases, { failing: {}, isNew: true, isBare: false, hanging: null, calls: [] });
    phases.repository = { hasSetupScript: true, hasPreCommitHook: true };
  });
  afterAll(async () => {
    worker.shutdown();
    await run;
    await environment.teardown();
  });

  /** As an API of up to 0.4.0 does. */
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
  /** As the API does, which accepts it itself. */
  const start = (taskId: string, queue = taskQueue) =>
    environment.client.workflow.start(START_CONVERSATION_WORKFLOW, {
      workflowId: startTaskWorkflowId(taskId),
      taskQueue: queue,
      args: [{ taskId }],
    });
  const statuses = (taskId: string) => phases.steps.get(taskId)?.map((step) => step.status);
  const last = (taskId: string) => phases.steps.get(taskId)?.at(-1);

  it('passes through all statuses in order, each before its work', async () => {
    const taskId = randomUUID();
    const handle = await accept(taskId);
    expect(statuses(taskId)?.[0]).toBe('WORKING'); // accepted means stored
    await handle.result();
    expect(statuses(taskId)).toEqual(STATUSES_OF_A_START);
    expect(phases.steps.get(taskId)?.[1]?.fields).toEqual({ sandboxId: `box-${taskId}` });
    expect(last(taskId)?.fields).toEqual({ appConversationId: 'c0ffee' });
  });

  it('costs at most 38 events and 12 kB of history', async () => {
    phases.repository = { hasSetupScript: false, hasPreCommitHook: false };
    const handle = await start(randomUUID());
    await handle.result();
    const description = await handle.describe();
    expect(description.historyLength).toBeLessThanOrEqual(38);
    expect(description.historySize).toBeLessThanOrEqual(12_000);
  });

  it('does no work for what the repository does not have, and still passes the statuses', async () => {
    phases.repository = { hasSetupScript: false, hasPreCommitHook: false };
    const taskId = randomUUID();
    await (await accept(taskId)).result();
    expect(statuses(taskId)).toEqual(STATUSES_OF_A_START);
    expect(phases.calls.map((call) => call.split(' ')[0])).not.toContain('runSetupScript');
    expect(phases.calls.map((call) => call.split(' ')[0])).not.toContain('installGitHooks');
  });

  it('without repository is one step, for at most 14 events and 5 kB', async () => {
    Object.assign(phases, { isBare: true, repository: { hasSetupScript: false, hasPreCommitHook: false } });
    const taskId = randomUUID();
    const handle = await start(taskId);
    await handle.result();
    expect(statuses(taskId)).toEqual(STATUSES_OF_A_START);
    expect(last(taskId)?.fields).toEqual({ appConversationId: 'c0ffee' });
    expect(phases.calls.map((call) => call.split(' ')[0])).toEqual([
      'chooseSandbox',
      'awaitSandbox',
      'startBare',
    ]);
    const { historyLength, historySize } = await handle.describe();
    expect(historyLength).toBeLessThanOrEqual(14);
    expect(historySize).toBeLessThanOrEqual(5_000);
  });

  it('that had come to READY when its step was lost stays READY, and nothing of it is given back', async () => {
    const taskId = randomUUID();
    const lostQueue = uniqueTaskQueue();
    const lost = await createTestWorker(environment, {
      taskQueue: lostQueue,
      workflowBundle: bundle,
      activities: {
        ...fakes.activities,
        startInOneStep: async () => {
          await fakes.activities.acceptStartTask(taskId);
          await fakes.activities.advanceStartTask(taskId, 'READY', { appConversationId: 'c0ffee' });
          throw ApplicationFailure.nonRetryable('nobody has heard of it', 'Lost');
        },
        wakeForMessages: async (conversationId: string) => void phases.calls.push(`wake ${conversationId}`),
      },
    });
    await lost.runUntil(async () => {
      await (await start(taskId, lostQueue)).result();
    });
    expect(statuses(taskId)).toEqual(['WORKING', 'READY']);
    expect(phases.calls).toEqual(['wake c0ffee']);
  });

  it('without repository in a directory that holds a setup script runs it, in a step of its own', async () => {
    phases.isBare = true;
    const taskId = randomUUID();
    await (await accept(taskId)).result();
    expect(statuses(taskId)).toEqual(STATUSES_OF_A_START);
    expect(phases.calls).toContain(`runSetupScript ${taskId}`);
    expect(phases.calls).not.toContain(`prepareRepository ${taskId}`);
  });

  it.each([true, false])(
    'without repository that fails removes its conversation, and its own sandbox (own: %s)',
    async (isNew) => {
      const failing = { startBare: ApplicationFailure.nonRetryable('the agent-server refused', 'Refused') };
      const repository = { hasSetupScript: false, hasPreCommitHook: false };
      Object.assign(phases, { isBare: true, isNew, failing, repository });
      const taskId = randomUUID();
      await expect((await accept(taskId)).result()).rejects.toThrow();
      expect(last(taskId)).toEqual({ status: 'ERROR', fields: { detail: 'the agent-server refused' } });
      expect(phases.calls).toContain(`discardConversation ${taskId}`);
      expect(phases.calls.includes(`releaseSandbox box-${taskId}`)).toBe(isNew);
    },
  );

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

  it('that is cancelled before anybody has taken it up ends in ERROR as well', async () => {
    const taskId = randomUUID();
    const lateQueue = uniqueTaskQueue();
    const handle = await start(taskId, lateQueue);
    await handle.cancel();
    const late = await createTestWorker(environment, {
      taskQueue: lateQueue,
      workflowBundle: bundle,
      activities: fakes.activities,
    });
    await late.runUntil(expect(handle.result()).rejects.toThrow());
    expect(last(taskId)).toEqual({ status: 'ERROR', fields: { detail: 'cancelled', cancelled: true } });
  });

  it('that is cancelled ends in ERROR with detail `cancelled`, and compensates', async () => {
    phases.hanging = 'runSetupScript';
    const taskId = randomUUID();
    const handle = await accept(taskId);
    await vi.waitFor(() => expect(phases.calls).toContain(`runSetupScript ${taskId}`), 90_000);
    await handle.cancel();
    await expect(handle.result()).rejects.toThrow();
    expect(last(taskId)).toEqual({ status: 'ERROR', fields: { detail: 'cancelled', cancelled: true } });
    expect(phases.calls).toContain(`releaseSandbox box-${taskId}`);
    expect((await handle.describe()).status.name).toBe('CANCELLED');
  });

  it('whose request was withdrawn takes nothing, and gives nothing back', async () => {
    const taskId = randomUUID();
    const withdrawnQueue = uniqueTaskQueue();
    const withdrawn = await createTestWorker(environment, {
      taskQueue: withdrawnQueue,
      workflowBundle: bundle,
      activities: {
        ...fakes.activities,
        startInOneStep: () =>
          Promise.reject(ApplicationFailure.nonRetryable('it does not exist', 'StartRequestMissing')),
      },
    });
    await withdrawn.runUntil(async () => {
      const handle = await start(taskId, withdrawnQueue);
      await expect(handle.result()).rejects.toThrow();
    });
    expect(phases.calls).toEqual([]);
    expect(statuses(taskId)).toBeUndefined();
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
      30_000,
    );
    expect(phases.calls.filter((call) => call === `createConversation ${taskId}`)).toHaveLength(1);
  });
});
