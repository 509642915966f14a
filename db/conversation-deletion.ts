import { and, eq, inArray, isNotNull, isNull, or, sql } from 'drizzle-orm';
import { lockConversationEvents } from './callback-repository.js';
import type { Database } from './database.js';
import type { Executor } from './executor.js';
import { ownedBy, type VisibleUsers } from './paging.js';
import { forgetMessages } from './pending-message-repository.js';
import { conversations, eventCallbacks, eventIndex, startRequests, startTasks } from './schema/index.js';

export interface DeletedConversations {
  /** Hex ids of the conversation and all below it, children before their parents. */
  conversationIds: string[];
  /** Starts of these that are still under way: whoever deletes cancels them. */
  liveTaskIds: string[];
}

const UNDER_WAY = sql`${startTasks.status} not in ('READY', 'ERROR')`;

/** Takes conversations out of sight; what lies outside of SQL is removed by their actors. */
export class ConversationDeletion {
  constructor(private readonly database: Database) {}

  /**
   * Hides a conversation with all its sub-conversations, and forgets their events, callbacks, messages and ended starts, all or
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
      if (conversationIds.length === 0) {
        const liveTaskIds = await this.#liveStartsOf(tx, users, conversationId);
        if (liveTaskIds.length > 0) await forgetMessages(tx, [conversationId]);
        return liveTaskIds.length > 0 ? { conversationIds, liveTaskIds } : null;
      }
      // Callbacks and arriving events take the same locks, always before the rows; in one order, whoever comes first.
      for (const id of conversationIds.toSorted()) await lockConversationEvents(tx, id);
      const live = await tx
        .select({ id: startTasks.id })
        .from(startTasks)
        .innerJoin(startRequests, eq(startRequests.id, startTasks.id))
        .where(
          and(
            UNDER_WAY,
            or(
              inArray(startTasks.conversationId, conversationIds),
              // A child that is only being started would be left without its parent.
              inArray(sql`${startRequests.request} ->> 'parent_conversation_id'`, conversationIds),
            ),
          ),
        );

      const now = new Date();
      await tx
        .update(conversations)
        .set({ deletedAt: now, updatedAt: now })
        .where(inArray(conversations.id, conversationIds));
      await tx.delete(eventIndex).where(inArray(eventIndex.conversationId, conversationIds));
      await tx.delete(eventCallbacks).where(inArray(eventCallbacks.conversationId, conversationIds));
      await forgetMessages(tx, conversationIds);
      await tx.delete(startRequests).where(
        and(
          inArray(startRequests.conversationId, conversationIds),
          sql`exists (select 1 from start_tasks
            where start_tasks.id = ${startRequests.id} and start_tasks.status in ('READY', 'ERROR'))`,
        ),
      );
      return { conversationIds, liveTaskIds: live.map((row) => row.id) };
    });
  }

  /** Starts under way of a conversation that there has not been yet. */
  async #liveStartsOf(tx: Executor, users: VisibleUsers, conversationId: string): Promise<string[]> {
    const rows = await tx
      .select({ id: startTasks.id })
      .from(startTasks)
      .where(
        and(
          UNDER_WAY,
          eq(startTasks.conversationId, conversationId),
          ownedBy(startTasks.createdByUserId, users),
          sql`not exists (select 1 from conversations where conversations.id = ${startTasks.conversationId})`,
        ),
      );
    return rows.map((row) => row.id);
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
