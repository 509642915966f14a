import { cancellationSignal, heartbeat } from '@temporalio/activity';
import type { Logger } from 'pino';
import type { CallbackRepository } from '../db/callback-repository.js';
import type { ExpiredRecords, MaintenanceRepository, StartUnderWay } from '../db/maintenance-repository.js';
import type { StartTaskRepository } from '../db/start-task-repository.js';
import type { MaintenanceActors } from './maintenance-actors.js';
import type { WorkflowState } from './workflow-state.js';

/** From which age on something counts as left behind, in milliseconds: whatever is younger may be under way. */
export interface MaintenanceAges {
  /** Last change of a start whose workflow may just be ending. */
  startMs: number;
  /** Request whose API process may still be waiting for its workflow. */
  requestMs: number;
  /** Deleted conversation whose actor may be at work. */
  deletionMs: number;
}

const AGES: MaintenanceAges = { startMs: 2 * 60_000, requestMs: 60 * 60_000, deletionMs: 10 * 60_000 };

/** Rows that one statement looks at. */
const BATCH = 200;
/** Most batches of one kind in one round; the next round goes on. */
const ROUNDS = 20;

export interface MaintenanceDeps {
  maintenance: MaintenanceRepository;
  startTasks: Pick<StartTaskRepository, 'advance' | 'unstage'>;
  callbacks: Pick<CallbackRepository, 'conversationsWithQueuedCallbacks'>;
  actors: MaintenanceActors;
  /** Compensation of a start, as its workflow would have it done; each is idempotent. */
  compensation: {
    releaseSandbox(sandboxId: string): Promise<void>;
    discardConversation(taskId: string): Promise<void>;
  };
  /** How long secrets of failed starts are kept; 0 erases them at once. */
  retryHours: number;
  /** How long ended starts, and the marks of what was deleted, are kept; 0 is for ever. */
  keepDays: number;
  logger: Pick<Logger, 'info' | 'warn'>;
  ages?: MaintenanceAges;
}

/** What became of starts. */
export interface StartSweep {
  /** Starts nobody worked on any more, now in ERROR. */
  failed: number;
  /** Starts of deleted conversations, now told to end. */
  cancelled: number;
  /** Requests whose workflow never began, now forgotten: nobody has got an answer to them. */
  forgotten: number;
}

/** What became of conversations. */
export interface ConversationSweep {
  /** Deleted ones of which something was left; their actors see to it now. */
  purgesOrdered: number;
  /** Ones with waiting callbacks and no actor awake; it is now. */
  woken: number;
}

/** Looks for what a crash between two systems has left, and sets it right. Each may run again at any time. */
export function createMaintenanceActivities(deps: MaintenanceDeps) {
  const { maintenance, startTasks, actors, logger, ages = AGES } = deps;

  const goOn = (phase: string): void => {
    cancellationSignal().throwIfAborted();
    heartbeat({ phase });
  };

  /** Brings a start to ERROR whose workflow is gone, and gives back what it had taken. */
  const fail = async (start: StartUnderWay, state: WorkflowState): Promise<void> => {
    await startTasks.advance(start.id, 'ERROR', {
      detail: sentenceFor(start, state),
      keepSecrets: deps.retryHours > 0,
    });
    logger.warn({ taskId: start.id, status: start.status, workflow: state }, 'a start was left behind');
    try {
      if (start.ownsSandbox && start.sandboxId) await deps.compensation.releaseSandbox(start.sandboxId);
      if (start.status === 'STARTING_CONVERSATION') await deps.compensation.discardConversation(start.id);
    } catch (err) {
      cancellationSignal().throwIfAborted();
      logger.warn(
        { err, taskId: start.id },
        'a part of a start that was left behind could not be given back',
      );
    }
  };

  const sweepUnderWay = async (sweep: StartSweep): Promise<void> => {
    let last = '';
    for (;;) {
      const starts = await maintenance.startsUnderWay(ages.startMs, last, BATCH);
      for (const start of starts) {
        goOn('looking at starts under way');
        const state = await actors.startState(start.id);
        if (state.state !== 'running') {
          await fail(start, state);
          sweep.failed++;
        } else if (start.conversationDeleted) {
          await actors.cancelStart(start.id);
          sweep.cancelled++;
        }
      }
      if (starts.length < BATCH) return;
      last = starts.at(-1)?.id ?? last;
    }
  };

  const sweepRequests = async (sweep: StartSweep): Promise<void> => {
    const requests = await maintenance.unacceptedRequests(ages.requestMs, BATCH);
    await maintenance.markAccepted(requests.filter(({ accepted }) => accepted).map(({ id }) => id));
    for (const { id, accepted } of requests) {
      goOn('looking at requests');
      if (accepted || (await actors.startState(id)).state === 'running') continue;
      await startTasks.unstage(id);
      sweep.forgotten++;
    }
  };

  return {
    /** Starts whose workflow is gone, or whose conversation was deleted; requests that never became one. */
    async sweepStarts(): Promise<StartSweep> {
      const sweep: StartSweep = { failed: 0, cancelled: 0, forgotten: 0 };
      await sweepUnderWay(sweep);
      await sweepRequests(sweep);
      return sweep;
    },

    /** Deleted conversations of which something is left, and callbacks that nobody works on. */
    async sweepConversations(): Promise<ConversationSweep> {
      const sweep: ConversationSweep = { purgesOrdered: 0, woken: 0 };
      const asleep = async (id: string) => (await actors.conversationState(id)).state !== 'running';
      for (const id of await maintenance.unpurgedConversations(ages.deletionMs, BATCH)) {
        goOn('looking at deleted conversations');
        if (!(await asleep(id))) continue;
        await actors.deleteConversation(id);
        sweep.purgesOrdered++;
      }
      for (const id of await deps.callbacks.conversationsWithQueuedCallbacks()) {
        goOn('looking at the callback queue');
        if (!(await asleep(id))) continue;
        await actors.wakeConversation(id);
        sweep.woken++;
      }
      return sweep;
    },

    /** Removes what has had its time. */
    async expireRecords(): Promise<ExpiredRecords> {
      const total: ExpiredRecords = {
        secretsErased: 0,
        startsRemoved: 0,
        conversationsRemoved: 0,
        sandboxesRemoved: 0,
      };
      for (let round = 0; round < ROUNDS; round++) {
        goOn('removing what has had its time');
        const removed: Partial<ExpiredRecords> = {
          secretsErased: await maintenance.eraseSecrets(deps.retryHours * 3_600_000, BATCH),
          ...(deps.keepDays > 0 ? await maintenance.removeExpired(deps.keepDays * 86_400_000, BATCH) : {}),
        };
        for (const kind of Object.keys(total) as (keyof ExpiredRecords)[]) total[kind] += removed[kind] ?? 0;
        if (Math.max(...Object.values(removed)) < BATCH) break;
      }
      return total;
    },
  };
}

export type MaintenanceActivities = ReturnType<typeof createMaintenanceActivities>;

function sentenceFor({ status }: StartUnderWay, state: WorkflowState): string {
  const what =
    state.state !== 'closed'
      ? 'The workflow service does not know this start any more, as after a loss of its data'
      : state.status === 'TERMINATED'
        ? 'The workflow of this start was terminated by hand'
        : `The workflow of this start ended (${state.status}) without saying how`;
  return `${what}; it had come to ${status}. Try the start again.`;
}
