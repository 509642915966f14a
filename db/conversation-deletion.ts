import { and, eq, inArray, isNotNull, isNull, or, sql } from 'drizzle-orm';
import type { Database } from './database.js';
import { ownedBy, type VisibleUsers } from './paging.js';
import { conversations, eventCallbacks, eventIndex, startRequests, startTasks } from './schema/index.js';

export interface DeletedConversations {
  /** Hex ids of the conversation and all below it, children before their parents. */
  conversationIds: string[];
  /** Starts of these that are still under way: whoever deletes cancels them. */
  liveTaskIds: string[];
}

/** Takes conversations out of sight; what lies outside of SQL is removed by their actors. */
export class ConversationDeletion {
  constructor(private readonly database: Database) {}

  /**
   * Hides a conversation with all its sub-conversations, and forgets their events, callbacks and ended starts, all or
   * nothing. A start still under way keeps its task, which its cancellation brings to ERROR.
   * @returns null when there is neither such a conversation nor a start of one that the caller may see.
   */
  async markDeleted(users: VisibleUsers, conversationId: string): Promise<DeletedConversations | null> {
    return this.database.transaction(async (tx) => {
      const family = await tx.execute<{ id: string }>(sql`
        with recursive family(id, depth) as (
          select id, 0 from conversations
          where ${and(eq(conversations.id, conversationId), isNull(conversations.deletedAt), ownedBy(conversations.createdByUserId, users))}
          union
          select child.id, family.depth + 1 from conversations child
          join family on child.parent_conversation_id = family.id
          where child.deleted_at is null and family.depth < 100
        )
        select id from family group by id order by max(depth) desc, id`);
      const conversationIds = family.rows.map((row) => row.id);
      const concerned = conversationIds.length > 0 ? conversationIds : [conversationId];

      const live = await tx
        .select({ id: startTasks.id })
        .from(startTasks)
        .innerJoin(startRequests, eq(startRequests.id, startTasks.id))
        .where(
          and(
            sql`${startTasks.status} not in ('READY', 'ERROR')`,
            conversationIds.length > 0 ? undefined : ownedBy(startTasks.createdByUserId, users),
            or(
              inArray(startTasks.conversationId, concerned),
              // A child that is only being started would be left without its parent.
              inArray(sql`${startRequests.request} ->> 'parent_conversation_id'`, concerned),
            ),
          ),
        );
      const liveTaskIds = live.map((row) => row.id);
      if (conversationIds.length === 0)
        return liveTaskIds.length > 0 ? { conversationIds, liveTaskIds } : null;

      const now = new Date();
      await tx
        .update(conversations)
        .set({ deletedAt: now, updatedAt: now })
        .where(inArray(conversations.id, conversationIds));
      await tx.delete(eventIndex).where(inArray(eventIndex.conversationId, conversationIds));
      await tx.delete(eventCallbacks).where(inArray(eventCallbacks.conversationId, conversationIds));
      await tx.delete(startRequests).where(
        and(
          inArray(startRequests.conversationId, conversationIds),
          sql`exists (select 1 from start_tasks
            where start_tasks.id = ${startRequests.id} and start_tasks.status in ('READY', 'ERROR'))`,
        ),
      );
      return { conversationIds, liveTaskIds };
    });
  }

  /** Whether the caller's conversation is deleted already: its actor may have to be told once more. */
  async isDeleted(users: VisibleUsers, conversationId: string): Promise<boolean> {
    const [row] = await this.database
      .select({ id: conversations.id })
      .from(conversations)
      .where(
        and(
          eq(conversations.id, conversationId),
          isNotNull(conversations.deletedAt),
          ownedBy(conversations.createdByUserId, users),
        ),
      );
    return row !== undefined;
  }
}
