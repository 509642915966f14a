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
  messagesQueuedSignal,
  runEndedSignal,
} from '../../workflows/messages.js';
import { FakeConversation } from '../support/fake-conversation.js';
import { bundleWorkflows, connectTemporal, createTestWorker, uniqueTaskQueue } from '../support/temporal.js';

const SIGNALS = 4_000;
const SENDERS = 40;

/** What a busy conversation hears: an event is queued for callbacks far more often than anything else happens. */
const MIX = [
  runEndedSignal,
  messagesQueuedSignal,
  ...Array.from({ length: 8 }, () => callbacksQueuedSignal),
] as const;

describe('a conversation actor to which thousands of signals were sent while no worker was there', () => {
  let environment: TestWorkflowEnvironment;
  const taskQueue = uniqueTaskQueue();
  const bundle = bundleWorkflows();
  const fake = new FakeConversation();
  const [busy, gone] = [randomUUID(), randomUUID()];
  const texts = Array.from({ length: 50 }, (_, number) => `message ${number}`);

  let worker: Worker;
  let run: Promise<void>;

  beforeAll(async () => {
    environment = await connectTemporal();
    fake.waiting.push(...texts);
    await flood(busy, SIGNALS);
    await flood(gone, SIGNALS / 8);
    await wake(gone, conversationDeletedSignal);
    await flood(gone, SIGNALS / 8); // of webhooks that came too late
    worker = await createTestWorker(environment, {
      taskQueue,
      workflowBundle: await bundle,
      activities: fake.activities,
    });
    run = worker.run();
  }, 240_000);
  afterAll(async () => {
    worker.shutdown();
    await run;
    await environment.teardown();
  }, 60_000);

  const wake = (id: string, signal: SignalDefinition) =>
    environment.client.workflow.signalWithStart(CONVERSATION_WORKFLOW, {
      workflowId: conversationWorkflowId(id),
      taskQueue,
      args: [{ conversationId: id }],
      signal,
    });

  async function flood(id: string, signals: number): Promise<void> {
    let sent = 0;
    const send = async (): Promise<void> => {
      while (sent < signals) await wake(id, MIX[sent++ % MIX.length]!);
    };
    await Promise.all(Array.from({ length: SENDERS }, send));
  }

  const endOf = (id: string) => environment.client.workflow.getHandle(conversationWorkflowId(id)).result();

  it('does once what it was told a thousand times, and leaves the worker alive', async () => {
    await endOf(busy);
    expect(fake.reconciled).toEqual([busy]);
    expect(fake.delivered).toEqual([busy]);
    expect(fake.told).toEqual(texts);
    expect(fake.runs).toBe(1);
    expect(worker.getState()).toBe('RUNNING');
  }, 60_000);

  it('deletes it when that was among them, and does nothing else for it', async () => {
    await endOf(gone);
    expect(fake.deleted).toEqual([gone]);
    expect(fake.delivered).not.toContain(gone);
    expect(fake.reconciled).not.toContain(gone);
  }, 60_000);
});
