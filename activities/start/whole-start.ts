/** A start in one step, as far as one step can take it. */
import { START_STATUSES, type StartStatus } from '../../contract/start-task.js';
import type { AcceptedTask, Advance, ChosenSandbox, StartLimits } from '../start-task-activities.js';
import { currentActivity, whileBeating, type ActivityScope } from './activity-scope.js';
import type { BareStart } from './bare-start.js';
import { withOwnTries } from './own-tries.js';
import type { PreparedRepository } from './repository.js';

/** How far a start has come in its first step. */
export type WholeStart =
  /** It ended in ERROR before, and is left as it is. */
  | { state: 'ended' }
  | { state: 'ready'; conversationId: string; messagesWait: boolean }
  /** Its sandbox runs; what may take long is left to steps of their own. */
  | {
      state: 'placed';
      agentServerUrl: string;
      limits: StartLimits;
      /** What a directory turned out to hold in which there is no repository to clone. */
      found?: PreparedRepository;
    };

/** The parts, each of which may be repeated. */
export interface WholeStartSteps {
  acceptStartTask(taskId: string): Promise<AcceptedTask>;
  chooseSandbox(taskId: string, candidate: string): Promise<ChosenSandbox>;
  awaitSandbox(taskId: string, sandboxId: string): Promise<{ agentServerUrl: string }>;
  startBare(taskId: string, scope: ActivityScope): Promise<BareStart>;
  advanceStartTask(
    taskId: string,
    status: StartStatus,
    fields: { appConversationId: string },
  ): Promise<Advance | undefined>;
}

/** How often the phases of a start without repository are tried. */
const BARE_TRIES = 5;

/** @param scope the activity that is running; tests without Temporal give one of their own. */
export function createWholeStart(steps: WholeStartSteps, scope: () => ActivityScope = currentActivity) {
  const ready = async (taskId: string, conversationId: string): Promise<WholeStart> => {
    const advance = await steps.advanceStartTask(taskId, 'READY', { appConversationId: conversationId });
    return { state: 'ready', conversationId, messagesWait: advance?.messagesWait ?? false };
  };

  return {
    /**
     * Accepts a start, chooses its sandbox, waits until that runs, and, where there is no repository, passes all phases
     * to READY. Tried again after a crash it goes on where the statuses stand. Whatever it takes is noted with the start
     * in the same transaction, so that whoever undoes it need not have heard of it.
     * @param candidate UUID from which a new sandbox's id is made, the same in every attempt
     */
    async startInOneStep(taskId: string, candidate: string): Promise<WholeStart> {
      const activity = scope();
      const { limits, ended, status = 'WORKING', conversationId } = await steps.acceptStartTask(taskId);
      // An earlier attempt has come so far, and could not say so.
      if (status === 'READY' && conversationId !== undefined) return ready(taskId, conversationId);
      if (ended) return { state: 'ended' };
      const sandbox = await whileBeating(activity, 'choosing a sandbox', () =>
        steps.chooseSandbox(taskId, candidate),
      );
      activity.signal.throwIfAborted();
      const { agentServerUrl } = await steps.awaitSandbox(taskId, sandbox.id);
      if (!sandbox.isBare) return { state: 'placed', agentServerUrl, limits };
      const begunBefore = START_STATUSES.indexOf(status) > START_STATUSES.indexOf('WAITING_FOR_SANDBOX');
      const bare = await withOwnTries(
        begunBefore ? activity : { ...activity, attempt: 1 },
        (attempt) => steps.startBare(taskId, attempt),
        BARE_TRIES,
      );
      if ('found' in bare) return { state: 'placed', agentServerUrl, limits, found: bare.found };
      return ready(taskId, bare.conversationId);
    },
  };
}

export type WholeStartActivities = ReturnType<typeof createWholeStart>;
