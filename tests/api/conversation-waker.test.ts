import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { createConversationWaker, signalConversation } from '../../api/conversation-waker.js';
import { conversationWorkflowId } from '../../contract/ids.js';
import { callbacksQueuedSignal } from '../../workflows/messages.js';
import { newId } from '../support/rows.js';
import { connectTemporal } from '../support/temporal.js';

interface Given {
  /** How many signals fail before one works. */
  failures?: number;
  queued?: () => Promise<string[]>;
  sweepMs?: number;
}

function start({ failures = 0, queued = async () => [], sweepMs = 3_600_000 }: Given = {}) {
  const signalled: string[] = [];
  let attempts = 0;
  let left = failures;
  const waker = createConversationWaker({
    async signal(conversationId) {
      attempts++;
      if (left-- > 0) throw new Error('no workflow service');
      signalled.push(conversationId);
    },
    queued,
    logger: { warn: () => undefined },
    retryMs: { first: 5, longest: 20 },
    sweepMs,
  });
  onTestFinished(() => waker.close());
  return { waker, signalled, attempts: () => attempts };
}

describe('waking conversations', () => {
  it('sends one signal for many wakes at once, and another for a later one', async () => {
    const { waker, signalled } = start();
    for (let times = 0; times < 5; times++) waker.wake('a');
    waker.wake('b');
    await expect.poll(() => signalled).toEqual(['a', 'b']);
    waker.wake('a');
    await expect.poll(() => signalled).toEqual(['a', 'b', 'a']);
  });

  it('is tried again until the workflow service answers (D15)', async () => {
    const { waker, signalled, attempts } = start({ failures: 4 });
    waker.wake('a');
    waker.wake('b');
    await expect.poll(() => [...signalled].sort()).toEqual(['a', 'b']);
    expect(attempts()).toBe(6);
  });

  it('finds what others have queued and could not signal', async () => {
    let reads = 0;
    const { signalled } = start({
      sweepMs: 5,
      queued: async () => {
        if (++reads === 1) throw new Error('no database');
        return ['left behind'];
      },
    });
    await expect.poll(() => signalled).toContain('left behind');
  });

  it('ends when it is closed', async () => {
    vi.useFakeTimers();
    onTestFinished(() => void vi.useRealTimers());
    const { waker, attempts } = start({ failures: 1_000, sweepMs: 50, queued: async () => ['b'] });
    waker.wake('a');
    await vi.advanceTimersByTimeAsync(500);
    const before = attempts();
    expect(before).toBeGreaterThan(5);
    waker.close();
    waker.wake('c');
    await vi.advanceTimersByTimeAsync(10_000);
    expect(attempts()).toBe(before);
  });
});

it('the signal starts an actor that is not there, and reaches one that is', async () => {
  const temporal = await connectTemporal();
  onTestFinished(() => temporal.teardown());
  const id = newId();
  const signal = signalConversation(temporal.client, callbacksQueuedSignal, `unserved-${id}`);
  await signal(id);
  await signal(id);
  const handle = temporal.client.workflow.getHandle(conversationWorkflowId(id));
  const { events = [] } = await handle.fetchHistory();
  expect((await handle.describe()).status.name).toBe('RUNNING');
  expect((events ?? []).filter((event) => event.workflowExecutionSignaledEventAttributes)).toHaveLength(2);
  await handle.terminate();
});
