/** Keys with which programs call in the name of a user. */
import { sql } from 'drizzle-orm';
import { index, pgTable, text, uniqueIndex } from 'drizzle-orm/pg-core';
import { time } from './columns.js';
import { organizations, users } from './identity.js';

/** `user`: made by the user, shown once. `system`: made by the service API, never shown to the user. */
export type ApiKeyKind = 'user' | 'system';

export const apiKeys = pgTable(
  'api_keys',
  {
    id: text('id').primaryKey(),
    userId: text('user_id')
      .notNull()
      .references(() => users.id, { onDelete: 'cascade' }),
    /** The organization in whose name its holder acts; the key is good while the user belongs to it. */
    organizationId: text('organization_id').references(() => organizations.id, { onDelete: 'cascade' }),
    /** Which way of signing in the user is known by: under another one the key does not count. */
    realm: text('realm').notNull(),
    kind: text('kind').$type<ApiKeyKind>().notNull(),
    /** As the user calls it; that of a system key begins with `__SYSTEM__:` (contract 12). */
    name: text('name').notNull(),
    keyHash: text('key_hash').notNull(),
    /** The key, encrypted: system keys only, since the service API gives an existing one out again. */
    sealedKey: text('sealed_key'),
    /** Its first characters, by which people tell their keys apart. */
    prefix: text('prefix').notNull(),
    createdAt: time('created_at').notNull(),
    /** To the minute; null for one that was never used. */
    lastUsedAt: time('last_used_at'),
    /** Null: never. */
    expiresAt: time('expires_at'),
  },
  (table) => [
    uniqueIndex('api_keys_hash').on(table.keyHash),
    index('api_keys_user').on(table.userId, table.createdAt),
    index('api_keys_organization').on(table.organizationId),
    uniqueIndex('api_keys_system')
      .on(table.userId, table.organizationId, table.realm, table.name)
      .where(sql`kind = 'system'`),
  ],
);
