import type { SignalDefinition } from '@temporalio/common';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import type { Worker } from '@temporalio/worker';
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { conversationWorkflowId } from '../../contract/ids.js';
import {
  callbacksQueuedSignal,
  CONVERSATION_WORKFLOW,
  conversationDeletedSignal,
  runEndedSignal,
} from '../../workflows/messages.js';
import { FakeConversation } from '../support/fake-conversation.js';
import { bundleWorkflows, connectTemporal, createTestWorker, uniqueTaskQueue } from '../support/temporal.js';

describe('the conversation actor', () => {
  let environment: TestWorkflowEnvironment;
  let worker: Worker;
  let run: Promise<void>;
  const taskQueue = uniqueTaskQueue();
  const fake = new FakeConversation();

  beforeAll(async () => {
    environment = await connectTemporal();
    worker = await createTestWorker(environment, {
      taskQueue,
      workflowBundle: await bundleWorkflows(),
      activities: fake.activities,
    });
    run = worker.run();
  });
  afterAll(async () => {
    worker.shutdown();
    await run;
    await environment.teardown();
  });

  const wake = (id: string, signal: SignalDefinition) =>
    environment.client.workflow.signalWithStart(CONVERSATION_WORKFLOW, {
      workflowId: conversationWorkflowId(id),
      taskQueue,
      args: [{ conversationId: id }],
      signal,
    });

  it('works through its queue and ends when nothing is left', async () => {
    fake.queued = 3;
    const handle = await wake(randomUUID(), callbacksQueuedSignal);
    await handle.result();
    expect(fake.queued).toBe(0);
  });

  it('fetches what webhooks have lost when a run has ended', async () => {
    const id = randomUUID();
    await (await wake(id, runEndedSignal)).result();
    expect(fake.reconciled).toEqual([id]);
  });

  it('deletes what is left of a conversation and the sandbox nobody else uses', async () => {
    const id = randomUUID();
    fake.unreferencedSandboxId = `box-${id}`;
    const handle = await wake(id, conversationDeletedSignal);
    await handle.result();
    expect(fake.deleted).toContain(id);
    expect(fake.released).toContain(`box-${id}`);
  });

  it('keeps a sandbox that another conversation uses', async () => {
    const id = randomUUID();
    fake.unreferencedSandboxId = null;
    fake.released = [];
    await (await wake(id, conversationDeletedSignal)).result();
    expect(fake.deleted).toContain(id);
    expect(fake.released).toEqual([]);
  });
});
