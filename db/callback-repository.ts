import { and, asc, eq, inArray, sql, type SQL } from 'drizzle-orm';
import { randomUUID } from 'node:crypto';
import type { CallbackProcessor } from '../contract/start-task.js';
import type { Database } from './database.js';
import type { Executor } from './executor.js';
import { callbackQueue, eventCallbackResults, eventCallbacks, type CallbackStatus } from './schema/index.js';

export type CallbackRecord = typeof eventCallbacks.$inferSelect;

/** Kind of event that each processor is run for (contract 7). */
const EVENT_KIND_OF: Record<CallbackProcessor['kind'], string> = {
  SetTitleCallbackProcessor: 'MessageEvent',
  LoggingCallbackProcessor: 'MessageEvent',
  GithubV1CallbackProcessor: 'ConversationStateUpdateEvent',
};

/** One event for which one callback waits. */
export interface QueuedCallback {
  ordinal: number;
  eventId: string;
  /** How often it has been taken up before: more than zero after a crash or a time-out. */
  attempts: number;
  callback: CallbackRecord;
}

/** What running a callback for an event led to; absent members change nothing. */
export interface CallbackOutcome {
  result?: { status: 'SUCCESS' | 'ERROR'; detail: string | null };
  /** New status of the callback. */
  status?: CallbackStatus;
}

/**
 * Serializes, until the transaction ends, what changes the events and callbacks of one conversation: ordinals become
 * visible in order, and no event falls between its arrival and the registration of a callback.
 */
export async function lockConversationEvents(tx: Executor, conversationId: string): Promise<void> {
  await tx.execute(sql`select pg_advisory_xact_lock(hashtextextended(${conversationId}, 3))`);
}

/**
 * The same for several conversations, without waiting for any of them.
 * @returns those that were free and are held now
 */
export async function tryLockConversationEvents(
  tx: Executor,
  conversationIds: readonly string[],
): Promise<string[]> {
  const { rows } = await tx.execute<{ id: string; locked: boolean }>(sql`
    select id, pg_try_advisory_xact_lock(hashtextextended(id, 3)) as locked
    from unnest(${sql.param([...conversationIds])}::text[]) as id`);
  return rows.filter(({ locked }) => locked).map(({ id }) => id);
}

/**
 * Registers processors, one of each kind per conversation: a repetition changes nothing. Events of their kind that
 * have arrived already are queued as well. The first statement takes {@link lockConversationEvents}; only the second
 * one sees all that had arrived by then.
 */
export async function registerCallbacks(
  tx: Executor,
  conversationId: string,
  processors: readonly CallbackProcessor[],
): Promise<void> {
  if (processors.length === 0) return;
  const now = sql`${new Date().toISOString()}::timestamptz`;
  const given = processors.map((processor) => ({
    id: randomUUID(),
    processor,
    processor_kind: processor.kind,
    event_kind: EVENT_KIND_OF[processor.kind],
  }));
  const { rows: registered } = await tx.execute<{ id: string }>(sql`
    with held as materialized (
      select pg_advisory_xact_lock(hashtextextended(${conversationId}, 3)) as lock
    )
    insert into event_callbacks
      (id, conversation_id, processor, processor_kind, event_kind, status, created_at, updated_at)
    select given.id, ${conversationId}, given.processor, given.processor_kind, given.event_kind, 'ACTIVE',
      ${now}, ${now}
    from held, jsonb_to_recordset(${JSON.stringify(given)}::jsonb)
      as given(id text, processor jsonb, processor_kind text, event_kind text)
    where held.lock is not null
    on conflict do nothing
    returning id`);
  if (registered.length === 0) return;
  await tx.execute(sql`
    insert into callback_queue (callback_id, conversation_id, event_id)
    select event_callbacks.id, event_callbacks.conversation_id, event_index.event_id
    from event_callbacks
    join event_index
      on event_index.conversation_id = event_callbacks.conversation_id and event_index.kind = event_callbacks.event_kind
    where event_callbacks.id = any(${sql.param(registered.map(({ id }) => id))}::text[])
    order by event_index.ordinal
    on conflict do nothing`);
}

/**
 * Statement that queues events for the active callbacks of their kind that have no result for them yet. It is made part
 * of the statement that makes the events visible, so that no crash can part the two.
 * @param events rows of conversation, id, kind and position
 */
export const enqueueStatement = (events: SQL): SQL => sql`
  insert into callback_queue (callback_id, conversation_id, event_id)
  select event_callbacks.id, event.conversation_id, event.id
  from ${events} as event (conversation_id, id, kind, position)
  join event_callbacks
    on event_callbacks.conversation_id = event.conversation_id
    and event_callbacks.event_kind = event.kind
    and event_callbacks.status = 'ACTIVE'
  where not exists (
    select 1 from event_callback_results
    where event_callback_results.callback_id = event_callbacks.id and event_callback_results.event_id = event.id)
  order by event.position
  on conflict do nothing`;

/** Callbacks of conversations and the queue of events that wait for them. */
export class CallbackRepository {
  constructor(private readonly database: Database) {}

  /** Registers processors; see {@link registerCallbacks}. */
  async register(conversationId: string, processors: readonly CallbackProcessor[]): Promise<void> {
    if (processors.length === 0) return;
    await this.database.transaction((tx) => registerCallbacks(tx, conversationId, processors));
  }

  /** The callbacks of a conversation, oldest first. */
  async ofConversation(conversationId: string): Promise<CallbackRecord[]> {
    return this.database
      .select()
      .from(eventCallbacks)
      .where(eq(eventCallbacks.conversationId, conversationId))
      .orderBy(asc(eventCallbacks.createdAt), asc(eventCallbacks.id));
  }

  /** All that waits for the event at the head of the queue, counted as taken up once more; empty when nothing waits. */
  async takeNext(conversationId: string): Promise<QueuedCallback[]> {
    const taken = await this.database
      .update(callbackQueue)
      .set({ attempts: sql`${callbackQueue.attempts} + 1` })
      .where(
        and(
          eq(callbackQueue.conversationId, conversationId),
          sql`${callbackQueue.eventId} = (
            select head.event_id from callback_queue head
            where head.conversation_id = ${conversationId} order by head.ordinal limit 1)`,
        ),
      )
      .returning();
    if (taken.length === 0) return [];
    const callbacks = await this.database
      .select()
      .from(eventCallbacks)
      .where(
        inArray(
          eventCallbacks.id,
          taken.map(({ callbackId }) => callbackId),
        ),
      );
    const byId = new Map(callbacks.map((callback) => [callback.id, callback]));
    return taken
      .flatMap(({ ordinal, eventId, attempts, callbackId }) => {
        const callback = byId.get(callbackId);
        return callback ? [{ ordinal, eventId, attempts: attempts - 1, callback }] : [];
      })
      .sort((a, b) => a.ordinal - b.ordinal);
  }

  /** Records what came of a queued callback and takes it off the queue; done twice, the second changes nothing. */
  async finish(queued: QueuedCallback, outcome: CallbackOutcome): Promise<void> {
    const now = new Date();
    const { callback, eventId, ordinal } = queued;
    await this.database.transaction(async (tx) => {
      await lockConversationEvents(tx, callback.conversationId);
      const [mine] = await tx
        .delete(callbackQueue)
        .where(eq(callbackQueue.ordinal, ordinal))
        .returning({ ordinal: callbackQueue.ordinal });
      if (!mine) return; // recorded by another attempt, or deleted with its conversation
      if (outcome.result) {
        await tx
          .insert(eventCallbackResults)
          .values({
            id: randomUUID(),
            callbackId: callback.id,
            eventId,
            conversationId: callback.conversationId,
            ...outcome.result,
            createdAt: now,
          })
          .onConflictDoNothing();
      }
      if (outcome.status) {
        await tx
          .update(eventCallbacks)
          .set({ status: outcome.status, updatedAt: now })
          .where(eq(eventCallbacks.id, callback.id));
      }
    });
  }

  /** Ends a callback by order: it selects no further event, and what waits for it is dropped when its turn comes. */
  async disable(callbackId: string): Promise<void> {
    await this.database
      .update(eventCallbacks)
      .set({ status: 'DISABLED', updatedAt: new Date() })
      .where(eq(eventCallbacks.id, callbackId));
  }

  /** How many entries wait. */
  async remaining(conversationId: string): Promise<number> {
    return this.database.$count(callbackQueue, eq(callbackQueue.conversationId, conversationId));
  }

  /** Conversations for which something waits: a worker that starts wakes them, whoever failed to. */
  async conversationsWithQueuedCallbacks(): Promise<string[]> {
    const rows = await this.database
      .selectDistinct({ conversationId: callbackQueue.conversationId })
      .from(callbackQueue);
    return rows.map(({ conversationId }) => conversationId);
  }

  /** Results recorded for a conversation, in the order in which they were. */
  async results(conversationId: string): Promise<(typeof eventCallbackResults.$inferSelect)[]> {
    return this.database
      .select()
      .from(eventCallbackResults)
      .where(eq(eventCallbackResults.conversationId, conversationId))
      .orderBy(asc(eventCallbackResults.createdAt));
  }

  /** Removes callbacks, their queue and their results. */
  async deleteOfConversation(conversationId: string): Promise<void> {
    await this.database.delete(eventCallbacks).where(eq(eventCallbacks.conversationId, conversationId));
  }
}
