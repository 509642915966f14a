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
import type { MessageActivities } from '../../activities/messages/message-activities.js';
import type { StartConversationActivities } from '../../activities/start-conversation-activities.js';
import type { PreparedRepository } from '../../activities/start/repository.js';
import type { StartLimits, StartTaskActivities } from '../../activities/start-task-activities.js';
import { CALLBOARD_START_STATUS } from '../search-attributes.js';
import { explain, logTimeout } from '../failures.js';
import { acceptedUpdate, type StartConversationInput } from '../messages.js';

const { acceptStartTask, chooseSandbox, advanceStartTask } = proxyLocalActivities<StartTaskActivities>({
  startToCloseTimeout: '5s',
  localRetryThreshold: '1m',
});

const wait = ActivityCancellationType.WAIT_CANCELLATION_COMPLETED;

/** One activity, however long the boot takes: the sandbox's actor decides when it has failed. */
const { awaitSandbox } = proxyActivities<StartConversationActivities>({
  startToCloseTimeout: '45m',
  scheduleToCloseTimeout: '50m', // a start ends by then, whatever happens to hosts
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

/** The phases of a start that has no repository to clone, for which each of them has its own limits inside. */
const { startBare } = proxyActivities<StartConversationActivities>({
  startToCloseTimeout: '7m',
  scheduleToCloseTimeout: '20m',
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
const { releaseSandbox, discardConversation } = proxyActivities<StartConversationActivities>({
  startToCloseTimeout: '1m',
  heartbeatTimeout: '15s',
  retry: { initialInterval: '500ms', maximumInterval: '30s' },
});

/**
 * A start as versions up to 0.4.0 released it, for runs that began then. Not to be changed: their histories are replayed
 * with it.
 */
export async function startOf040({ taskId }: StartConversationInput): Promise<void> {
  let accepted = false;
  setHandler(acceptedUpdate, () => condition(() => accepted));

  // Its row may be there already, from an attempt that was not recorded: a cancellation must not leave it as it is.
  const { limits, ended } = await CancellationScope.nonCancellable(() => acceptStartTask(taskId));
  accepted = true;
  if (ended) return condition(allHandlersFinished); // asked for again after its end: the row is the answer

  const undo: (() => Promise<void>)[] = [];
  try {
    // A short step that a cancellation waits for: what it has taken must be known.
    const sandbox = await CancellationScope.nonCancellable(() => chooseSandbox(taskId, uuid4()));
    if (sandbox.isNew) undo.unshift(() => releaseSandbox(sandbox.id));
    const { agentServerUrl } = await awaitSandbox(taskId, sandbox.id);

    // Each before the step that may create the conversation: it may have happened even if we never hear of it.
    const discard = async (): Promise<void> => {
      // Others may have come into a sandbox that was made for this start: then it stays, without the conversation.
      if (!sandbox.isNew || patched('2026-11-discard-in-own-sandbox')) await discardConversation(taskId);
    };
    const create = async (): Promise<string> => {
      if (!sandbox.isBare || !patched('2026-11-bare-start')) {
        await advanceStartTask(taskId, 'PREPARING_REPOSITORY');
        const { prepareRepository } = phase(limits.cloneSeconds, limits);
        return byPhases(await prepareRepository(taskId), () => undo.unshift(discard));
      }
      undo.unshift(discard);
      const bare = await startBare(taskId);
      // A directory that others have used may hold what takes its time after all.
      return 'conversationId' in bare ? bare.conversationId : byPhases(bare.found, () => undefined);
    };
    const byPhases = async (
      repository: PreparedRepository,
      beforeCreation: () => unknown,
    ): Promise<string> => {
      await advanceStartTask(taskId, 'RUNNING_SETUP_SCRIPT');
      const { runSetupScript } = phase(limits.setupScriptSeconds, limits);
      if (repository.hasSetupScript) await runSetupScript(taskId);

      await advanceStartTask(taskId, 'SETTING_UP_GIT_HOOKS');
      if (repository.hasPreCommitHook) await installGitHooks(taskId);

      await advanceStartTask(taskId, 'SETTING_UP_SKILLS');
      await prepareSkills(taskId);

      await advanceStartTask(taskId, 'STARTING_CONVERSATION', { agentServerUrl });
      beforeCreation();
      return (await createConversation(taskId)).conversationId;
    };
    const conversationId = await create();

    // From here on it is too late to call it off: a cancellation in between must not undo what is READY.
    await CancellationScope.nonCancellable(async () => {
      const ready = await advanceStartTask(taskId, 'READY', { appConversationId: conversationId });
      upsertSearchAttributes([{ key: CALLBOARD_START_STATUS, value: 'READY' }]);
      // Starts recorded before there was a queue had no such answer, and take no further step.
      if (ready?.messagesWait) await wakeForMessages(conversationId);
    });
  } catch (err) {
    logTimeout(err);
    const { message, type } = explain(err);
    await CancellationScope.nonCancellable(() => fail(taskId, message, isCancellation(err), undo));
    if (isCancellation(err)) throw err;
    throw ApplicationFailure.nonRetryable(message, type);
  } finally {
    await CancellationScope.nonCancellable(() => condition(allHandlersFinished));
  }
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

/** Stores and announces ERROR, then gives back what the start took, each part whatever becomes of the others. */
async function fail(
  taskId: string,
  detail: string,
  cancelled: boolean,
  undo: readonly (() => Promise<void>)[],
): Promise<void> {
  const fields = { detail, ...(cancelled ? { cancelled } : {}) };
  const steps = [() => advanceStartTask(taskId, 'ERROR', fields), announceError, ...undo];
  for (const step of steps) {
    try {
      await step();
    } catch (err) {
      logTimeout(err);
      log.error('a part of a failed start could not be given back', { taskId, reason: explain(err).message });
    }
  }
}

const announceError = async (): Promise<void> => {
  upsertSearchAttributes([{ key: CALLBOARD_START_STATUS, value: 'ERROR' }]);
};
