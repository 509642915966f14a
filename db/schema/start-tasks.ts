import { sql } from 'drizzle-orm';
import {
  boolean,
  foreignKey,
  index,
  integer,
  jsonb,
  pgTable,
  primaryKey,
  text,
  uniqueIndex,
} from 'drizzle-orm/pg-core';
import type { EffectiveStartRequest, StartStatus } from '../../contract/start-task.js';
import { time } from './columns.js';

/**
 * What a client asked for, written before its workflow is started. Large and secret things stay here, so that a
 * history holds ids only. A request without a start task was never accepted and is swept by age.
 */
export const startRequests = pgTable(
  'start_requests',
  {
    /** The start task's id (hex). */
    id: text('id').primaryKey(),
    conversationId: text('conversation_id').notNull(),
    createdByUserId: text('created_by_user_id'),
    /** The effective request, secrets masked. */
    request: jsonb('request').$type<EffectiveStartRequest>().notNull(),
    /**
     * Secrets given with the start, encrypted as one JSON object; erased at READY and when it is cancelled, kept for a
     * while after another ERROR, so that the start can be tried again.
     */
    secrets: text('secrets'),
    /** In whose name the start acts, encrypted; erased when the start has ended. Null for the author alone. */
    authority: text('authority'),
    /** Key of the `Idempotency-Key` header, or null. */
    idempotencyKey: text('idempotency_key'),
    /** Hash of what the client sent, values of secrets left out: the same key with another body is refused. */
    fingerprint: text('fingerprint'),
    /** Set when a later request for the same conversation took this one's place after it ended in ERROR. */
    supersededAt: time('superseded_at'),
    /** The request whose place this one took: a start tried again, or its conversation id sent again. */
    supersedes: text('supersedes'),
    /** When the start task was stored; null while nothing but the request is known. */
    acceptedAt: time('accepted_at'),
    createdAt: time('created_at').notNull().defaultNow(),
  },
  (table) => [
    // One live start per conversation: this is what makes a repeated request the same task.
    uniqueIndex('start_requests_conversation')
      .on(table.conversationId)
      .where(sql`superseded_at is null`),
    uniqueIndex('start_requests_idempotency_key')
      .on(sql`coalesce(created_by_user_id, '')`, table.idempotencyKey)
      .where(sql`idempotency_key is not null`),
    // A start is tried again once: whoever asks a second time gets the task of the first.
    uniqueIndex('start_requests_supersedes')
      .on(table.supersedes)
      .where(sql`supersedes is not null`),
    index('start_requests_created').on(table.createdAt),
    index('start_requests_unaccepted')
      .on(table.createdAt)
      .where(sql`accepted_at is null`),
    index('start_requests_with_secrets')
      .on(table.createdAt)
      .where(sql`secrets is not null`),
  ],
);

/** One row per accepted start; its workflow is the only writer. */
export const startTasks = pgTable(
  'start_tasks',
  {
    id: text('id').primaryKey(),
    conversationId: text('conversation_id').notNull(),
    createdByUserId: text('created_by_user_id'),
    status: text('status').$type<StartStatus>().notNull(),
    detail: text('detail'),
    appConversationId: text('app_conversation_id'),
    sandboxId: text('sandbox_id'),
    /** Whether the sandbox was made for this start alone, and goes with it when it fails. */
    ownsSandbox: boolean('owns_sandbox').notNull().default(false),
    agentServerUrl: text('agent_server_url'),
    createdAt: time('created_at').notNull(),
    updatedAt: time('updated_at').notNull(),
  },
  (table) => [
    foreignKey({ columns: [table.id], foreignColumns: [startRequests.id] }).onDelete('cascade'),
    index('start_tasks_created').on(table.createdAt, table.id),
    index('start_tasks_updated').on(table.updatedAt, table.id),
    index('start_tasks_user_created').on(table.createdByUserId, table.createdAt, table.id),
    index('start_tasks_user_updated').on(table.createdByUserId, table.updatedAt, table.id),
    index('start_tasks_conversation').on(table.appConversationId),
    index('start_tasks_sandbox').on(table.sandboxId),
    index('start_tasks_under_way')
      .on(table.updatedAt, table.id)
      .where(sql`status not in ('READY', 'ERROR')`),
  ],
);

/** Every status a start has had, append-only: what a stream reads, so that none is skipped. */
export const startTaskTransitions = pgTable(
  'start_task_transitions',
  {
    taskId: text('task_id')
      .notNull()
      .references(() => startTasks.id, { onDelete: 'cascade' }),
    /** 1, 2, 3, … within the task. */
    sequence: integer('sequence').notNull(),
    status: text('status').$type<StartStatus>().notNull(),
    detail: text('detail'),
    appConversationId: text('app_conversation_id'),
    sandboxId: text('sandbox_id'),
    agentServerUrl: text('agent_server_url'),
    at: time('at').notNull(),
  },
  (table) => [primaryKey({ columns: [table.taskId, table.sequence] })],
);

/**
 * What one phase of a start leaves for a later one (skills, hooks, the found repository), too big for a history.
 * Deleted when the start has ended.
 */
export const startTaskArtifacts = pgTable(
  'start_task_artifacts',
  {
    taskId: text('task_id')
      .notNull()
      .references(() => startTasks.id, { onDelete: 'cascade' }),
    name: text('name').notNull(),
    content: jsonb('content').notNull(),
  },
  (table) => [primaryKey({ columns: [table.taskId, table.name] })],
);
