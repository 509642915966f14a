import { and, asc, eq, inArray, lt, ne, sql } from 'drizzle-orm';
import { randomUUID } from 'node:crypto';
import type { ContentBlock } from '../contract/content.js';
import { MOST_PENDING_BYTES, MOST_PENDING_MESSAGES } from '../contract/pending-message.js';
import type { Database } from './database.js';
import type { Executor } from './executor.js';
import { toMessage, type PendingMessage } from './pending-message-row.js';
import { pendingMessages } from './schema/index.js';

/** Channel on which the end of each message's way is announced; the payload is the message id. */
export const PENDING_MESSAGE_CHANNEL = 'pending_message';

/** How long what has been delivered, or has failed, is remembered. */
const REMEMBERED = sql`interval '1 day'`;

export interface NewMessage {
  /** Hex. */
  conversationId: string;
  content: readonly ContentBlock[];
  run: boolean;
  idempotencyKey: string | null;
}

/** What became of a message that somebody wants to queue. */
export type QueuingResult =
  { outcome: 'queued'; id: string; position: number } | { outcome: 'too many' } | { outcome: 'too large' };

/** The queue of messages for each conversation. Every method may be repeated after a crash. */
export class PendingMessageRepository {
  constructor(private readonly database: Database) {}

  /**
   * Puts a message at the end of its conversation's queue. With a key that a message of the conversation has, it is
   * that message.
   */
  async add(message: NewMessage): Promise<QueuingResult> {
    const { conversationId, run, idempotencyKey } = message;
    const content = JSON.stringify(message.content);
    const bytes = Buffer.byteLength(content);
    return this.database.transaction(async (tx) => {
      // One after another: so the limits hold, and ordinals become visible in their order.
      await tx.execute(sql`select pg_advisory_xact_lock(hashtextextended(${conversationId}, 4))`);
      await this.#forgetOld(tx, conversationId);
      const [same] = idempotencyKey === null ? [] : await this.#byKey(tx, conversationId, idempotencyKey);
      if (same) return { outcome: 'queued', id: same.id, position: await positionOf(tx, same) };
      const [waiting] = await tx
        .select({
          count: sql<number>`count(*)::int`,
          bytes: sql<number>`coalesce(sum(${pendingMessages.bytes}), 0)::float8`,
        })
        .from(pendingMessages)
        .where(isWaiting(conversationId));
      const { count = 0, bytes: held = 0 } = waiting ?? {};
      if (count >= MOST_PENDING_MESSAGES) return { outcome: 'too many' };
      if (held + bytes > MOST_PENDING_BYTES) return { outcome: 'too large' };
      const now = new Date();
      const id = randomUUID();
      await tx
        .insert(pendingMessages)
        .values({ id, conversationId, content, bytes, run, idempotencyKey, createdAt: now, updatedAt: now });
      await tx.update(pendingMessages).set({ blockedAt: null }).where(isWaiting(conversationId));
      return { outcome: 'queued', id, position: count + 1 };
    });
  }

  /** The message whose turn it is; null when none waits. */
  async next(conversationId: string): Promise<PendingMessage | null> {
    const [row] = await this.database
      .select()
      .from(pendingMessages)
      .where(isWaiting(conversationId))
      .orderBy(asc(pendingMessages.ordinal))
      .limit(1);
    return row ? toMessage(row) : null;
  }

  /** Whether anything waits for a conversation. */
  async isAwaited(conversationId: string): Promise<boolean> {
    const [row] = await this.database
      .select({ id: pendingMessages.id })
      .from(pendingMessages)
      .where(isWaiting(conversationId))
      .limit(1);
    return row !== undefined;
  }

  /**
   * Notes that an agent-server is about to be told.
   * @param logPosition kept from the first time on
   * @returns false when somebody else has noted it since the message was read: then it is theirs to tell
   */
  async tell(message: Pick<PendingMessage, 'id' | 'attempts'>, logPosition: string): Promise<boolean> {
    const now = new Date();
    const told = await this.database
      .update(pendingMessages)
      .set({
        attempts: message.attempts + 1,
        toldAt: now,
        logPosition: sql`coalesce(${pendingMessages.logPosition}, ${logPosition}::text)`,
        updatedAt: now,
      })
      .where(
        and(
          eq(pendingMessages.id, message.id),
          eq(pendingMessages.status, 'waiting'),
          eq(pendingMessages.attempts, message.attempts),
        ),
      )
      .returning({ id: pendingMessages.id });
    return told.length > 0;
  }

  /** Notes that the agent-server certainly has not taken it; `refused` when it said so itself. */
  async untell(id: string, detail: string, { refused }: { refused: boolean }): Promise<void> {
    await this.database
      .update(pendingMessages)
      .set({
        toldAt: null,
        detail,
        refusals: sql`${pendingMessages.refusals} + ${refused ? 1 : 0}`,
        updatedAt: new Date(),
      })
      .where(and(eq(pendingMessages.id, id), eq(pendingMessages.status, 'waiting')));
  }

  /** The agent-server has it. */
  async delivered(id: string): Promise<void> {
    await this.#end([id], 'delivered', null);
  }

  /** It will not be delivered. */
  async failed(id: string, detail: string): Promise<void> {
    await this.#end([id], 'failed', detail);
  }

  /** None of those that wait for a conversation will be delivered. */
  async allFailed(conversationId: string, detail: string): Promise<void> {
    const rows = await this.database
      .select({ id: pendingMessages.id })
      .from(pendingMessages)
      .where(isWaiting(conversationId));
    await this.#end(
      rows.map(({ id }) => id),
      'failed',
      detail,
    );
  }

  /** Says why those that wait were not delivered, and that nothing more is tried by itself. */
  async block(conversationId: string, detail: string): Promise<void> {
    const now = new Date();
    await this.database
      .update(pendingMessages)
      .set({ detail, blockedAt: now, updatedAt: now })
      .where(isWaiting(conversationId));
  }

  /** One message, whatever became of it; null when it is forgotten. */
  async read(id: string): Promise<PendingMessage | null> {
    const [row] = await this.database.select().from(pendingMessages).where(eq(pendingMessages.id, id));
    return row ? toMessage(row) : null;
  }

  /** Those of a conversation that were not delivered, in their order. */
  async undelivered(conversationId: string): Promise<PendingMessage[]> {
    const rows = await this.database
      .select()
      .from(pendingMessages)
      .where(and(eq(pendingMessages.conversationId, conversationId), ne(pendingMessages.status, 'delivered')))
      .orderBy(asc(pendingMessages.ordinal));
    return rows.map(toMessage);
  }

  /**
   * Takes a message back.
   * @returns false when it is not there, was delivered, or is on its way at this moment
   */
  async remove(conversationId: string, id: string): Promise<boolean> {
    const removed = await this.database
      .delete(pendingMessages)
      .where(
        and(
          eq(pendingMessages.id, id),
          eq(pendingMessages.conversationId, conversationId),
          ne(pendingMessages.status, 'delivered'),
          sql`(${pendingMessages.status} = 'failed' or ${pendingMessages.toldAt} is null)`,
        ),
      )
      .returning({ id: pendingMessages.id });
    return removed.length > 0;
  }

  /**
   * Conversations (hex) for which something can be done now: messages wait, no start is under way, and their sandbox runs
   * or was not tried in vain already.
   * @param sandboxId only those that live there
   */
  async conversationsToWake(sandboxId?: string): Promise<string[]> {
    const { rows } = await this.database.execute<{ id: string }>(sql`
      select distinct conversations.id
      from pending_messages
      join conversations on conversations.id = pending_messages.conversation_id
      left join sandboxes on sandboxes.id = conversations.sandbox_id
      where pending_messages.status = 'waiting'
        and conversations.deleted_at is null
        and (pending_messages.blocked_at is null or sandboxes.status = 'RUNNING')
        ${sandboxId === undefined ? sql`` : sql`and conversations.sandbox_id = ${sandboxId}`}
        and not exists (
          select 1 from start_requests join start_tasks on start_tasks.id = start_requests.id
          where start_requests.conversation_id = conversations.id and start_requests.superseded_at is null
            and start_tasks.status not in ('READY', 'ERROR'))`);
    return rows.map(({ id }) => id);
  }

  /** Forgets everything that was meant for conversations. */
  async forget(conversationIds: readonly string[]): Promise<void> {
    await forgetMessages(this.database, conversationIds);
  }

  async #end(ids: string[], status: 'delivered' | 'failed', detail: string | null): Promise<void> {
    if (ids.length === 0) return;
    const gone = status === 'delivered' ? { content: '[]' } : {};
    await this.database.transaction(async (tx) => {
      const ended = await tx
        .update(pendingMessages)
        .set({ status, detail, ...gone, toldAt: null, updatedAt: new Date() })
        .where(and(inArray(pendingMessages.id, ids), eq(pendingMessages.status, 'waiting')))
        .returning({ id: pendingMessages.id });
      for (const { id } of ended) await tx.execute(sql`select pg_notify(${PENDING_MESSAGE_CHANNEL}, ${id})`);
    });
  }

  async #byKey(tx: Executor, conversationId: string, key: string) {
    return tx
      .select()
      .from(pendingMessages)
      .where(
        and(eq(pendingMessages.conversationId, conversationId), eq(pendingMessages.idempotencyKey, key)),
      );
  }

  async #forgetOld(tx: Executor, conversationId: string): Promise<void> {
    await tx
      .delete(pendingMessages)
      .where(
        and(
          eq(pendingMessages.conversationId, conversationId),
          ne(pendingMessages.status, 'waiting'),
          lt(pendingMessages.updatedAt, sql`now() - ${REMEMBERED}`),
        ),
      );
  }
}

/** Forgets everything that was meant for conversations, as part of a transaction. */
export async function forgetMessages(tx: Executor, conversationIds: readonly string[]): Promise<void> {
  if (conversationIds.length === 0) return;
  await tx.delete(pendingMessages).where(inArray(pendingMessages.conversationId, [...conversationIds]));
}

const isWaiting = (conversationId: string) =>
  and(eq(pendingMessages.conversationId, conversationId), eq(pendingMessages.status, 'waiting'));

/** Place among those that wait; that of one which does not wait any more is 1: nothing is before it. */
async function positionOf(
  tx: Executor,
  { conversationId, ordinal, status }: typeof pendingMessages.$inferSelect,
): Promise<number> {
  if (status !== 'waiting') return 1;
  const [row] = await tx
    .select({ before: sql<number>`count(*)::int` })
    .from(pendingMessages)
    .where(and(isWaiting(conversationId), lt(pendingMessages.ordinal, ordinal)));
  return (row?.before ?? 0) + 1;
}
