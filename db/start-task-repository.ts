import { and, eq, isNull, notInArray, sql } from 'drizzle-orm';
import { hexId } from '../contract/ids.js';
import type { EffectiveStartRequest, StartStatus } from '../contract/start-task.js';
import { isTerminal, START_STATUSES } from '../contract/start-task.js';
import type { Database } from './database.js';
import type { Executor } from './executor.js';
import { insertSandbox, type NewSandbox } from './sandbox-repository.js';
import { startRequests, startTaskArtifacts, startTasks, startTaskTransitions } from './schema/index.js';
import { forgetConversationOf, releaseSandboxOf } from './start-release.js';
import { claimWarm } from './warm-sandboxes.js';

/** Channel on which each new status of a start is announced; the payload is the task id. */
export const START_TASK_CHANNEL = 'start_task';

export interface StagedRequest {
  taskId: string;
  conversationId: string;
  createdByUserId: string | null;
  request: EffectiveStartRequest;
  /** Encrypted JSON object of the secrets given with the start, or null. */
  secrets: string | null;
  /** In whose name the start acts, encrypted; null for its author alone. */
  authority?: string | null;
  idempotencyKey: string | null;
  /** Hash of what the client sent; null where nobody compares it. */
  fingerprint?: string | null;
}

/**
 * What staging found: this request, the live one that holds the same conversation id or idempotency key, or one of the
 * same key that asked for something else.
 */
export type StagingResult =
  | { outcome: 'staged'; taskId: string }
  | { outcome: 'existing'; taskId: string; createdByUserId: string | null }
  | { outcome: 'other-request'; taskId: string };

/** What a start has got so far; members left out keep their value. */
export interface TransitionFields {
  detail?: string;
  sandboxId?: string;
  agentServerUrl?: string;
  appConversationId?: string;
  /** With ERROR: secrets of the request stay, so that the start can be tried again. */
  keepSecrets?: boolean;
}

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
    return this.database.transaction(async (tx) => {
      await lockConversationStarts(tx, staged.conversationId);
      if (staged.idempotencyKey !== null) {
        const scope = `${staged.createdByUserId ?? ''}/${staged.idempotencyKey}`;
        await tx.execute(sql`select pg_advisory_xact_lock(hashtextextended(${scope}, 2))`);
        const [same] = await tx
          .select({
            id: startRequests.id,
            createdByUserId: startRequests.createdByUserId,
            fingerprint: startRequests.fingerprint,
          })
          .from(startRequests)
          .where(
            and(
              sql`coalesce(${startRequests.createdByUserId}, '') = ${staged.createdByUserId ?? ''}`,
              eq(startRequests.idempotencyKey, staged.idempotencyKey),
            ),
          );
        if (same) {
          const differs = same.fingerprint !== null && same.fingerprint !== (staged.fingerprint ?? null);
          return differs
            ? { outcome: 'other-request', taskId: same.id }
            : { outcome: 'existing', taskId: same.id, createdByUserId: same.createdByUserId };
        }
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
        await supersede(tx, live.id);
      }
      const { taskId: id, ...values } = staged;
      await tx.insert(startRequests).values({ id, ...values, supersedes: live?.id ?? null });
      return { outcome: 'staged', taskId: staged.taskId };
    });
  }

  /**
   * Forgets a request that was never accepted, so that the one whose place it took can be tried again; one that is being
   * accepted at this moment is waited for, and kept.
   */
  async unstage(taskId: string): Promise<void> {
    await this.database.transaction(async (tx) => {
      await tx.execute(sql`select id from start_requests where id = ${taskId} for update`);
      const { rows } = await tx.execute<{ supersedes: string | null }>(sql`
        delete from start_requests
        where id = ${taskId} and not exists (select 1 from start_tasks where start_tasks.id = start_requests.id)
        returning supersedes`);
      const earlier = rows[0]?.supersedes;
      if (!earlier) return;
      await tx.update(startRequests).set({ supersededAt: null }).where(eq(startRequests.id, earlier));
    });
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
    return this.database.transaction((tx) => this.#advance(tx, taskId, status, fields));
  }

  /**
   * Writes and announces statuses that follow each other at once, in one statement; each of them is told to whoever
   * listens. Those that the task has reached or passed are left out, so that a repeated step leads nowhere back.
   * @param statuses none of them an end
   */
  async passThrough(
    taskId: string,
    statuses: readonly Exclude<StartStatus, 'READY' | 'ERROR'>[],
    { agentServerUrl }: Pick<TransitionFields, 'agentServerUrl'> = {},
  ): Promise<void> {
    const order = sql`${textArray(START_STATUSES)}`;
    const { rows } = await this.database.execute<{ found: boolean }>(sql`
      with task as (
        select *, greatest(${new Date().toISOString()}::timestamptz, updated_at + interval '1 ms') as now
        from start_tasks where id = ${taskId} for update
      ), ahead as (
        select given.status, row_number() over (order by given.step) as step
        from task, unnest(${textArray(statuses)}) with ordinality as given(status, step)
        where array_position(${order}, given.status) > array_position(${order}, task.status)
      ), passed as (
        insert into start_task_transitions
          (task_id, sequence, status, detail, sandbox_id, agent_server_url, app_conversation_id, at)
        select task.id,
          ahead.step + (select max(sequence) from start_task_transitions where task_id = ${taskId}),
          ahead.status, task.detail, task.sandbox_id, coalesce(${agentServerUrl ?? null}, task.agent_server_url),
          task.app_conversation_id, task.now + (ahead.step - 1) * interval '1 ms'
        from task, ahead
        returning status, sequence, agent_server_url, at
      ), reached as (
        update start_tasks
        set status = last.status, agent_server_url = last.agent_server_url, updated_at = last.at
        from (select * from passed order by sequence desc limit 1) as last
        where id = ${taskId}
        returning pg_notify(${START_TASK_CHANNEL}, id)
      )
      select exists (select from task) as found, (select count(*) from reached) as told`);
    if (rows[0]?.found !== true) throw new StartRequestMissing(taskId);
  }

  async #advance(
    tx: Executor,
    taskId: string,
    status: StartStatus,
    fields: TransitionFields,
  ): Promise<StartStatus> {
    const [task] = await tx.select().from(startTasks).where(eq(startTasks.id, taskId)).for('update');
    if (!task) throw new StartRequestMissing(taskId);
    if (isTerminal(task.status) || task.status === status) return task.status;
    const now = new Date(Math.max(Date.now(), task.updatedAt.getTime() + 1)); // times of one task only grow
    const next = {
      status,
      detail: fields.detail ?? task.detail,
      sandboxId: fields.sandboxId ?? task.sandboxId,
      agentServerUrl: fields.agentServerUrl ?? task.agentServerUrl,
      appConversationId: fields.appConversationId ? hexId(fields.appConversationId) : task.appConversationId,
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
    if (status === 'ERROR') {
      await forgetConversationOf(tx, taskId);
      if (task.ownsSandbox && next.sandboxId) await releaseSandboxOf(tx, next.sandboxId);
    }
    if (isTerminal(status)) {
      // What only the start needed goes with its end: secrets first of all.
      if (!fields.keepSecrets) {
        await tx
          .update(startRequests)
          .set({ secrets: null, authority: null })
          .where(eq(startRequests.id, taskId));
      }
      await tx.delete(startTaskArtifacts).where(eq(startTaskArtifacts.taskId, taskId));
    }
    await tx.execute(sql`select pg_notify(${START_TASK_CHANNEL}, ${taskId})`);
    return task.status;
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
      await this.#advance(tx, taskId, 'WAITING_FOR_SANDBOX', { sandboxId });
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
      await this.#advance(tx, taskId, 'WAITING_FOR_SANDBOX', { sandboxId });
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

/** For PostgreSQL, which takes no list as a parameter from here. */
const textArray = (values: readonly string[]) =>
  sql`array[${sql.join(
    values.map((value) => sql`${value}`),
    sql`, `,
  )}]::text[]`;

/** The request of a start is not there: never staged, or swept as abandoned. */
export class StartRequestMissing extends Error {
  constructor(taskId: string) {
    super(`start request ${taskId} does not exist`);
    this.name = 'StartRequestMissing';
  }
}

/** A start that has ended takes nothing any more: nobody would give it back. */
export class StartEnded extends Error {
  constructor(taskId: string) {
    super(`start task ${taskId} has ended already`);
    this.name = 'StartEnded';
  }
}

/** Takes a request that ended in ERROR out of the way of the next one for its conversation. */
export async function supersede(tx: Executor, taskId: string): Promise<void> {
  await tx.update(startRequests).set({ supersededAt: new Date() }).where(eq(startRequests.id, taskId));
}

/** Serializes requests for one conversation until the transaction ends. */
export async function lockConversationStarts(tx: Executor, conversationId: string): Promise<void> {
  await tx.execute(sql`select pg_advisory_xact_lock(hashtextextended(${conversationId}, 1))`);
}
