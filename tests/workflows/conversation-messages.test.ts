import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import {
  callbacksQueuedSignal,
  conversationDeletedSignal,
  messagesQueuedSignal,
} from '../../workflows/messages.js';
import { openConversationActors, type ConversationActors } from '../support/conversation-actors.js';
import { FakeConversation } from '../support/fake-conversation.js';

describe('the conversation actor with messages', () => {
  let actors: ConversationActors;
  let fake: ConversationActors['fake'];
  const wake: ConversationActors['wake'] = (id, signal) => actors.wake(id, signal);

  beforeAll(async () => {
    actors = await openConversationActors();
    fake = actors.fake;
    await actors.work();
  });
  afterEach(() => Object.assign(fake, new FakeConversation(), { activities: fake.activities }));
  afterAll(() => actors.close());

  it('delivers them and ends, in a short history and without a look at callbacks', async () => {
    const handle = await wake(randomUUID(), messagesQueuedSignal);
    await handle.result();
    expect(fake.delivered).toHaveLength(1);
    expect(fake.runs).toBe(0);
    expect((await handle.describe()).historyLength).toBeLessThanOrEqual(16);
  });

  it('goes on until nothing is left', async () => {
    fake.deliveries = [{ outcome: 'more' }, { outcome: 'more' }];
    await (await wake(randomUUID(), messagesQueuedSignal)).result();
    expect(fake.delivered).toHaveLength(3);
  });

  it('has a sandbox resumed that sleeps, by an order of its own each time', async () => {
    fake.deliveries = [
      { outcome: 'asleep', sandboxId: 'box' },
      { outcome: 'asleep', sandboxId: 'box' },
    ];
    await (await wake(randomUUID(), messagesQueuedSignal)).result();
    expect(fake.resumed.map(({ sandboxId }) => sandboxId)).toEqual(['box', 'box']);
    expect(new Set(fake.resumed.map(({ requester }) => requester)).size).toBe(2);
    expect(fake.delivered).toHaveLength(3);
    expect(fake.blocked).toEqual([]);
  });

  it('tries to resume twice, then says why the messages wait', async () => {
    const id = randomUUID();
    fake.deliveries = [{ outcome: 'asleep', sandboxId: 'box' }];
    fake.resumeFailures = ['no port', 'no memory'];
    const handle = await wake(id, messagesQueuedSignal);
    await handle.result();
    expect(fake.resumed).toHaveLength(2);
    expect(fake.blocked).toEqual([
      { conversationId: id, detail: 'The sandbox could not be resumed: no memory' },
    ]);
  });

  it('takes a message that comes while it delivers as one more to deliver', async () => {
    const id = randomUUID();
    fake.holdDeliveries = true;
    const handle = await wake(id, messagesQueuedSignal);
    await vi.waitFor(() => expect(fake.delivered).toHaveLength(1), 90_000);
    await wake(id, messagesQueuedSignal);
    fake.holdDeliveries = false;
    await handle.result();
    expect(fake.delivered).toHaveLength(2);
  });

  it('runs callbacks while a message waits for a tool call', async () => {
    const id = randomUUID();
    fake.holdDeliveries = true;
    const handle = await wake(id, messagesQueuedSignal);
    await vi.waitFor(() => expect(fake.delivered).toHaveLength(1), 90_000);
    await wake(id, callbacksQueuedSignal);
    await vi.waitFor(() => expect(fake.runs).toBe(1), 90_000);
    await wake(id, callbacksQueuedSignal);
    await vi.waitFor(() => expect(fake.runs).toBe(2), 90_000);
    fake.holdDeliveries = false;
    await handle.result();
    expect(fake.delivered).toHaveLength(1);
  });

  it('is deleted at once, whatever message is on its way', async () => {
    const id = randomUUID();
    fake.holdDeliveries = true;
    const handle = await wake(id, messagesQueuedSignal);
    await vi.waitFor(() => expect(fake.delivered).toHaveLength(1), 90_000);
    await wake(id, conversationDeletedSignal);
    await handle.result();
    expect(fake.deleted).toEqual([id]);
  });
});
