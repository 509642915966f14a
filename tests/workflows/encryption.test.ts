import { Client, WorkflowUpdateFailedError } from '@temporalio/client';
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hostTaskQueue, PLACEMENT_TASK_QUEUE, sandboxWorkflowId } from '../../contract/ids.js';
import {
  ensureRunningUpdate,
  SANDBOX_WORKFLOW,
  sandboxStateQuery,
  sandboxUpdate,
} from '../../workflows/messages.js';
import { FakeHost } from '../support/fake-host.js';
import { bundleWorkflows, connectTemporal, createTestWorker, uniqueTaskQueue } from '../support/temporal.js';

describe('what Temporal keeps of an actor', () => {
  let environment: TestWorkflowEnvironment;
  let stop: () => Promise<void>;
  const taskQueue = uniqueTaskQueue();
  const host = new FakeHost(`host-${randomUUID()}`);

  beforeAll(async () => {
    const [connected, workflowBundle] = await Promise.all([connectTemporal(), bundleWorkflows()]);
    environment = connected;
    const workers = await Promise.all([
      createTestWorker(environment, { taskQueue, workflowBundle, activities: host.rowActivities }),
      createTestWorker(environment, { taskQueue: PLACEMENT_TASK_QUEUE, activities: host.hostActivities }),
      createTestWorker(environment, {
        taskQueue: hostTaskQueue(host.hostId),
        activities: host.hostActivities,
      }),
    ]);
    const runs = workers.map((worker) => worker.run());
    stop = async () => {
      for (const worker of workers) worker.shutdown();
      await Promise.all(runs);
      await environment.teardown();
    };
  });
  afterAll(() => stop());

  it('tells nothing without the key: neither arguments and results, nor the text of a failure', async () => {
    const sandboxId = randomUUID();
    const marker = `reason-${randomUUID()}`;
    const handle = await environment.client.workflow.start(SANDBOX_WORKFLOW, {
      workflowId: sandboxWorkflowId(sandboxId),
      taskQueue,
      args: [{ sandboxId, status: 'STARTING' }],
      memo: { note: marker },
    });
    await handle.executeUpdate(ensureRunningUpdate);
    await handle.executeUpdate(sandboxUpdate('pause'));
    host.things.delete(sandboxId);
    host.failBoot = `the boot failed: ${marker}`;
    const failure: unknown = await handle.executeUpdate(ensureRunningUpdate).catch((err: unknown) => err);
    // Who holds the key is told everything.
    expect(failure).toBeInstanceOf(WorkflowUpdateFailedError);
    expect(String((failure as WorkflowUpdateFailedError).cause?.message)).toContain(marker);
    expect((await handle.query(sandboxStateQuery)).detail).toContain(marker);
    expect((await handle.describe()).memo).toEqual({ note: marker });
    host.failBoot = null;
    await handle.executeUpdate(sandboxUpdate('delete'));

    const history = historyToJSON(await handle.fetchHistory());
    for (const spelling of [marker, Buffer.from(marker).toString('base64').slice(2, -4), 'the boot failed']) {
      expect(history).not.toContain(spelling);
    }
    expect(history).toContain('Encoded failure');
    // Everything that is a payload is ours.
    const encodings = [...history.matchAll(/"encoding": ?"([^"]*)"/g)].map(([, text]) =>
      Buffer.from(text!, 'base64').toString(),
    );
    expect(encodings.length).toBeGreaterThan(10);
    expect(new Set(encodings.filter((encoding) => encoding !== 'json/plain'))).toEqual(
      new Set(['binary/callboard-jwe']),
    );
  });

  it('cannot be read by a client without the key', async () => {
    const sandboxId = randomUUID();
    const workflowId = sandboxWorkflowId(sandboxId);
    await environment.client.workflow.start(SANDBOX_WORKFLOW, {
      workflowId,
      taskQueue,
      args: [{ sandboxId, status: 'STARTING' }],
    });
    const { connection, namespace } = environment;
    const stranger = new Client({ connection, namespace: namespace ?? 'default' }).workflow.getHandle(
      workflowId,
    );
    await expect(stranger.query(sandboxStateQuery)).rejects.toThrow('binary/callboard-jwe');
    const handle = environment.client.workflow.getHandle(workflowId);
    await handle.executeUpdate(sandboxUpdate('delete'));
  });
});
