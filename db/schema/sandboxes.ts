import { sql } from 'drizzle-orm';
import { bigint, index, integer, jsonb, pgTable, primaryKey, text, uniqueIndex } from 'drizzle-orm/pg-core';
import type { ExposedUrl, SandboxStatus } from '../../contract/sandbox.js';
import { time } from './columns.js';

/** One row per sandbox, mirroring its actor. A deleted sandbox keeps its row with `deleted_at`, hidden from lists. */
export const sandboxes = pgTable(
  'sandboxes',
  {
    id: text('id').primaryKey(),
    createdByUserId: text('created_by_user_id'),
    specId: text('spec_id').notNull(),
    status: text('status').$type<SandboxStatus>().notNull(),
    /** By which its actor numbers what it writes, in milliseconds since 1970: a write that comes too late is refused. */
    statusRevision: bigint('status_revision', { mode: 'number' }).notNull().default(0),
    /** Why it is ERROR, MISSING or, without an order of its user, PAUSED; for people, secrets masked. */
    detail: text('detail'),
    /** Host that owns it; null until it is placed. */
    hostId: text('host_id'),
    /** What the back-end needs to find it again (`SandboxHandle`), without secrets. */
    handle: jsonb('handle').$type<Record<string, unknown>>(),
    /** Addresses it exposes while RUNNING. */
    exposedUrls: jsonb('exposed_urls').$type<ExposedUrl[]>(),
    /** Base URL for this server's own calls. */
    agentServerUrl: text('agent_server_url'),
    workingDirectory: text('working_directory'),
    /** Version the agent-server reported at its handshake. */
    agentServerVersion: text('agent_server_version'),
    usableTools: jsonb('usable_tools').$type<string[]>(),
    /** Session API key, encrypted; looked up by {@link sessionApiKeyHash}. */
    sessionApiKey: text('session_api_key').notNull(),
    sessionApiKeyHash: text('session_api_key_hash').notNull(),
    /** Key that encrypts the agent-server's own secrets at rest, encrypted. */
    secretKey: text('secret_key').notNull(),
    /** Last webhook or message; the idle timer reads it. */
    lastActiveAt: time('last_active_at').notNull(),
    /** When it was let in to run, within the limit of its user; null once its status says how that ended. */
    slotClaimedAt: time('slot_claimed_at'),
    /** When it was chosen to sleep for another one of its user. */
    yieldingAt: time('yielding_at'),
    /** Since when it is kept warm for whichever start comes next; null for one that is somebody's. */
    warmSince: time('warm_since'),
    /** When a start took it out of the pool; null for one that was made for its user. */
    claimedAt: time('claimed_at'),
    /** Set while it runs for a user whose limit has not been asked yet: it came out of the pool running. */
    slotDueAt: time('slot_due_at'),
    createdAt: time('created_at').notNull(),
    updatedAt: time('updated_at').notNull(),
    deletedAt: time('deleted_at'),
  },
  (table) => [
    uniqueIndex('sandboxes_session_api_key_hash').on(table.sessionApiKeyHash),
    index('sandboxes_user_created').on(table.createdByUserId, table.createdAt, table.id),
    index('sandboxes_created').on(table.createdAt, table.id),
    index('sandboxes_host').on(table.hostId),
    index('sandboxes_user_present')
      .on(table.createdByUserId, table.createdAt, table.id)
      .where(sql`deleted_at is null`),
    // Few of many: rows of deleted sandboxes stay for ever.
    index('sandboxes_alive')
      .on(table.hostId, table.id)
      .where(sql`deleted_at is null or status <> 'MISSING'`),
    index('sandboxes_warm')
      .on(table.specId, table.warmSince, table.id)
      .where(sql`warm_since is not null and (deleted_at is null or status <> 'MISSING')`),
    index('sandboxes_deleted')
      .on(table.deletedAt)
      .where(sql`deleted_at is not null`),
  ],
);

/** Which sandbox an `Idempotency-Key` has led to; goes with the row of its sandbox. */
export const sandboxRequests = pgTable(
  'sandbox_requests',
  {
    /** Empty where there are no users. */
    userId: text('user_id').notNull(),
    idempotencyKey: text('idempotency_key').notNull(),
    sandboxId: text('sandbox_id')
      .notNull()
      .references(() => sandboxes.id, { onDelete: 'cascade' }),
    /** The spec that was asked for, null for the default: with another one the key is refused. */
    wantedSpecId: text('wanted_spec_id'),
    /** When its actor had begun; until then it may be withdrawn. */
    acceptedAt: time('accepted_at'),
    createdAt: time('created_at').notNull().defaultNow(),
  },
  (table) => [
    primaryKey({ columns: [table.userId, table.idempotencyKey] }),
    uniqueIndex('sandbox_requests_sandbox').on(table.sandboxId),
  ],
);

/** Ports in use on each host; a lease ends with its sandbox. */
export const portLeases = pgTable(
  'port_leases',
  {
    hostId: text('host_id').notNull(),
    port: integer('port').notNull(),
    sandboxId: text('sandbox_id').notNull(),
    leasedAt: time('leased_at').notNull().defaultNow(),
  },
  (table) => [
    primaryKey({ columns: [table.hostId, table.port] }),
    uniqueIndex('port_leases_sandbox').on(table.hostId, table.sandboxId),
  ],
);
