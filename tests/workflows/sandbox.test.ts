import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { WithStartWorkflowOperation, WorkflowUpdateFailedError } from '@temporalio/client';
import type { Worker, WorkflowBundleWithSourceMap } from '@temporalio/worker';
import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { hostTaskQueue, PLACEMENT_TASK_QUEUE, sandboxWorkflowId } from '../../contract/ids.js';
import {
  ensureRunningUpdate,
  observedSignal,
  SANDBOX_WORKFLOW,
  sandboxSignal,
  sandboxStateQuery,
  sandboxUpdate,
} from '../../workflows/messages.js';
import { FakeHost } from '../support/fake-host.js';
import { bundleWorkflows, connectTemporal, createTestWorker, uniqueTaskQueue } from '../support/temporal.js';

describe('the sandbox actor', () => {
  let environment: TestWorkflowEnvironment;
  let bundle: WorkflowBundleWithSourceMap;
  let host: FakeHost;
  let workers: Worker[];
  let runs: Promise<void>[];
  const taskQueue = uniqueTaskQueue();

  beforeAll(async () => {
    [environment, bundle] = await Promise.all([connectTemporal(), bundleWorkflows()]);
    host = new FakeHost(`host-${randomUUID()}`);
    workers = await Promise.all([
      createTestWorker(environment, { taskQueue, workflowBundle: bundle, activities: host.rowActivities }),
      createTestWorker(environment, { taskQueue: PLACEMENT_TASK_QUEUE, activities: host.hostActivities }),
      createTestWorker(environment, {
        taskQueue: hostTaskQueue(host.hostId),
        activities: host.hostActivities,
      }),
    ]);
    runs = workers.map((worker) => worker.run());
  });

  afterEach(() => {
    host.idlenessOfBoot = undefined;
  });
  afterAll(async () => {
    for (const worker of workers) worker.shutdown();
    await Promise.all(runs);
    await environment.teardown();
  });

  const start = async (id: string = randomUUID()) =>
    environment.client.workflow.start(SANDBOX_WORKFLOW, {
      workflowId: sandboxWorkflowId(id),
      taskQueue,
      args: [{ sandboxId: id, status: 'STARTING' }],
    });
  const idOf = (handle: { workflowId: string }) => handle.workflowId.slice('sandbox/'.length);

  it('is RUNNING once its boot is done, and says so to whoever waits', async () => {
    const handle = await start();
    expect(await handle.executeUpdate(ensureRunningUpdate)).toBe('RUNNING');
    expect((await handle.query(sandboxStateQuery)).hostId).toBe(host.hostId);
    await handle.executeUpdate(sandboxUpdate('delete'));
  });

  it('pauses, resumes and deletes by signal, and ends when deleted', async () => {
    const handle = await start();
    const id = idOf(handle);
    await handle.executeUpdate(ensureRunningUpdate);
    await handle.signal(sandboxSignal('pause'));
    await vi.waitFor(() => expect(host.things.get(id)).toBe('paused'), 90_000);
    await handle.signal(sandboxSignal('resume'));
    await vi.waitFor(() => expect(host.statuses(id)).toEqual(['PAUSED', 'RUNNING']), 90_000);
    await handle.signal(sandboxSignal('delete'));
    await handle.result();
    expect(host.things.has(id)).toBe(false);
    expect(host.statuses(id)).toEqual(['PAUSED', 'RUNNING', 'MISSING']);
  });

  it('answers updates of the same names when the order has been carried out', async () => {
    const handle = await start();
    await handle.executeUpdate(ensureRunningUpdate);
    expect(await handle.executeUpdate(sandboxUpdate('pause'))).toBe('PAUSED');
    expect(await handle.executeUpdate(sandboxUpdate('pause'))).toBe('PAUSED');
    expect(await handle.executeUpdate(sandboxUpdate('resume'))).toBe('RUNNING');
    expect(await handle.executeUpdate(sandboxUpdate('delete'))).toBe('MISSING');
  });

  it('refuses to pause what is in ERROR, without an event in its history', async () => {
    host.failBoot = 'the agent-server exited with code 127';
    const handle = await start();
    await vi
      .waitFor(async () => expect((await handle.query(sandboxStateQuery)).status).toBe('ERROR'), 10_000)
      .finally(() => (host.failBoot = null));
    const refuse = async (): Promise<number> => {
      const refusal = await handle.executeUpdate(sandboxUpdate('pause')).catch((err: unknown) => err);
      expect(refusal).toBeInstanceOf(WorkflowUpdateFailedError);
      expect((refusal as WorkflowUpdateFailedError).cause).toMatchObject({ type: 'SandboxStatusConflict' });
      return (await handle.describe()).historyLength;
    };
    const before = await refuse();
    expect(await refuse()).toBe(before);
    await handle.signal(sandboxSignal('delete'));
    await handle.result();
  });

  it('tells everyone who waits why its boot failed, and boots once for all of them', async () => {
    host.failBoot = 'the agent-server exited with code 127';
    const before = host.boots;
    const id = randomUUID();
    const waiting = [1, 2, 3].map(() =>
      environment.client.workflow
        .executeUpdateWithStart(ensureRunningUpdate, {
          startWorkflowOperation: new WithStartWorkflowOperation(SANDBOX_WORKFLOW, {
            workflowId: sandboxWorkflowId(id),
            taskQueue,
            args: [{ sandboxId: id, status: 'STARTING' }],
            workflowIdConflictPolicy: 'USE_EXISTING',
          }),
        })
        .catch((err: unknown) => err),
    );
    for (const err of await Promise.all(waiting)) {
      expect(err).toBeInstanceOf(WorkflowUpdateFailedError);
      expect((err as WorkflowUpdateFailedError).cause?.message).toBe('the agent-server exited with code 127');
    }
    host.failBoot = null;
    expect(host.boots - before).toBeLessThanOrEqual(2); // a late update may have asked for a second one
    const handle = environment.client.workflow.getHandle(sandboxWorkflowId(id));
    expect(await handle.executeUpdate(sandboxUpdate('resume'))).toBe('RUNNING');
    await handle.executeUpdate(sandboxUpdate('delete'));
  });

  it('becomes MISSING when its process dies, and runs again when resumed', async () => {
    const handle = await start();
    const id = idOf(handle);
    await handle.executeUpdate(ensureRunningUpdate);
    host.things.delete(id);
    await handle.signal(observedSignal, { state: 'gone', exitCode: 137 });
    await vi.waitFor(() => expect(host.statuses(id)).toContain('MISSING'), 90_000);
    expect((await handle.query(sandboxStateQuery)).detail).toContain('code 137');
    expect(await handle.executeUpdate(ensureRunningUpdate)).toBe('RUNNING');
    expect(host.things.get(id)).toBe('running');
    await handle.executeUpdate(sandboxUpdate('delete'));
  });

  it('numbers what it writes, each greater than the one before', async () => {
    const handle = await start();
    const id = idOf(handle);
    await handle.executeUpdate(ensureRunningUpdate);
    await handle.executeUpdate(sandboxUpdate('pause'));
    await handle.executeUpdate(sandboxUpdate('resume'));
    host.things.delete(id);
    await handle.signal(observedSignal, { state: 'gone', exitCode: 1 });
    await handle.executeUpdate(sandboxUpdate('resume'));
    expect(host.statuses(id)).toEqual(['PAUSED', 'RUNNING', 'MISSING', 'STARTING']);
    const revisions = host.revisions.get(id)!;
    expect(revisions).toHaveLength(6); // two of them by boots
    expect(revisions).toEqual([...new Set(revisions)].sort((one, other) => one - other));
    await handle.executeUpdate(sandboxUpdate('delete'));
  });

  it('writes its row again when that says something else than what was seen', async () => {
    const handle = await start();
    const id = idOf(handle);
    await handle.executeUpdate(ensureRunningUpdate);
    await handle.signal(observedSignal, { state: 'running', row: 'PAUSED', thing: host.thing(id) });
    await vi.waitFor(() => expect(host.statuses(id)).toEqual(['RUNNING']), 90_000);
    // Where the row is right, what was seen is what is new.
    await handle.signal(observedSignal, { state: 'paused', row: 'RUNNING', thing: host.thing(id) });
    await vi.waitFor(() => expect(host.statuses(id)).toEqual(['RUNNING', 'PAUSED']), 90_000);
    await handle.signal(observedSignal, { state: 'paused', row: 'RUNNING', thing: host.thing(id) });
    await vi.waitFor(() => expect(host.statuses(id)).toEqual(['RUNNING', 'PAUSED', 'PAUSED']), 90_000);
    await handle.executeUpdate(sandboxUpdate('delete'));
    expect(host.statuses(id)).toEqual(['RUNNING', 'PAUSED', 'PAUSED', 'MISSING']);
  });

  it('is deleted in the middle of its boot, and nothing of it is left', async () => {
    host.holdBoot = true;
    const handle = await start();
    const id = idOf(handle);
    await vi.waitFor(() => expect(host.things.has(id)).toBe(true), 90_000);
    await handle.signal(sandboxSignal('delete'));
    host.holdBoot = false;
    await handle.result();
    expect(host.things.has(id)).toBe(false);
  });

  it('is deleted in order when its workflow is cancelled', async () => {
    const handle = await start();
    const id = idOf(handle);
    await handle.executeUpdate(ensureRunningUpdate);
    await handle.cancel();
    await handle.result();
    expect(host.things.has(id)).toBe(false);
    expect(host.statuses(id).at(-1)).toBe('MISSING');
  });

  it('costs at most 100 events in a whole life', async () => {
    const handle = await start();
    await handle.executeUpdate(ensureRunningUpdate);
    await handle.executeUpdate(sandboxUpdate('pause'));
    await handle.executeUpdate(sandboxUpdate('resume'));
    await handle.executeUpdate(sandboxUpdate('pause'));
    await handle.executeUpdate(sandboxUpdate('delete'));
    await handle.result();
    expect((await handle.describe()).historyLength).toBeLessThanOrEqual(100);
  });

  it('sleeps after a while only when all that nobody has heard of it has been fetched', async () => {
    host.idleness = [{ state: 'idle' }, { state: 'off' }];
    const handle = await start();
    await vi.waitFor(
      async () => expect((await handle.query(sandboxStateQuery)).status).toBe('PAUSED'),
      30_000,
    );
    const calls = host.calls.filter((call) => call.endsWith(idOf(handle))).map((call) => call.split(' ')[0]);
    expect(calls).toEqual(['boot', 'judgeIdleness', 'catchUpSandbox', 'suspend']);
    await handle.executeUpdate(sandboxUpdate('delete'));
  });

  it('looks for the first time whether it is idle when its boot has said that it could be', async () => {
    host.idlenessOfBoot = { state: 'wait', waitMs: 1_500 };
    host.idleness = [{ state: 'idle' }];
    const handle = await start();
    const looks = () => host.calls.filter((call) => call === `judgeIdleness ${idOf(handle)}`);
    await handle.executeUpdate(ensureRunningUpdate);
    const { events } = await handle.fetchHistory();
    const timers = events?.flatMap(({ timerStartedEventAttributes: timer }) => timer ?? []) ?? [];
    expect(timers.map(({ startToFireTimeout }) => Number(startToFireTimeout?.seconds))).toEqual([1]);
    await vi.waitFor(
      async () => expect((await handle.query(sandboxStateQuery)).status).toBe('PAUSED'),
      30_000,
    );
    expect(looks()).toHaveLength(1);
    await handle.executeUpdate(sandboxUpdate('delete'));
  });

  it('does not look where sandboxes are never paused, until a machine that takes it over may have other settings', async () => {
    host.idlenessOfBoot = { state: 'off' };
    const handle = await start();
    await handle.executeUpdate(ensureRunningUpdate);
    const looks = () => host.calls.filter((call) => call === `judgeIdleness ${idOf(handle)}`);
    const { events } = await handle.fetchHistory();
    expect(events?.filter(({ timerStartedEventAttributes: timer }) => timer)).toEqual([]);
    expect(looks()).toEqual([]);
    await handle.signal(observedSignal, { state: 'running', thing: host.thing(idOf(handle)) });
    await vi.waitFor(() => expect(looks()).toHaveLength(1), 90_000);
    await handle.executeUpdate(sandboxUpdate('delete'));
  });
});
