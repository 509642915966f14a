import { and, eq, isNull, sql } from 'drizzle-orm';
import { hexId } from '../contract/ids.js';
import type { EffectiveStartRequest, StartStatus } from '../contract/start-task.js';
import { isTerminal } from '../contract/start-task.js';
import type { Database } from './database.js';
import { startRequests, startTaskArtifacts, startTasks, startTaskTransitions } from './schema/index.js';

/** Channel on which each new status of a start is announced; the payload is the task id. */
export const START_TASK_CHANNEL = 'start_task';

export interface StagedRequest {
  taskId: string;
  conversationId: string;
  createdByUserId: string | null;
  request: EffectiveStartRequest;
  /** Encrypted JSON object of the secrets given with the start, or null. */
  secrets: string | null;
  idempotencyKey: string | null;
}

/** What staging found: this request, or the live one that holds the same conversation id or idempotency key. */
export type StagingResult =
  | { outcome: 'staged'; taskId: string }
  | { outcome: 'existing'; taskId: string; createdByUserId: string | null };

/** What a start has got so far; members left out keep their value. */
export interface TransitionFields {
  detail?: string;
  sandboxId?: string;
  agentServerUrl?: string;
  appConversationId?: string;
}

/** Writes start requests, start tasks and their transitions; each method may be repeated after a crash. */
export class StartTaskRepository {
  constructor(private readonly database: Database) {}

  /**
   * Stores a request before its workflow is started. A conversation id (or idempotency key) that a live start holds
   * leads to that start; one whose start ended in ERROR is taken over.
   */
  async stage(staged: StagedRequest): Promise<StagingResult> {
    return this.database.transaction(async (tx) => {
      // Serializes requests for one conversation, and for one idempotency key, until the transaction ends.
      await tx.execute(sql`select pg_advisory_xact_lock(hashtextextended(${staged.conversationId}, 1))`);
      if (staged.idempotencyKey !== null) {
        const scope = `${staged.createdByUserId ?? ''}/${staged.idempotencyKey}`;
        await tx.execute(sql`select pg_advisory_xact_lock(hashtextextended(${scope}, 2))`);
        const [same] = await tx
          .select({ id: startRequests.id, createdByUserId: startRequests.createdByUserId })
          .from(startRequests)
          .where(
            and(
              sql`coalesce(${startRequests.createdByUserId}, '') = ${staged.createdByUserId ?? ''}`,
              eq(startRequests.idempotencyKey, staged.idempotencyKey),
            ),
          );
        if (same) return { outcome: 'existing', taskId: same.id, createdByUserId: same.createdByUserId };
      }
      const [live] = await tx
        .select({
          id: startRequests.id,
          createdByUserId: startRequests.createdByUserId,
          status: startTasks.status,
        })
        .from(startRequests)
        .leftJoin(startTasks, eq(startTasks.id, startRequests.id))
        .where(
          and(eq(startRequests.conversationId, staged.conversationId), isNull(startRequests.supersededAt)),
        );
      if (live && (live.status !== 'ERROR' || live.createdByUserId !== staged.createdByUserId)) {
        return { outcome: 'existing', taskId: live.id, createdByUserId: live.createdByUserId };
      }
      if (live) {
        await tx.update(startRequests).set({ supersededAt: new Date() }).where(eq(startRequests.id, live.id));
      }
      await tx.insert(startRequests).values({
        id: staged.taskId,
        conversationId: staged.conversationId,
        createdByUserId: staged.createdByUserId,
        request: staged.request,
        secrets: staged.secrets,
        idempotencyKey: staged.idempotencyKey,
      });
      return { outcome: 'staged', taskId: staged.taskId };
    });
  }

  /** Forgets a request that was never accepted; one that is being accepted at this moment is waited for, and kept. */
  async unstage(taskId: string): Promise<void> {
    await this.database.transaction(async (tx) => {
      await tx.execute(sql`select id from start_requests where id = ${taskId} for update`);
      await tx.execute(sql`
        delete from start_requests
        where id = ${taskId} and not exists (select 1 from start_tasks where start_tasks.id = start_requests.id)`);
    });
  }

  /** Makes the staged request a start task in WORKING; repeated, it changes nothing and tells where the task stands. */
  async accept(taskId: string): Promise<{ status: StartStatus }> {
    return this.database.transaction(async (tx) => {
      const [staged] = await tx
        .select({
          conversationId: startRequests.conversationId,
          createdByUserId: startRequests.createdByUserId,
        })
        .from(startRequests)
        .where(eq(startRequests.id, taskId));
      if (!staged) throw new StartRequestMissing(taskId);
      const now = new Date();
      const inserted = await tx
        .insert(startTasks)
        .values({ id: taskId, ...staged, status: 'WORKING', createdAt: now, updatedAt: now })
        .onConflictDoNothing()
        .returning({ id: startTasks.id });
      if (inserted.length === 0) {
        const [task] = await tx
          .select({ status: startTasks.status })
          .from(startTasks)
          .where(eq(startTasks.id, taskId));
        return { status: task?.status ?? 'WORKING' };
      }
      await tx.insert(startTaskTransitions).values({ taskId, sequence: 1, status: 'WORKING', at: now });
      await tx.execute(sql`select pg_notify(${START_TASK_CHANNEL}, ${taskId})`);
      return { status: 'WORKING' };
    });
  }

  /**
   * Writes a status and announces it, in one transaction: a listener never hears of what it cannot read yet.
   * The status a task already has is written again only if something else changed; a terminal one is never left.
   */
  async advance(taskId: string, status: StartStatus, fields: TransitionFields = {}): Promise<void> {
    await this.database.transaction(async (tx) => {
      const [task] = await tx.select().from(startTasks).where(eq(startTasks.id, taskId)).for('update');
      if (!task) throw new StartRequestMissing(taskId);
      if (isTerminal(task.status) || task.status === status) return;
      const now = new Date(Math.max(Date.now(), task.updatedAt.getTime() + 1)); // times of one task only grow
      const next = {
        status,
        detail: fields.detail ?? task.detail,
        sandboxId: fields.sandboxId ?? task.sandboxId,
        agentServerUrl: fields.agentServerUrl ?? task.agentServerUrl,
        appConversationId: fields.appConversationId
          ? hexId(fields.appConversationId)
          : task.appConversationId,
      };
      await tx
        .update(startTasks)
        .set({ ...next, updatedAt: now })
        .where(eq(startTasks.id, taskId));
      await tx.insert(startTaskTransitions).values({
        taskId,
        sequence: sql`(select coalesce(max(sequence), 0) + 1 from start_task_transitions where task_id = ${taskId})`,
        ...next,
        at: now,
      });
      if (isTerminal(status)) {
        // What only the start needed goes with its end: secrets first of all.
        await tx.update(startRequests).set({ secrets: null }).where(eq(startRequests.id, taskId));
        await tx.delete(startTaskArtifacts).where(eq(startTaskArtifacts.taskId, taskId));
      }
      await tx.execute(sql`select pg_notify(${START_TASK_CHANNEL}, ${taskId})`);
    });
  }

  /** The task with its request and encrypted secrets, for the activities of its start. */
  async read(taskId: string): Promise<StartTaskRecord | null> {
    const [row] = await this.database
      .select({ task: startTasks, request: startRequests.request, secrets: startRequests.secrets })
      .from(startTasks)
      .innerJoin(startRequests, eq(startRequests.id, startTasks.id))
      .where(eq(startTasks.id, taskId));
    return row ? { ...row.task, request: row.request, secrets: row.secrets } : null;
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
};

/** The request of a start is not there: never staged, or swept as abandoned. */
export class StartRequestMissing extends Error {
  constructor(taskId: string) {
    super(`start request ${taskId} does not exist`);
    this.name = 'StartRequestMissing';
  }
}
