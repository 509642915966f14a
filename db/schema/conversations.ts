import { sql } from 'drizzle-orm';
import { boolean, index, integer, jsonb, pgTable, text } from 'drizzle-orm/pg-core';
import type { ConversationMetrics, ExecutionStatus } from '../../contract/conversation.js';
import type { ConversationTrigger, GitProvider } from '../../contract/primitives.js';
import { time } from './columns.js';

/**
 * Metadata of conversations. The start owns repository, trigger, parent and sandbox; webhooks own model, statistics
 * and tags: each writes its own columns only, never a whole row.
 */
export const conversations = pgTable(
  'conversations',
  {
    /** 32 hex digits. */
    id: text('id').primaryKey(),
    createdByUserId: text('created_by_user_id'),
    sandboxId: text('sandbox_id').notNull(),
    selectedRepository: text('selected_repository'),
    selectedBranch: text('selected_branch'),
    gitProvider: text('git_provider').$type<GitProvider>(),
    title: text('title'),
    trigger: text('trigger').$type<ConversationTrigger>(),
    prNumber: integer('pr_number')
      .array()
      .notNull()
      .default(sql`'{}'::integer[]`),
    llmModel: text('llm_model'),
    agentKind: text('agent_kind').$type<'openhands' | 'acp'>().notNull().default('openhands'),
    metrics: jsonb('metrics').$type<ConversationMetrics>(),
    /** Time of the newest statistics taken over: an older event never overwrites them. */
    metricsAt: time('metrics_at'),
    parentConversationId: text('parent_conversation_id'),
    public: boolean('public'),
    tags: jsonb('tags').$type<Record<string, string>>().notNull().default({}),
    /** Absolute project directory inside the sandbox; null when unknown. */
    workingDirectory: text('working_directory'),
    /** The run's status as last heard from the agent-server, and when. */
    executionStatus: text('execution_status').$type<ExecutionStatus>(),
    executionStatusAt: time('execution_status_at'),
    createdAt: time('created_at').notNull(),
    updatedAt: time('updated_at').notNull(),
    deletedAt: time('deleted_at'),
    /** When everything else of a deleted conversation (files, callbacks, its part of the sandbox) was removed. */
    purgedAt: time('purged_at'),
  },
  (table) => [
    index('conversations_created').on(table.createdAt, table.id),
    index('conversations_user_created').on(table.createdByUserId, table.createdAt, table.id),
    index('conversations_repository_created')
      .on(table.selectedRepository, table.createdAt, table.id)
      .where(sql`selected_repository is not null`),
    index('conversations_trigger_created')
      .on(table.trigger, table.createdAt, table.id)
      .where(sql`trigger is not null`),
    index('conversations_parent').on(table.parentConversationId),
    index('conversations_sandbox').on(table.sandboxId),
    index('conversations_unpurged')
      .on(table.deletedAt)
      .where(sql`deleted_at is not null and purged_at is null`),
    index('conversations_purged')
      .on(table.purgedAt)
      .where(sql`purged_at is not null`),
  ],
);
