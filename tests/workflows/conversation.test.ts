import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  callbacksQueuedSignal,
  conversationDeletedSignal,
  runEndedSignal,
} from '../../workflows/messages.js';
import { openConversationActors, type ConversationActors } from '../support/conversation-actors.js';

describe('the conversation actor', () => {
  let actors: ConversationActors;
  let fake: ConversationActors['fake'];
  const wake: ConversationActors['wake'] = (id, signal) => actors.wake(id, signal);

  beforeAll(async () => {
    actors = await openConversationActors();
    fake = actors.fake;
    await actors.work();
  });
  afterAll(() => actors.close());

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
