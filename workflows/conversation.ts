import {
  CancellationScope,
  condition,
  continueAsNew,
  isCancellation,
  log,
  proxyActivities,
  setHandler,
  sleep,
  uuid4,
  workflowInfo,
} from '@temporalio/workflow';
import type { ConversationActivities } from '../activities/conversation-activities.js';
import { explain, logTimeout } from './failures.js';
import {
  callbacksQueuedSignal,
  conversationDeletedSignal,
  messagesQueuedSignal,
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

/** A message waits for a running tool call, and is tried again until it is delivered or refused. */
const { deliverMessages } = proxyActivities<ConversationActivities>({
  startToCloseTimeout: '15m',
  heartbeatTimeout: '15s',
  retry: { initialInterval: '500ms', maximumInterval: '30s' },
});

/** One activity, however long the boot takes: the sandbox's actor decides when it has failed. */
const { resumeForMessages } = proxyActivities<ConversationActivities>({
  startToCloseTimeout: '45m',
  heartbeatTimeout: '10s',
  retry: { initialInterval: '200ms', maximumInterval: '5s' },
});

const { blockMessages } = proxyActivities<ConversationActivities>({
  startToCloseTimeout: '10s',
  retry: { initialInterval: '500ms', maximumInterval: '30s' },
});

/** Pauses before a sandbox that could not be resumed is tried again; after the last it is left to people. */
const RESUME_AGAIN = ['5s'] as const;

/** More looks than that in a row, each with a resumed sandbox, and there is a pause between them. */
const MOST_ROUNDS_IN_A_ROW = 3;

/**
 * Works for one conversation when something wants it: callbacks in order, messages in order, and its deletion. Woken by
 * signal-with-start, it ends as soon as nothing is left; the queues themselves are in SQL.
 */
export async function conversation({ conversationId, due: carried }: ConversationInput): Promise<void> {
  const due = { callbacks: false, reconciliation: false, messages: false, ...carried };
  let deleted = false;
  setHandler(callbacksQueuedSignal, () => void (due.callbacks = true));
  setHandler(runEndedSignal, () => void (due.reconciliation = true));
  setHandler(messagesQueuedSignal, () => void (due.messages = true));
  setHandler(conversationDeletedSignal, () => void (deleted = true));
  const isDue = () => due.callbacks || due.reconciliation || due.messages;

  // A signal-with-start brings its signal with the first task: let the handlers take it.
  await condition(() => isDue() || deleted, '1s');
  if (!isDue()) due.callbacks = true;

  /** A long history is cut between two activities: what is due goes over to the next run. */
  const isLong = () => workflowInfo().continueAsNewSuggested;

  const callbacks = lane(async () => {
    while (!deleted && !isLong() && (due.callbacks || due.reconciliation)) {
      due.callbacks = false;
      if (due.reconciliation) {
        due.reconciliation = false;
        await fetchLostEvents(conversationId);
      }
      const { remaining } = await runQueuedCallbacks(conversationId);
      if (remaining > 0) due.callbacks = true;
    }
  });
  const messages = lane(async () => {
    for (let rounds = 1; !deleted && !isLong() && due.messages; rounds++) {
      due.messages = false;
      if (await workThroughMessages(conversationId)) continue;
      due.messages = true;
      // A sandbox that is paused again and again before it can be told anything.
      if (rounds > MOST_ROUNDS_IN_A_ROW) await sleep('10s');
    }
  });
  const callbacksCanStart = () => callbacks.idle() && !isLong() && (due.callbacks || due.reconciliation);
  const messagesCanStart = () => messages.idle() && !isLong() && due.messages;
  const allIdle = () => callbacks.idle() && messages.idle();

  // A signal between the last look and the end makes the server hand the task out again, with the signal in it.
  while (!deleted) {
    if (callbacksCanStart()) callbacks.start();
    if (messagesCanStart()) messages.start();
    if (allIdle()) break;
    await condition(() => deleted || allIdle() || callbacksCanStart() || messagesCanStart());
    if (callbacks.failed() || messages.failed()) break;
  }
  if (deleted) messages.cancel();
  await Promise.all([callbacks.ended(), messages.ended()]);
  if (deleted) {
    const { unreferencedSandboxId } = await deleteConversationData(conversationId);
    if (unreferencedSandboxId !== null) await releaseSandbox(unreferencedSandboxId);
  } else if (isDue()) {
    await continueAsNew<typeof conversation>({ conversationId, due });
  }
}

/** One kind of work: done by one at a time, beside the other kinds. */
function lane(work: () => Promise<void>) {
  let scope: CancellationScope | null = null;
  let running: Promise<void> | null = null;
  let failure: { reason: unknown } | null = null;
  return {
    idle: () => running === null,
    failed: () => failure !== null,
    start(): void {
      const mine = (scope = new CancellationScope());
      running = mine
        .run(work)
        .catch((reason: unknown) => {
          if (!(isCancellation(reason) && mine.consideredCancelled)) failure = { reason };
        })
        .finally(() => (running = null));
    },
    cancel: () => scope?.cancel(),
    /** Waits for what is under way; throws what it failed of. */
    async ended(): Promise<void> {
      await running;
      if (failure) throw failure.reason;
    },
  };
}

/** @returns false when there is more to do at once */
async function workThroughMessages(conversationId: string): Promise<boolean> {
  const result = await deliverMessages(conversationId);
  if (result.outcome !== 'asleep') return result.outcome === 'done';
  const reason = await resume(result.sandboxId);
  if (reason === null) return false;
  await blockMessages(conversationId, reason);
  return true;
}

/** @returns null when the sandbox runs, or is gone for good, else why it does not */
async function resume(sandboxId: string): Promise<string | null> {
  for (let attempt = 0; ; attempt++) {
    try {
      await resumeForMessages(sandboxId, `messages/${uuid4()}`);
      return null;
    } catch (err) {
      if (isCancellation(err)) throw err;
      const { message, type } = explain(err);
      if (type === 'SandboxDeleted') return null; // where to deliver is looked up again
      const pause = RESUME_AGAIN[attempt];
      if (pause === undefined) return `The sandbox could not be resumed: ${message}`;
      await sleep(pause);
    }
  }
}

async function fetchLostEvents(conversationId: string): Promise<void> {
  try {
    await reconcileEvents(conversationId);
  } catch (err) {
    if (isCancellation(err)) throw err;
    logTimeout(err);
    log.warn('events that webhooks may have lost could not be fetched', { reason: explain(err).message });
  }
}
