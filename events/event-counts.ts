/** The kept numbers of events, compared with the index they are of. */
import { sql } from 'drizzle-orm';
import type { Executor } from '../db/executor.js';

/** Whether the numbers kept of a conversation are those of its entries. Reads all entries. */
export async function countsAgree(executor: Executor, conversationId: string): Promise<boolean> {
  const { rows } = await executor.execute(sql`
    select 1 from
      (select kind, total from event_counts where conversation_id = ${conversationId}) kept
      full join
      (select kind, count(*) as total from event_index where conversation_id = ${conversationId} group by kind) counted
      using (kind)
    where kept.total is distinct from counted.total
    limit 1`);
  return rows.length === 0;
}

/** Counts anew. The caller holds `lockConversationEvents`. */
export async function countAnew(tx: Executor, conversationId: string): Promise<void> {
  await tx.execute(sql`delete from event_counts where conversation_id = ${conversationId}`);
  await tx.execute(sql`
    insert into event_counts (conversation_id, kind, total)
    select conversation_id, kind, count(*) from event_index
    where conversation_id = ${conversationId} group by conversation_id, kind`);
}
