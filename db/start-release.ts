/** What a start that ended in ERROR gives back within SQL, in the transaction that says so. */
import { eq, sql } from 'drizzle-orm';
import type { Database } from './database.js';
import type { Executor } from './executor.js';
import type { SandboxRecord } from './sandbox-repository.js';
import { sandboxes } from './schema/index.js';

/**
 * Hides a sandbox that nobody uses any more: no conversation, no start under way. Whoever joins a sandbox holds its row
 * for share, so none can be on its way in. Its actor, or maintenance, sees to the rest.
 */
export async function releaseSandboxOf(tx: Executor, sandboxId: string): Promise<boolean> {
  await tx.execute(sql`select id from sandboxes where id = ${sandboxId} for update`);
  const { rows } = await tx.execute(sql`
    update sandboxes set deleted_at = now(), updated_at = now()
    where id = ${sandboxId} and deleted_at is null
      and not exists (select 1 from conversations where sandbox_id = ${sandboxId} and deleted_at is null)
      and not exists (
        select 1 from start_tasks where sandbox_id = ${sandboxId} and status not in ('READY', 'ERROR'))
    returning id`);
  return rows.length > 0;
}

/**
 * Removes the row, the callbacks and the event index of a conversation whose start ended in ERROR. It has never been
 * READY, so nobody was given it. One that another start of the same id has taken up is left alone, and so is the mark of
 * a deleted one.
 */
export async function forgetConversationOf(tx: Executor, taskId: string): Promise<{ forgotten: boolean }> {
  const { rows } = await tx.execute<{ id: string }>(sql`
    select task.conversation_id as id from start_tasks task
    where task.id = ${taskId} and task.status = 'ERROR' and not exists (
      select 1 from start_requests other
      where other.conversation_id = task.conversation_id and other.id <> task.id and other.superseded_at is null)`);
  const conversationId = rows[0]?.id;
  if (conversationId === undefined) return { forgotten: false };
  await tx.execute(sql`delete from event_callbacks where conversation_id = ${conversationId}`);
  await tx.execute(sql`delete from event_index where conversation_id = ${conversationId}`);
  await tx.execute(sql`delete from conversations where id = ${conversationId} and deleted_at is null`);
  return { forgotten: true };
}

/** Ends the life of sandboxes that nobody uses any more, as far as SQL is concerned. */
export class SandboxRelease {
  constructor(private readonly database: Database) {}

  /**
   * Hides a sandbox unless somebody uses it.
   * @returns its row when it is hidden, by this call or before: its actor has to be told; null when it stays, or never was.
   */
  async release(sandboxId: string): Promise<SandboxRecord | null> {
    return this.database.transaction(async (tx) => {
      await releaseSandboxOf(tx, sandboxId);
      const [row] = await tx.select().from(sandboxes).where(eq(sandboxes.id, sandboxId));
      return row?.deletedAt ? row : null;
    });
  }
}
