/** Requests of starts before their workflows have accepted them: one live start for each conversation and key. */
import { and, eq, isNull, sql } from 'drizzle-orm';
import type { EffectiveStartRequest } from '../contract/start-task.js';
import type { Database } from './database.js';
import type { Executor } from './executor.js';
import { startRequests, startTasks } from './schema/index.js';

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

/**
 * Stores a request before its workflow is started. A conversation id (or idempotency key) that a live start holds
 * leads to that start; one whose start ended in ERROR is taken over.
 */
export async function stageRequest(database: Database, staged: StagedRequest): Promise<StagingResult> {
  const { taskId, ...request } = staged;
  // An id that was made for this request is nobody else's, and a key that another one holds prevents the insertion.
  if (staged.request.conversation_id === null) {
    const stored = await database
      .insert(startRequests)
      .values({ id: taskId, ...request })
      .onConflictDoNothing()
      .returning({ id: startRequests.id });
    if (stored.length > 0) return { outcome: 'staged', taskId };
  }
  return database.transaction(async (tx) => {
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
    await tx.insert(startRequests).values({ id: taskId, ...request, supersedes: live?.id ?? null });
    return { outcome: 'staged', taskId };
  });
}

/**
 * Forgets a request that was never accepted, so that the one whose place it took can be tried again; one that is being
 * accepted at this moment is waited for, and kept.
 */
export async function unstageRequest(database: Database, taskId: string): Promise<void> {
  await database.transaction(async (tx) => {
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

/** Takes a request that ended in ERROR out of the way of the next one for its conversation. */
export async function supersede(tx: Executor, taskId: string): Promise<void> {
  await tx.update(startRequests).set({ supersededAt: new Date() }).where(eq(startRequests.id, taskId));
}

/** Serializes requests for one conversation until the transaction ends. */
export async function lockConversationStarts(tx: Executor, conversationId: string): Promise<void> {
  await tx.execute(sql`select pg_advisory_xact_lock(hashtextextended(${conversationId}, 1))`);
}
