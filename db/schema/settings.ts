import { jsonb, pgTable, primaryKey, text } from 'drizzle-orm/pg-core';
import { time } from './columns.js';

/** The owner of settings and secrets when there is no identity (auth mode none). */
export const NO_USER = '';

/** One settings object per user; keys inside it live encrypted in `secret_members`. */
export const settings = pgTable('settings', {
  /** User id, or `NO_USER`. */
  userId: text('user_id').primaryKey(),
  /** The settings without any key. */
  content: jsonb('content').$type<Record<string, unknown>>().notNull(),
  /** JSON object of the secret members (LLM key, search key, profile keys, …), encrypted. */
  secretMembers: text('secret_members'),
  updatedAt: time('updated_at').notNull(),
});

/** Custom secrets and git-provider tokens of a user; values encrypted. */
export const secrets = pgTable(
  'secrets',
  {
    userId: text('user_id').notNull(),
    /** `custom` for environment variables, `provider` for git-provider tokens (name = provider). */
    kind: text('kind').$type<'custom' | 'provider'>().notNull(),
    name: text('name').notNull(),
    value: text('value').notNull(),
    description: text('description'),
    /** Provider tokens: host (with optional scheme and port) and the provider's user id. */
    attributes: jsonb('attributes').$type<{ host?: string; userId?: string }>().notNull().default({}),
    /** Provider tokens that expire: the token that renews them, encrypted, and when they expire. */
    refreshValue: text('refresh_value'),
    expiresAt: time('expires_at'),
    updatedAt: time('updated_at').notNull(),
  },
  (table) => [primaryKey({ columns: [table.userId, table.kind, table.name] })],
);
