import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { conversationWorkflowId } from '../../contract/ids.js';
import { CONVERSATION_WORKFLOW, messagesQueuedSignal } from '../../workflows/messages.js';
import { FakeConversation } from '../support/fake-conversation.js';
import { bundleWorkflows, connectTemporal, createTestWorker, uniqueTaskQueue } from '../support/temporal.js';

let environment: TestWorkflowEnvironment;
beforeAll(async () => {
  environment = await connectTemporal();
});
afterAll(() => environment.teardown());

it('a versioned worker serves actors that move on to later versions', async () => {
  const taskQueue = uniqueTaskQueue();
  const deploymentName = `callboard-${randomUUID()}`;
  const fake = new FakeConversation();
  const worker = await createTestWorker(environment, {
    taskQueue,
    workflowBundle: await bundleWorkflows(),
    activities: fake.activities,
    workerDeploymentOptions: {
      version: { deploymentName, buildId: '1' },
      useWorkerVersioning: true,
      defaultVersioningBehavior: 'PINNED',
    },
  });
  await worker.runUntil(async () => {
    await vi.waitFor(
      () =>
        environment.connection.workflowService.setWorkerDeploymentCurrentVersion({
          namespace: environment.namespace ?? 'default',
          deploymentName,
          buildId: '1',
        }),
      { timeout: 90_000, interval: 200 },
    );
    const id = randomUUID();
    const handle = await environment.client.workflow.signalWithStart(CONVERSATION_WORKFLOW, {
      workflowId: conversationWorkflowId(id),
      taskQueue,
      args: [{ conversationId: id }],
      signal: messagesQueuedSignal,
    });
    await handle.result();
    expect(fake.delivered).toEqual([id]);
    const { raw } = await handle.describe();
    expect(raw.workflowExecutionInfo?.versioningInfo?.behavior).toBe(2); // AUTO_UPGRADE
  });
});
