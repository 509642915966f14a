import { condition, isCancellation, log, proxyActivities, setHandler } from '@temporalio/workflow';
import type { ConversationActivities } from '../activities/conversation-activities.js';
import { explain } from './failures.js';
import {
  callbacksQueuedSignal,
  conversationDeletedSignal,
  runEndedSignal,
  type ConversationInput,
} from './messages.js';

/** Callbacks wait for the agent-server and for a model: minutes at most, tried again until recorded. */
const { runQueuedCallbacks } = proxyActivities<ConversationActivities>({
  startToCloseTimeout: '5m',
  heartbeatTimeout: '15s',
  retry: { initialInterval: '1s', maximumInterval: '1m' },
});

/** Best effort: the next run's end asks again. */
const { reconcileEvents } = proxyActivities<ConversationActivities>({
  startToCloseTimeout: '5m',
  heartbeatTimeout: '15s',
  retry: { initialInterval: '1s', maximumInterval: '10s', maximumAttempts: 5 },
});

/** Deleting must end well, however late. */
const { deleteConversationData, releaseSandbox } = proxyActivities<ConversationActivities>({
  startToCloseTimeout: '5m',
  heartbeatTimeout: '30s',
  retry: { initialInterval: '500ms', maximumInterval: '1m' },
});

/**
 * Works for one conversation when something registered wants it: callbacks in order, and its deletion. Woken by
 * signal-with-start, it ends as soon as nothing is left; the queue itself is in SQL.
 */
export async function conversation({ conversationId }: ConversationInput): Promise<void> {
  let wakes = 0;
  let runsEnded = 0;
  let deleted = false;
  setHandler(callbacksQueuedSignal, () => {
    wakes++;
  });
  setHandler(runEndedSignal, () => {
    runsEnded++;
  });
  setHandler(conversationDeletedSignal, () => {
    deleted = true;
  });

  // A signal-with-start brings its signal with the first task: let the handlers take it.
  await condition(() => wakes > 0 || runsEnded > 0 || deleted, '1s');
  let reconciled = 0;
  while (!deleted) {
    const seen = wakes;
    if (runsEnded > reconciled) {
      reconciled = runsEnded;
      await fetchLostEvents(conversationId);
    }
    const { remaining } = await runQueuedCallbacks(conversationId);
    // A signal between here and the end makes the server hand the task out again, with the signal in it.
    if (remaining === 0 && wakes === seen && runsEnded === reconciled) break;
  }
  if (deleted) {
    const { unreferencedSandboxId } = await deleteConversationData(conversationId);
    if (unreferencedSandboxId !== null) await releaseSandbox(unreferencedSandboxId);
  }
}

async function fetchLostEvents(conversationId: string): Promise<void> {
  try {
    await reconcileEvents(conversationId);
  } catch (err) {
    if (isCancellation(err)) throw err;
    log.warn('events that webhooks may have lost could not be fetched', { reason: explain(err).message });
  }
}
