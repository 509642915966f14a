import { and, eq, getTableColumns, isNull, lte, sql } from 'drizzle-orm';
import { DrizzleQueryError } from 'drizzle-orm/errors';
import pg from 'pg';
import type { ExposedUrl, SandboxStatus } from '../contract/sandbox.js';
import type { Database } from './database.js';
import type { Executor } from './executor.js';
import { portLeases, sandboxes } from './schema/index.js';

/** Channel on which each change of a sandbox is announced; the payload is the sandbox id. */
export const SANDBOX_CHANNEL = 'sandbox';

export type SandboxRecord = typeof sandboxes.$inferSelect;

/** A sandbox that posts webhooks. */
export interface PosterRecord extends SandboxRecord {
  /** From when on a webhook has to be noted by `touch`, by the clock of `performance.now()`, in milliseconds. */
  touchDueAt: number;
}

/** How old a noted activity has to be for the next one to be noted, in milliseconds. */
const TOUCH_EVERY_MS = 10_000;

/** Ports leased on a host. */
export interface PortLeases {
  /** The one of the sandbox in question. */
  own: number | null;
  all: Set<number>;
}

export interface NewSandbox {
  id: string;
  createdByUserId: string | null;
  specId: string;
  /** Encrypted session key and its lookup hash. */
  sessionApiKey: string;
  sessionApiKeyHash: string;
  /** Encrypted key of the agent-server's own secret store. */
  secretKey: string;
  /** Set for one that is nobody's yet. */
  warmSince?: Date;
  /** The machine that is to own it; the first that takes it, if left out. */
  hostId?: string;
}

/** What is known of a sandbox once its agent-server answers. */
export interface RunningFields {
  handle?: Record<string, unknown>;
  exposedUrls?: ExposedUrl[];
  agentServerUrl?: string;
  workingDirectory?: string;
  agentServerVersion?: string;
  usableTools?: string[];
}

/** Stores a new sandbox in STARTING; repeated, it changes nothing. */
export async function insertSandbox(tx: Executor, sandbox: NewSandbox): Promise<void> {
  const now = new Date();
  await tx
    .insert(sandboxes)
    .values({ ...sandbox, status: 'STARTING', lastActiveAt: now, createdAt: now, updatedAt: now })
    .onConflictDoNothing();
}

/** Writes sandboxes and port leases. */
export class SandboxRepository {
  constructor(private readonly database: Database) {}

  /** Stores a new sandbox in STARTING; repeated, it changes nothing. */
  async create(sandbox: NewSandbox): Promise<void> {
    await insertSandbox(this.database, sandbox);
  }

  /** The row, deleted ones included; null when there never was one. */
  async read(sandboxId: string): Promise<SandboxRecord | null> {
    const [row] = await this.database.select().from(sandboxes).where(eq(sandboxes.id, sandboxId));
    return row ?? null;
  }

  /** The sandbox to which a session key belongs, by the key's hash; a deleted one has no key any more, a warm one none yet. */
  async findBySessionKeyHash(hash: string): Promise<SandboxRecord | null> {
    const [row] = await this.database
      .select()
      .from(sandboxes)
      .where(
        and(eq(sandboxes.sessionApiKeyHash, hash), isNull(sandboxes.deletedAt), isNull(sandboxes.warmSince)),
      );
    return row ?? null;
  }

  /**
   * The sandbox that may post webhooks with a key, by the key's hash. The last events of a sandbox that is being deleted
   * come while, and shortly after, its process is ended: for a quarter of an hour they are taken.
   */
  async findPoster(hash: string): Promise<PosterRecord | null> {
    const askedAt = performance.now();
    const [row] = await this.database
      .select({
        ...getTableColumns(sandboxes),
        quietMs: sql<string>`extract(epoch from now() - ${sandboxes.lastActiveAt}) * 1000`,
      })
      .from(sandboxes)
      .where(
        and(
          eq(sandboxes.sessionApiKeyHash, hash),
          isNull(sandboxes.warmSince),
          sql`(${sandboxes.deletedAt} is null or ${sandboxes.deletedAt} > now() - interval '15 minutes')`,
        ),
      );
    if (!row) return null;
    const { quietMs, ...sandbox } = row;
    return { ...sandbox, touchDueAt: askedAt + TOUCH_EVERY_MS - Number(quietMs) };
  }

  /**
   * Makes a host the owner, unless it has another one already.
   * @returns the row with its owner; null for a sandbox that is deleted or never was
   */
  async claim(sandboxId: string, hostId: string): Promise<(SandboxRecord & { hostId: string }) | null> {
    const [row] = await this.database
      .update(sandboxes)
      .set({ hostId: sql`coalesce(${sandboxes.hostId}, ${hostId})` })
      .where(and(eq(sandboxes.id, sandboxId), isNull(sandboxes.deletedAt)))
      .returning({ ...getTableColumns(sandboxes), hostId: sql<string>`${sandboxes.hostId}` });
    return row ?? null;
  }

  /**
   * Row and wake-up commit together: a listener never hears of what it cannot read yet.
   *
   * @param fields.revision what was written with a greater one stays: this write comes too late, from a worker that was
   *   frozen or cut off
   */
  async setStatus(
    sandboxId: string,
    status: SandboxStatus,
    { revision, ...fields }: RunningFields & { detail?: string | null; revision?: number | undefined } = {},
  ): Promise<void> {
    const now = new Date();
    await this.database
      .update(sandboxes)
      .set({
        ...fields,
        status,
        detail: fields.detail ?? null,
        updatedAt: now,
        ...(status === 'RUNNING' ? { lastActiveAt: now } : { yieldingAt: null }),
        ...(status === 'STARTING' ? {} : { slotClaimedAt: null }),
        ...(revision === undefined ? {} : { statusRevision: revision }),
      })
      .where(
        and(
          eq(sandboxes.id, sandboxId),
          revision === undefined ? undefined : lte(sandboxes.statusRevision, revision),
        ),
      )
      .returning({ told: sql`pg_notify(${SANDBOX_CHANNEL}, ${sandboxes.id})` });
  }

  /**
   * Takes a sandbox whose deletion is ordered out of all lists; its key is worth nothing from now on. Status and port
   * lease stay until its actor has destroyed it.
   */
  async hide(sandboxId: string): Promise<void> {
    await this.database
      .update(sandboxes)
      .set({ deletedAt: sql`coalesce(${sandboxes.deletedAt}, now())`, updatedAt: new Date() })
      .where(eq(sandboxes.id, sandboxId));
  }

  /** Hides a deleted sandbox and ends its port lease; its key is worth nothing from now on. */
  async markDeleted(sandboxId: string): Promise<void> {
    await this.database.transaction(async (tx) => {
      await tx
        .update(sandboxes)
        .set({
          status: 'MISSING',
          statusRevision: Number.MAX_SAFE_INTEGER, // nothing comes after this
          deletedAt: sql`coalesce(${sandboxes.deletedAt}, now())`,
          updatedAt: new Date(),
        })
        .where(eq(sandboxes.id, sandboxId));
      await tx.delete(portLeases).where(eq(portLeases.sandboxId, sandboxId));
      await tx.execute(sql`select pg_notify(${SANDBOX_CHANNEL}, ${sandboxId})`);
    });
  }

  /** A webhook or a message came: the idle time starts anew. Written at most every 10 s per sandbox. */
  async touch(sandboxId: string): Promise<void> {
    await this.database
      .update(sandboxes)
      .set({ lastActiveAt: sql`now()` })
      .where(
        and(
          eq(sandboxes.id, sandboxId),
          sql`${sandboxes.lastActiveAt} < now() - ${TOUCH_EVERY_MS} * interval '1 ms'`,
        ),
      );
  }

  /**
   * How long ago the last message or event was, in milliseconds; null for a sandbox that is not there. The idle time of
   * a warm one begins when somebody gets it.
   */
  async idleMilliseconds(sandboxId: string): Promise<number | null> {
    const [row] = await this.database
      .select({
        idleMs: sql<string>`case when ${sandboxes.warmSince} is null
          then extract(epoch from now() - ${sandboxes.lastActiveAt}) * 1000 else 0 end`,
      })
      .from(sandboxes)
      .where(and(eq(sandboxes.id, sandboxId), isNull(sandboxes.deletedAt)));
    return row ? Number(row.idleMs) : null;
  }

  /** What is leased on a host, to a sandbox and in all. */
  async leases(hostId: string, sandboxId: string): Promise<PortLeases> {
    const rows = await this.database
      .select({ port: portLeases.port, sandboxId: portLeases.sandboxId })
      .from(portLeases)
      .where(eq(portLeases.hostId, hostId));
    return {
      own: rows.find((row) => row.sandboxId === sandboxId)?.port ?? null,
      all: new Set(rows.map(({ port }) => port)),
    };
  }

  /**
   * Leases a port to a sandbox that has none on this host; of two that want the same one, one gets it.
   * @returns the port that the sandbox has now, its earlier one if there was one; null when another one holds the port
   */
  async leaseFirst(hostId: string, port: number, sandboxId: string): Promise<number | null> {
    try {
      const { rows } = await this.database.execute<{ port: number }>(sql`
        insert into port_leases (host_id, port, sandbox_id)
        select ${hostId}, ${port}::integer, ${sandboxId}
        where not exists (
          select from port_leases
          where host_id = ${hostId} and port = ${port}::integer and sandbox_id <> ${sandboxId})
        on conflict (host_id, sandbox_id) do update set port = port_leases.port
        returning port`);
      return rows[0]?.port ?? null;
    } catch (error) {
      if (isTaken(error)) return null; // at the same moment
      throw error;
    }
  }

  /**
   * Leases a port; of two sandboxes that want the same one, one gets it. The sandbox's earlier lease is replaced.
   * @returns false when another sandbox holds the port; the earlier lease stays.
   */
  async leasePort(hostId: string, port: number, sandboxId: string): Promise<boolean> {
    try {
      await this.database
        .insert(portLeases)
        .values({ hostId, port, sandboxId })
        .onConflictDoUpdate({
          target: [portLeases.hostId, portLeases.sandboxId],
          set: { port, leasedAt: sql`now()` },
        });
      return true;
    } catch (error) {
      if (isTaken(error)) return false;
      throw error;
    }
  }
}

/** Whether PostgreSQL has refused a row because another one has its key. */
function isTaken(error: unknown): boolean {
  const refusal = error instanceof DrizzleQueryError ? error.cause : error;
  return refusal instanceof pg.DatabaseError && refusal.code === '23505';
}
