import type { Worker } from '@temporalio/worker';
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { conversationWorkflowId } from '../../contract/ids.js';
import {
  callbacksQueuedSignal,
  conversationDeletedSignal,
  messagesQueuedSignal,
  runEndedSignal,
} from '../../workflows/messages.js';
import { openConversationActors, type ConversationActors } from '../support/conversation-actors.js';

const SIGNALS = 4_000;
const SENDERS = 40;

/** What a busy conversation hears: an event is queued for callbacks far more often than anything else happens. */
const MIX = [
  runEndedSignal,
  messagesQueuedSignal,
  ...Array.from({ length: 8 }, () => callbacksQueuedSignal),
] as const;

describe('a conversation actor to which thousands of signals were sent while no worker was there', () => {
  let actors: ConversationActors;
  let fake: ConversationActors['fake'];
  const [busy, gone] = [randomUUID(), randomUUID()];
  const texts = Array.from({ length: 50 }, (_, number) => `message ${number}`);

  let worker: Worker;

  beforeAll(async () => {
    actors = await openConversationActors();
    fake = actors.fake;
    fake.waiting.push(...texts);
    await flood(busy, SIGNALS);
    await flood(gone, SIGNALS / 8);
    await actors.wake(gone, conversationDeletedSignal);
    await flood(gone, SIGNALS / 8); // of webhooks that came too late
    worker = await actors.work();
  }, 420_000);
  afterAll(() => actors.close());

  async function flood(id: string, signals: number): Promise<void> {
    let sent = 0;
    const send = async (): Promise<void> => {
      while (sent < signals) await actors.wake(id, MIX[sent++ % MIX.length]!);
    };
    await Promise.all(Array.from({ length: SENDERS }, send));
  }

  const endOf = (id: string) =>
    actors.environment.client.workflow.getHandle(conversationWorkflowId(id)).result();

  it('does once what it was told a thousand times, and leaves the worker alive', async () => {
    await endOf(busy);
    expect(fake.reconciled).toEqual([busy]);
    expect(fake.delivered).toEqual([busy]);
    expect(fake.told).toEqual(texts);
    expect(fake.runs).toBe(1);
    expect(worker.getState()).toBe('RUNNING');
  });

  it('deletes it when that was among them, and does nothing else for it', async () => {
    await endOf(gone);
    expect(fake.deleted).toEqual([gone]);
    expect(fake.delivered).not.toContain(gone);
    expect(fake.reconciled).not.toContain(gone);
  });
});
