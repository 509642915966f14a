import { sql } from 'drizzle-orm';
import { bigint, boolean, index, integer, pgTable, text, uniqueIndex } from 'drizzle-orm/pg-core';
import type { PendingStatus } from '../../contract/pending-message.js';
import { time } from './columns.js';

/**
 * Messages on their way to an agent: stored before anything else is done with them, delivered in the order of their
 * ordinals. A delivered one keeps its row, without its content, for a while: whoever waits for it reads it there.
 */
export const pendingMessages = pgTable(
  'pending_messages',
  {
    /** UUID with dashes. */
    id: text('id').primaryKey(),
    ordinal: bigint('ordinal', { mode: 'number' }).generatedAlwaysAsIdentity().notNull(),
    /** Hex; known from the moment a start is accepted, so one that waits for a start needs no other key. */
    conversationId: text('conversation_id').notNull(),
    status: text('status').$type<PendingStatus>().notNull().default('waiting'),
    /** Content blocks as JSON text, since `jsonb` takes neither every text nor their order; empty once delivered. */
    content: text('content').notNull(),
    /** Length of the content when it came. */
    bytes: integer('bytes').notNull(),
    /** Whether it starts the agent. */
    run: boolean('run').notNull().default(true),
    /** How often an agent-server was told, or was about to be. */
    attempts: integer('attempts').notNull().default(0),
    /** How often an agent-server answered with a failure of its own. */
    refusals: integer('refusals').notNull().default(0),
    /** Set from before an agent-server is told until its answer is known: then its log is asked before it is told again. */
    toldAt: time('told_at'),
    /** Newest event of the agent-server's log before it was told for the first time; empty when there was none. */
    logPosition: text('log_position'),
    /** Why it waits or has failed, for people. */
    detail: text('detail'),
    /** Set when nothing more is tried by itself: until its sandbox runs again, or another message comes. */
    blockedAt: time('blocked_at'),
    /** Key of the `Idempotency-Key` header, or null. */
    idempotencyKey: text('idempotency_key'),
    createdAt: time('created_at').notNull(),
    updatedAt: time('updated_at').notNull(),
  },
  (table) => [
    index('pending_messages_conversation').on(table.conversationId, table.ordinal),
    index('pending_messages_waiting')
      .on(table.conversationId)
      .where(sql`status = 'waiting'`),
    uniqueIndex('pending_messages_idempotency_key')
      .on(table.conversationId, table.idempotencyKey)
      .where(sql`idempotency_key is not null`),
  ],
);
