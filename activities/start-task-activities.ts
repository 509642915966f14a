import { ApplicationFailure } from '@temporalio/common';
import { and, asc, count, desc, eq, inArray, isNull, sql } from 'drizzle-orm';
import { base62, hexId } from '../contract/ids.js';
import { isTerminal, type StartStatus } from '../contract/start-task.js';
import type { Database } from '../db/database.js';
import type { PendingMessageRepository } from '../db/pending-message-repository.js';
import type { NewSandbox, SandboxRepository } from '../db/sandbox-repository.js';
import { conversations, sandboxes } from '../db/schema/index.js';
import { StartEnded } from '../db/start-occupation.js';
import type { StartTaskRecord, StartTaskRepository } from '../db/start-task-repository.js';
import { StartRequestMissing, type TransitionFields } from '../db/start-transitions.js';
import type { WantedSandbox } from '../identity/new-sandbox.js';

/** How long the phases of a start may take, in seconds. */
export interface StartLimits {
  cloneSeconds: number;
  setupScriptSeconds: number;
  /** How long workers that come and go may hold up one phase in all; the workflow knows, if left out. */
  handoverSeconds?: number;
}

/** What the workflow tells with a status. */
export interface StepFields extends Omit<TransitionFields, 'keepSecrets' | 'ownsSandbox'> {
  /** With ERROR: somebody has called the start off, so nothing of it is kept. */
  cancelled?: boolean;
}

/** Where a start works. */
export interface ChosenSandbox {
  id: string;
  /** It was made for this start alone, and goes with it when it fails. */
  isNew: boolean;
  /** No repository is to be cloned; not said before 0.4.0. */
  isBare?: boolean;
}

/** What acceptance tells of a start. */
export interface AcceptedTask {
  limits: StartLimits;
  /** It has ended in READY or ERROR already: it was asked for again. */
  ended: boolean;
  /** Where it stands; not said before 0.5.0. */
  status?: StartStatus;
  conversationId?: string;
}

/** What came of a new status. */
export interface Advance {
  /** The status before; not said before 0.5.0. */
  was?: StartStatus;
  /** With READY: whether messages wait for the conversation. */
  messagesWait?: boolean;
}

/** Which running sandbox a new conversation may join (contract 5.6). */
export type GroupingStrategy =
  'NO_GROUPING' | 'ADD_TO_ANY' | 'GROUP_BY_NEWEST' | 'LEAST_RECENTLY_USED' | 'FEWEST_CONVERSATIONS';

/** Conversations that one sandbox takes under a grouping strategy (contract 5.6). */
const GROUP_SIZE = 20;

export interface StartTaskActivityDeps {
  database: Database;
  startTasks: StartTaskRepository;
  sandboxes: SandboxRepository;
  messages: Pick<PendingMessageRepository, 'isAwaited'>;
  limits: StartLimits;
  /** Spec of a sandbox made for a start. */
  defaultSpecId: string;
  /** Whether secrets of a failed start are kept for a while, so that it can be tried again. */
  keepSecretsOfFailed: boolean;
  /** Makes the keys of a new sandbox, which is not stored yet. */
  newSandbox: (sandbox: WantedSandbox) => Promise<NewSandbox>;
  groupingStrategy: (userId: string | null) => Promise<GroupingStrategy>;
  /** Gives a start a sandbox that is kept warm, and announces it; null when there is none for it. None where none are kept. */
  takeWarm?: (task: StartTaskRecord) => Promise<{ id: string; isNew: boolean } | null>;
}

/** Short SQL steps of a start, run as local activities: each may run again after a crash and then changes nothing. */
export function createStartTaskActivities(deps: StartTaskActivityDeps) {
  const { database, startTasks, limits } = deps;

  /** Running sandboxes of the user with room for one more, in list order (newest first). */
  const groupCandidates = (userId: string | null) =>
    database
      .select({ id: sandboxes.id, createdAt: sandboxes.createdAt, conversations: count(conversations.id) })
      .from(sandboxes)
      .leftJoin(
        conversations,
        and(eq(conversations.sandboxId, sandboxes.id), isNull(conversations.deletedAt)),
      )
      .where(
        and(
          userId === null ? isNull(sandboxes.createdByUserId) : eq(sandboxes.createdByUserId, userId),
          inArray(sandboxes.status, ['RUNNING']),
          isNull(sandboxes.deletedAt),
          isNull(sandboxes.warmSince),
        ),
      )
      .groupBy(sandboxes.id)
      .having(sql`count(${conversations.id}) < ${GROUP_SIZE}`);

  const joinable = async (userId: string | null): Promise<string | null> => {
    const strategy = await deps.groupingStrategy(userId);
    if (strategy === 'NO_GROUPING') return null;
    const order = {
      ADD_TO_ANY: [desc(sandboxes.createdAt), desc(sandboxes.id)],
      GROUP_BY_NEWEST: [desc(sandboxes.createdAt), desc(sandboxes.id)],
      LEAST_RECENTLY_USED: [asc(sandboxes.createdAt), asc(sandboxes.id)],
      FEWEST_CONVERSATIONS: [sql`count(${conversations.id})`, desc(sandboxes.createdAt), desc(sandboxes.id)],
    }[strategy];
    const [first] = await groupCandidates(userId)
      .orderBy(...order)
      .limit(1);
    return first?.id ?? null;
  };

  const taskOf = async (taskId: string): Promise<StartTaskRecord> => {
    const task = await startTasks.read(taskId);
    if (!task)
      throw ApplicationFailure.nonRetryable(`start task ${taskId} does not exist`, 'StartTaskMissing');
    return task;
  };

  /** The sandbox a caller named: it must exist and be the caller's, otherwise it is as if it did not exist. */
  const givenSandbox = async (task: StartTaskRecord, sandboxId: string): Promise<string> => {
    const row = await deps.sandboxes.read(sandboxId);
    if (!row || row.deletedAt || row.warmSince || row.createdByUserId !== task.createdByUserId) {
      throw ApplicationFailure.nonRetryable(`500: Sandbox not found: ${sandboxId}`, 'SandboxNotFound');
    }
    if (row.status === 'ERROR') {
      throw ApplicationFailure.nonRetryable(
        `500: Sandbox status: ERROR${row.detail ? `: ${row.detail}` : ''}`,
        'SandboxInError',
      );
    }
    return row.id;
  };

  /**
   * The conversation's own id where the client chose one (contract 1.2), unless an earlier, failed start of it has
   * used that up; `fallback` otherwise.
   */
  const freeSandboxId = async (
    { request, createdAt }: StartTaskRecord,
    fallback: string,
  ): Promise<string> => {
    if (!request.conversation_id) return fallback;
    const id = hexId(request.conversation_id);
    const row = await deps.sandboxes.read(id);
    return !row || (!row.deletedAt && row.createdAt >= createdAt) ? id : fallback;
  };

  /** The shared sandbox of the start that is tried again, if it is still there. */
  const sandboxOfEarlier = async ({
    supersedes,
    createdByUserId,
  }: StartTaskRecord): Promise<string | null> => {
    const earlier = supersedes === null ? null : await startTasks.read(supersedes);
    if (!earlier?.sandboxId || earlier.ownsSandbox) return null;
    const row = await deps.sandboxes.read(earlier.sandboxId);
    const usable = row && !row.deletedAt && row.createdByUserId === createdByUserId && row.status !== 'ERROR';
    return usable ? row.id : null;
  };

  const choose = async (task: StartTaskRecord, candidate: string): Promise<Choice> => {
    const { request, createdByUserId: userId } = task;
    if (request.sandbox_id) return { sandbox: await givenSandbox(task, request.sandbox_id) };
    const joined = (await sandboxOfEarlier(task)) ?? (await joinable(userId));
    if (joined) return { sandbox: joined };
    // A client that chose the id of its conversation has chosen that of the sandbox too.
    const warm = request.conversation_id ? null : await deps.takeWarm?.(task);
    if (warm) return { announced: warm };
    const id = await freeSandboxId(task, base62(Buffer.from(hexId(candidate), 'hex')));
    return { sandbox: await deps.newSandbox({ id, userId, specId: deps.defaultSpecId }) };
  };

  /** What is wrong with the start itself is not tried again. */
  const withFinalFailures = async <Result>(work: () => Promise<Result>): Promise<Result> => {
    try {
      return await work();
    } catch (err) {
      if (err instanceof StartRequestMissing || err instanceof StartEnded) {
        throw ApplicationFailure.nonRetryable(err.message, err.name);
      }
      throw err;
    }
  };

  return {
    /** Makes the staged request a start task in WORKING. */
    async acceptStartTask(taskId: string): Promise<AcceptedTask> {
      const { status, conversationId } = await withFinalFailures(() => startTasks.accept(taskId));
      return { limits, ended: isTerminal(status), status, conversationId };
    },

    /**
     * The sandbox of a start: the one asked for, one to join, or a new row with keys of its own. It is announced with
     * WAITING_FOR_SANDBOX in the same step.
     * @param candidate UUID from which a new sandbox's id is made, the same in every attempt.
     */
    async chooseSandbox(taskId: string, candidate: string): Promise<ChosenSandbox> {
      const task = await taskOf(taskId);
      const isBare = task.request.selected_repository === null;
      // What an earlier attempt has announced stays.
      if (task.sandboxId !== null) return { id: task.sandboxId, isNew: task.ownsSandbox, isBare };
      return withFinalFailures(async () => {
        const choice = await choose(task, candidate);
        if ('announced' in choice) return { ...choice.announced, isBare };
        const { sandbox } = choice;
        const [id, isNew] = typeof sandbox === 'string' ? [sandbox, false] : [sandbox.id, true];
        if (await startTasks.occupy(taskId, sandbox)) return { id, isNew, isBare };
        // Deleted since it was chosen: tried again, another one is found, or the given one is missing.
        throw ApplicationFailure.retryable(
          `500: Sandbox not found: ${id} was deleted meanwhile`,
          'SandboxNotFound',
        );
      });
    },

    /** Writes and announces a status. */
    async advanceStartTask(taskId: string, status: StartStatus, fields: StepFields = {}): Promise<Advance> {
      const { cancelled = false, ...step } = fields;
      const keepSecrets = status === 'ERROR' && !cancelled && deps.keepSecretsOfFailed;
      const was = await withFinalFailures(() => startTasks.advance(taskId, status, { ...step, keepSecrets }));
      if (status !== 'READY' || step.appConversationId === undefined) return { was };
      // After the commit: a message that is stored later finds the start READY and is delivered without us.
      return { was, messagesWait: await deps.messages.isAwaited(hexId(step.appConversationId)) };
    },
  };
}

/** A sandbox to be occupied, or a warm one that the start has got already. */
type Choice = { sandbox: string | NewSandbox } | { announced: { id: string; isNew: boolean } };

export type StartTaskActivities = ReturnType<typeof createStartTaskActivities>;
