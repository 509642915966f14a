import {
  ActivityCancellationType,
  allHandlersFinished,
  ApplicationFailure,
  CancellationScope,
  condition,
  isCancellation,
  log,
  patched,
  proxyActivities,
  proxyLocalActivities,
  setHandler,
  upsertSearchAttributes,
  uuid4,
} from '@temporalio/workflow';
import type { MessageActivities } from '../activities/messages/message-activities.js';
import type { StartConversationActivities } from '../activities/start-conversation-activities.js';
import type { WholeStart } from '../activities/start/whole-start.js';
import type { StartLimits, StartTaskActivities } from '../activities/start-task-activities.js';
import { CALLBOARD_START_STATUS } from './search-attributes.js';
import { explain, logTimeout } from './failures.js';
import { acceptedUpdate, type StartConversationInput } from './messages.js';
import { startOf040 } from './start/start-0-4-0.js';

const { acceptStartTask, advanceStartTask } = proxyLocalActivities<StartTaskActivities>({
  startToCloseTimeout: '5s',
  localRetryThreshold: '1m',
});

const wait = ActivityCancellationType.WAIT_CANCELLATION_COMPLETED;

/**
 * One activity, however long the boot takes: the sandbox's actor decides when it has failed. What goes wrong in the
 * phases after it has its tries inside; tried again is what a worker did not bring to its end.
 */
const { startInOneStep } = proxyActivities<StartConversationActivities>({
  startToCloseTimeout: '52m',
  scheduleToCloseTimeout: '60m', // a start ends by then, whatever happens to hosts
  heartbeatTimeout: '10s',
  cancellationType: wait,
  retry: { initialInterval: '200ms', maximumInterval: '5s' },
});

/** How long workers that come and go may hold up a phase in all. */
const HANDOVER_SECONDS = 600;

/** Calls to the agent-server: idempotent by conversation id, so a lost answer is asked for again. */
const { prepareSkills, createConversation, installGitHooks } = proxyActivities<StartConversationActivities>({
  startToCloseTimeout: '3m',
  scheduleToCloseTimeout: '15m',
  heartbeatTimeout: '10s',
  cancellationType: wait,
  retry: { initialInterval: '500ms', maximumInterval: '5s', maximumAttempts: 5 },
});

/** The start is READY already; whoever queues a message wakes the conversation too. */
const { wakeForMessages } = proxyActivities<MessageActivities>({
  startToCloseTimeout: '10s',
  retry: { initialInterval: '500ms', maximumInterval: '30s' },
});

/** Must end well, however late: there is nobody else to clean up. */
const { giveBackSandbox, discardConversation } = proxyActivities<StartConversationActivities>({
  startToCloseTimeout: '1m',
  heartbeatTimeout: '15s',
  retry: { initialInterval: '500ms', maximumInterval: '30s' },
});

/**
 * A conversation's start, from the accepted request to READY or ERROR. Each status is stored and announced before the
 * work of its phase begins; a failure releases what the start took, and only that.
 */
export function startConversation(input: StartConversationInput): Promise<void> {
  return patched('2026-11-start-in-one-step') ? start(input) : startOf040(input);
}

async function start({ taskId }: StartConversationInput): Promise<void> {
  // The API accepts a start itself; until 0.4.0 it asked for that here.
  setHandler(acceptedUpdate, () =>
    CancellationScope.nonCancellable(async () => {
      await acceptStartTask(taskId);
    }),
  );
  try {
    const begun = await startInOneStep(taskId, uuid4());
    if (begun.state === 'ended') return; // asked for again after its end: the row is the answer
    const ready = begun.state === 'ready' ? begun : await byPhases(taskId, begun);
    // From here on it is too late to call it off: a cancellation must not undo what is READY.
    await CancellationScope.nonCancellable(() => announceReady(ready));
  } catch (err) {
    logTimeout(err);
    const { message, type } = explain(err);
    // Withdrawn by the API before it had answered anybody: nothing was taken, and there is no row to say so.
    if (type === 'StartRequestMissing') throw ApplicationFailure.nonRetryable(message, type);
    const outcome = await CancellationScope.nonCancellable(() => fail(taskId, message, isCancellation(err)));
    if (outcome === 'READY') return;
    if (isCancellation(err)) throw err;
    throw ApplicationFailure.nonRetryable(message, type);
  } finally {
    await CancellationScope.nonCancellable(() => condition(allHandlersFinished));
  }
}

type Ready = Pick<WholeStart & { state: 'ready' }, 'conversationId' | 'messagesWait'>;

/** The phases of a start with a repository, or in a directory that holds what takes its time. */
async function byPhases(
  taskId: string,
  { agentServerUrl, limits, found }: WholeStart & { state: 'placed' },
): Promise<Ready> {
  let repository = found;
  if (repository === undefined) {
    await advanceStartTask(taskId, 'PREPARING_REPOSITORY');
    repository = await phase(limits.cloneSeconds, limits).prepareRepository(taskId);
  }
  await advanceStartTask(taskId, 'RUNNING_SETUP_SCRIPT');
  if (repository.hasSetupScript) await phase(limits.setupScriptSeconds, limits).runSetupScript(taskId);

  await advanceStartTask(taskId, 'SETTING_UP_GIT_HOOKS');
  if (repository.hasPreCommitHook) await installGitHooks(taskId);

  await advanceStartTask(taskId, 'SETTING_UP_SKILLS');
  await prepareSkills(taskId);

  await advanceStartTask(taskId, 'STARTING_CONVERSATION', { agentServerUrl });
  const { conversationId } = await createConversation(taskId);
  const { messagesWait = false } = await CancellationScope.nonCancellable(() =>
    advanceStartTask(taskId, 'READY', { appConversationId: conversationId }),
  );
  return { conversationId, messagesWait };
}

/**
 * Phases that a setting limits. Work that goes wrong says so as final: tried again is only what a worker did not bring to
 * its end, by whichever takes it up, which finds what an earlier one has begun and goes on with it.
 */
const phase = (limitSeconds: number, { handoverSeconds = HANDOVER_SECONDS }: StartLimits) =>
  proxyActivities<StartConversationActivities>({
    startToCloseTimeout: (limitSeconds + 60) * 1000,
    scheduleToCloseTimeout: (limitSeconds + 60 + handoverSeconds) * 1000,
    heartbeatTimeout: '10s',
    cancellationType: wait,
    retry: { initialInterval: '500ms', maximumInterval: '5s' },
  });

async function announceReady({ conversationId, messagesWait }: Ready): Promise<void> {
  upsertSearchAttributes([{ key: CALLBOARD_START_STATUS, value: 'READY' }]);
  if (messagesWait) await wakeForMessages(conversationId);
}

/**
 * Stores and announces ERROR, then gives back what the start took, each part whatever becomes of the others. What it took
 * says its row: a step that was given up may have taken more than we have heard of.
 * @returns READY when such a step had come to that
 */
async function fail(taskId: string, detail: string, cancelled: boolean): Promise<'READY' | 'ERROR'> {
  const attempt = async <Result>(step: () => Promise<Result>): Promise<Result | undefined> => {
    try {
      return await step();
    } catch (err) {
      logTimeout(err);
      log.error('a part of a failed start could not be given back', { taskId, reason: explain(err).message });
      return undefined;
    }
  };
  // It may have been called off before anybody had taken it up: then it has no row yet.
  const accepted = await attempt(() => acceptStartTask(taskId));
  const fields = { detail, ...(cancelled ? { cancelled } : {}) };
  const advance = accepted && (await attempt(() => advanceStartTask(taskId, 'ERROR', fields)));
  if (advance?.was === 'READY' && accepted?.conversationId !== undefined) {
    // The answer of the step was lost, so messages may be waiting: whoever looks finds out.
    await announceReady({ conversationId: accepted.conversationId, messagesWait: true });
    return 'READY';
  }
  upsertSearchAttributes([{ key: CALLBOARD_START_STATUS, value: 'ERROR' }]);
  if (!accepted) return 'ERROR'; // withdrawn: nobody was answered, and nothing was taken
  // Without the status before, an earlier attempt of ours has written ERROR: then everything is looked through.
  const isBegun = advance?.was === undefined || ['STARTING_CONVERSATION', 'ERROR'].includes(advance.was);
  if (isBegun) await attempt(() => discardConversation(taskId));
  await attempt(() => giveBackSandbox(taskId));
  return 'ERROR';
}
