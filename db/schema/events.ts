import {
  bigint,
  index,
  integer,
  jsonb,
  pgTable,
  primaryKey,
  text,
  timestamp,
  uniqueIndex,
} from 'drizzle-orm/pg-core';
import type { CallbackProcessor } from '../../contract/start-task.js';
import { time } from './columns.js';

/** Index of the event files, derived from them: answers search, count, paging and batch without reading a directory. */
export const eventIndex = pgTable(
  'event_index',
  {
    conversationId: text('conversation_id').notNull(),
    /** The agent-server's own spelling. */
    eventId: text('event_id').notNull(),
    kind: text('kind').notNull(),
    /** The event's time, zone-less read as UTC; microseconds kept. */
    timestamp: timestamp('timestamp', { withTimezone: true, precision: 6, mode: 'string' }).notNull(),
    /** Order of arrival: breaks ties of equal timestamps. */
    ordinal: bigint('ordinal', { mode: 'number' }).notNull().generatedAlwaysAsIdentity(),
    /** Name below the conversation's directory. */
    fileName: text('file_name').notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.conversationId, table.eventId] }),
    index('event_index_order').on(table.conversationId, table.timestamp, table.ordinal),
    index('event_index_kind').on(table.conversationId, table.kind, table.timestamp, table.ordinal),
    index('event_index_event_id').on(table.eventId),
    index('event_index_global_order').on(table.timestamp, table.ordinal),
  ],
);

/**
 * How many events of a kind a conversation has in {@link eventIndex}: counting its entries would take longer the more there
 * are. Kept by triggers of that table, whoever writes to it, in the same transaction (migration `event-counts`).
 */
export const eventCounts = pgTable(
  'event_counts',
  {
    conversationId: text('conversation_id').notNull(),
    kind: text('kind').notNull(),
    total: bigint('total', { mode: 'number' }).notNull(),
  },
  (table) => [primaryKey({ columns: [table.conversationId, table.kind] })],
);

export const CALLBACK_STATUSES = ['ACTIVE', 'DISABLED', 'COMPLETED', 'ERROR'] as const;
export type CallbackStatus = (typeof CALLBACK_STATUSES)[number];

/** Processors that run when an event of their kind arrives (contract 7). */
export const eventCallbacks = pgTable(
  'event_callbacks',
  {
    id: text('id').primaryKey(),
    conversationId: text('conversation_id').notNull(),
    processor: jsonb('processor').$type<CallbackProcessor>().notNull(),
    /** Kind of `processor`: one of each per conversation. */
    processorKind: text('processor_kind').notNull(),
    eventKind: text('event_kind').notNull(),
    status: text('status').$type<CallbackStatus>().notNull(),
    createdAt: time('created_at').notNull(),
    updatedAt: time('updated_at').notNull(),
  },
  (table) => [uniqueIndex('event_callbacks_conversation_kind').on(table.conversationId, table.processorKind)],
);

/** One result per callback and event, written once. */
export const eventCallbackResults = pgTable(
  'event_callback_results',
  {
    id: text('id').primaryKey(),
    callbackId: text('callback_id')
      .notNull()
      .references(() => eventCallbacks.id, { onDelete: 'cascade' }),
    eventId: text('event_id').notNull(),
    conversationId: text('conversation_id').notNull(),
    status: text('status').$type<'SUCCESS' | 'ERROR'>().notNull(),
    detail: text('detail'),
    createdAt: time('created_at').notNull(),
  },
  (table) => [
    uniqueIndex('event_callback_results_once').on(table.callbackId, table.eventId),
    index('event_callback_results_conversation').on(table.conversationId),
  ],
);

/** Events for which callbacks wait, in order of arrival: what the `conversation` actor works through. */
export const callbackQueue = pgTable(
  'callback_queue',
  {
    ordinal: bigint('ordinal', { mode: 'number' }).primaryKey().generatedAlwaysAsIdentity(),
    callbackId: text('callback_id')
      .notNull()
      .references(() => eventCallbacks.id, { onDelete: 'cascade' }),
    conversationId: text('conversation_id').notNull(),
    eventId: text('event_id').notNull(),
    attempts: integer('attempts').notNull().default(0),
  },
  (table) => [
    uniqueIndex('callback_queue_once').on(table.callbackId, table.eventId),
    index('callback_queue_conversation').on(table.conversationId, table.ordinal),
  ],
);
