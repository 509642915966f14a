import { and, eq, isNull, notInArray, sql } from 'drizzle-orm';
import type { EffectiveStartRequest, StartStatus } from '../contract/start-task.js';
import { isTerminal } from '../contract/start-task.js';
import type { Database } from './database.js';
import { insertSandbox, type NewSandbox } from './sandbox-repository.js';
import { startRequests, startTaskArtifacts, startTasks, startTaskTransitions } from './schema/index.js';
import { forgetConversationOf } from './start-release.js';
import { stageRequest, unstageRequest, type StagedRequest, type StagingResult } from './start-staging.js';
import {
  advanceTask,
  passThroughStatuses,
  START_TASK_CHANNEL,
  StartRequestMissing,
  type TransitionFields,
} from './start-transitions.js';
import { claimWarm } from './warm-sandboxes.js';

/** A start whose request was accepted, and where it stands. */
export interface AcceptedStart {
  status: StartStatus;
  conversationId: string;
}

/** Writes start requests, start tasks and their transitions; each method may be repeated after a crash. */
export class StartTaskRepository {
  constructor(private readonly database: Database) {}

  /**
   * Stores a request before its workflow is started. A conversation id (or idempotency key) that a live start holds
   * leads to that start; one whose start ended in ERROR is taken over.
   */
  async stage(staged: StagedRequest): Promise<StagingResult> {
    return stageRequest(this.database, staged);
  }

  /**
   * Forgets a request that was never accepted, so that the one whose place it took can be tried again; one that is being
   * accepted at this moment is waited for, and kept.
   */
  async unstage(taskId: string): Promise<void> {
    await unstageRequest(this.database, taskId);
  }

  /**
   * Makes the staged request a start task in WORKING; repeated, it changes nothing and tells where the task stands.
   * @throws {StartRequestMissing} when the request was withdrawn
   */
  async accept(taskId: string): Promise<AcceptedStart> {
    const [known] = await this.database
      .select({ status: startTasks.status, conversationId: startTasks.conversationId })
      .from(startTasks)
      .where(eq(startTasks.id, taskId));
    return known ?? this.#accept(taskId);
  }

  #accept(taskId: string): Promise<AcceptedStart> {
    return this.database.transaction(async (tx) => {
      const [staged] = await tx
        .select({
          conversationId: startRequests.conversationId,
          createdByUserId: startRequests.createdByUserId,
          supersedes: startRequests.supersedes,
        })
        .from(startRequests)
        .where(eq(startRequests.id, taskId));
      if (!staged) throw new StartRequestMissing(taskId);
      const now = new Date();
      const { supersedes, ...own } = staged;
      const { conversationId } = own;
      const inserted = await tx
        .insert(startTasks)
        .values({ id: taskId, ...own, status: 'WORKING', createdAt: now, updatedAt: now })
        .onConflictDoNothing()
        .returning({ id: startTasks.id });
      if (inserted.length === 0) {
        const [task] = await tx
          .select({ status: startTasks.status })
          .from(startTasks)
          .where(eq(startTasks.id, taskId));
        return { status: task?.status ?? 'WORKING', conversationId };
      }
      await tx.update(startRequests).set({ acceptedAt: now }).where(eq(startRequests.id, taskId));
      if (supersedes !== null) {
        // This start has them now.
        await tx
          .update(startRequests)
          .set({ secrets: null, authority: null })
          .where(eq(startRequests.id, supersedes));
      }
      await tx.insert(startTaskTransitions).values({ taskId, sequence: 1, status: 'WORKING', at: now });
      await tx.execute(sql`select pg_notify(${START_TASK_CHANNEL}, ${taskId})`);
      return { status: 'WORKING', conversationId };
    });
  }

  /**
   * Writes a status and announces it, in one transaction: a listener never hears of what it cannot read yet.
   * The status a task already has is not written again; a terminal one is never left. With ERROR goes, in the same
   * transaction, what the start has made: a sandbox of its own is hidden, its conversation forgotten.
   * @returns the status before
   */
  async advance(taskId: string, status: StartStatus, fields: TransitionFields = {}): Promise<StartStatus> {
    return this.database.transaction((tx) => advanceTask(tx, taskId, status, fields));
  }

  /**
   * Writes and announces statuses that follow each other at once, in one statement; each of them is told to whoever
   * listens. Those that the task has reached or passed are left out, so that a repeated step leads nowhere back.
   * @param statuses none of them an end
   */
  async passThrough(
    taskId: string,
    statuses: readonly Exclude<StartStatus, 'READY' | 'ERROR'>[],
    fields: Pick<TransitionFields, 'agentServerUrl'> = {},
  ): Promise<void> {
    await passThroughStatuses(this.database, taskId, statuses, fields);
  }

  /**
   * Announces WAITING_FOR_SANDBOX with the sandbox of the start. Nobody can delete the sandbox as unused in between.
   * @param sandbox its id where it exists; one that is made for this start alone is stored in the same transaction, so
   *   that at no instant there is one that nobody knows of
   * @returns false when the sandbox is deleted already, or somebody else's: another one has to be found.
   * @throws {StartEnded} when nobody would give it back any more
   */
  async occupy(taskId: string, sandbox: string | NewSandbox): Promise<boolean> {
    const made = typeof sandbox === 'string' ? null : sandbox;
    const sandboxId = made?.id ?? (sandbox as string);
    return this.database.transaction(async (tx) => {
      if (made) await insertSandbox(tx, made);
      const { rows } = await tx.execute<{ owner: string | null }>(
        sql`select created_by_user_id as owner from sandboxes where id = ${sandboxId} and deleted_at is null for share`,
      );
      const [found] = rows;
      if (!found || (made && found.owner !== made.createdByUserId)) return false;
      const open = await tx
        .update(startTasks)
        .set({ ownsSandbox: made !== null })
        .where(and(eq(startTasks.id, taskId), notInArray(startTasks.status, ['READY', 'ERROR'])))
        .returning({ id: startTasks.id });
      if (open.length === 0) throw new StartEnded(taskId);
      await advanceTask(tx, taskId, 'WAITING_FOR_SANDBOX', { sandboxId });
      return true;
    });
  }

  /**
   * Gives a start a sandbox that is kept warm, and announces WAITING_FOR_SANDBOX with it, in one transaction: at no
   * instant is one taken and nobody's. Of several starts that want the same one, one gets it.
   * @returns the sandbox of the start; null when this one is not to be had any more
   * @throws {StartEnded} when nobody would give it back any more
   */
  async occupyWarm(taskId: string, sandboxId: string): Promise<string | null> {
    return this.database.transaction(async (tx) => {
      const [task] = await tx.select().from(startTasks).where(eq(startTasks.id, taskId)).for('update');
      if (!task) throw new StartRequestMissing(taskId);
      if (task.sandboxId !== null) return task.sandboxId; // another attempt was faster
      if (isTerminal(task.status)) throw new StartEnded(taskId);
      if (!(await claimWarm(tx, sandboxId, task.createdByUserId))) return null;
      await tx.update(startTasks).set({ ownsSandbox: true }).where(eq(startTasks.id, taskId));
      await advanceTask(tx, taskId, 'WAITING_FOR_SANDBOX', { sandboxId });
      return sandboxId;
    });
  }

  /** The task with its request and encrypted secrets, for the activities of its start. */
  async read(taskId: string): Promise<StartTaskRecord | null> {
    const [row] = await this.database
      .select({
        task: startTasks,
        request: startRequests.request,
        secrets: startRequests.secrets,
        authority: startRequests.authority,
        supersedes: startRequests.supersedes,
        supersededAt: startRequests.supersededAt,
      })
      .from(startTasks)
      .innerJoin(startRequests, eq(startRequests.id, startTasks.id))
      .where(eq(startTasks.id, taskId));
    if (!row) return null;
    const { task, ...request } = row;
    return { ...task, ...request };
  }

  /** Removes rows, callbacks and index of the conversation of a start that ended in ERROR, unless another start has it. */
  async forgetConversation(taskId: string): Promise<{ forgotten: boolean }> {
    return this.database.transaction((tx) => forgetConversationOf(tx, taskId));
  }

  /** Whether a start of this conversation (hex) is under way. */
  async isStarting(conversationId: string): Promise<boolean> {
    const [row] = await this.database
      .select({ id: startTasks.id })
      .from(startRequests)
      .innerJoin(startTasks, eq(startTasks.id, startRequests.id))
      .where(
        and(
          eq(startRequests.conversationId, conversationId),
          isNull(startRequests.supersededAt),
          sql`${startTasks.status} not in ('READY', 'ERROR')`,
        ),
      );
    return row !== undefined;
  }

  /** Keeps what a later phase of the start needs. */
  async putArtifact(taskId: string, name: string, content: unknown): Promise<void> {
    await this.database
      .insert(startTaskArtifacts)
      .values({ taskId, name, content })
      .onConflictDoUpdate({ target: [startTaskArtifacts.taskId, startTaskArtifacts.name], set: { content } });
  }

  /** What an earlier phase kept, or null. */
  async artifact(taskId: string, name: string): Promise<unknown> {
    const [row] = await this.database
      .select({ content: startTaskArtifacts.content })
      .from(startTaskArtifacts)
      .where(and(eq(startTaskArtifacts.taskId, taskId), eq(startTaskArtifacts.name, name)));
    return row?.content ?? null;
  }
}

export type StartTaskRecord = typeof startTasks.$inferSelect & {
  request: EffectiveStartRequest;
  secrets: string | null;
  authority: string | null;
  /** The start that this one tries again. */
  supersedes: string | null;
  /** Set when another start tries this one again. */
  supersededAt: Date | null;
};

/** A start that has ended takes nothing any more: nobody would give it back. */
export class StartEnded extends Error {
  constructor(taskId: string) {
    super(`start task ${taskId} has ended already`);
    this.name = 'StartEnded';
  }
}
