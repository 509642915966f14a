/** Who signed in, what they belong to, and what proves it. Things that users make name them by id, nothing else. */
import { index, pgTable, primaryKey, text, uniqueIndex } from 'drizzle-orm/pg-core';
import { time } from './columns.js';

/** Users known from signing in; the id is the identity provider's, stable for ever. */
export const users = pgTable('users', {
  id: text('id').primaryKey(),
  /** Name for signing in; people may change it at the provider. */
  login: text('login'),
  name: text('name'),
  email: text('email'),
  createdAt: time('created_at').notNull().defaultNow(),
  updatedAt: time('updated_at').notNull(),
});

export const organizations = pgTable(
  'organizations',
  {
    /** A UUID of ours. */
    id: text('id').primaryKey(),
    /** As the identity provider's claims call it. */
    name: text('name').notNull(),
    createdAt: time('created_at').notNull().defaultNow(),
  },
  (table) => [uniqueIndex('organizations_name').on(table.name)],
);

/** Where a membership comes from: the claims of the last sign-in, which also end it, or somebody who stored it. */
export type MembershipSource = 'claims' | 'stored';

export const organizationMembers = pgTable(
  'organization_members',
  {
    organizationId: text('organization_id')
      .notNull()
      .references(() => organizations.id, { onDelete: 'cascade' }),
    userId: text('user_id')
      .notNull()
      .references(() => users.id, { onDelete: 'cascade' }),
    role: text('role').notNull().default('member'),
    source: text('source').$type<MembershipSource>().notNull(),
    createdAt: time('created_at').notNull().defaultNow(),
  },
  (table) => [
    primaryKey({ columns: [table.organizationId, table.userId] }),
    index('organization_members_user').on(table.userId),
  ],
);

/** Browsers that signed in. The cookie holds the id; here is only its hash. */
export const sessions = pgTable(
  'sessions',
  {
    idHash: text('id_hash').primaryKey(),
    userId: text('user_id')
      .notNull()
      .references(() => users.id, { onDelete: 'cascade' }),
    /** Which way of signing in made it: a session of another one does not count. */
    realm: text('realm').notNull(),
    /** The identity provider's own id of the session (`sid`), by which it ends sessions. */
    providerSession: text('provider_session'),
    /** Tokens of the identity provider as one JSON object, encrypted; null where there are none to keep fresh. */
    tokens: text('tokens'),
    tokensExpireAt: time('tokens_expire_at'),
    activeOrganizationId: text('active_organization_id').references(() => organizations.id, {
      onDelete: 'set null',
    }),
    createdAt: time('created_at').notNull(),
    lastSeenAt: time('last_seen_at').notNull(),
    /** The session ends then, however busy it is. */
    expiresAt: time('expires_at').notNull(),
  },
  (table) => [
    index('sessions_user').on(table.userId),
    index('sessions_expires').on(table.expiresAt),
    index('sessions_provider_session').on(table.realm, table.providerSession),
    index('sessions_organization').on(table.activeOrganizationId),
  ],
);

/** Sign-ins under way, each good for one callback. */
export const signInStates = pgTable(
  'sign_in_states',
  {
    stateHash: text('state_hash').primaryKey(),
    realm: text('realm').notNull(),
    /** Code verifier, nonce, and where to go afterwards, encrypted. */
    content: text('content').notNull(),
    expiresAt: time('expires_at').notNull(),
  },
  (table) => [index('sign_in_states_expires').on(table.expiresAt)],
);
