/** Sandboxes that are kept started and are nobody's yet. Their rows are the truth about the pool. */
import { and, asc, desc, eq, gt, inArray, isNotNull, isNull, or, sql, type SQL } from 'drizzle-orm';
import type { SandboxStatus } from '../contract/sandbox.js';
import type { Database } from './database.js';
import type { Executor } from './executor.js';
import { SANDBOX_CHANNEL } from './sandbox-repository.js';
import { sandboxes, startTasks } from './schema/index.js';

/** A sandbox in the pool. */
export interface WarmSandbox {
  id: string;
  status: SandboxStatus;
  /** Where it runs, while it is RUNNING. */
  agentServerUrl: string | null;
  agentServerVersion: string | null;
  hostId: string | null;
  warmSince: Date;
  /** When its row has changed last. */
  updatedAt: Date;
  /** It is to go and nobody gets it any more; its actor has not ended it yet. */
  retired: boolean;
}

/** A start, or a request, that needed a new sandbox. */
export interface Demand {
  at: Date;
  /** Whether it found a warm one. */
  served: boolean;
}

/** Candidates that one start looks at before it boots a sandbox of its own. */
const CANDIDATES = 5;
/** Most starts that are looked at to see how many come at once. */
const DEMAND_ROWS = 200;

/** Reads and retires what is kept warm; what takes one out is {@link claimWarm}. */
export class WarmSandboxes {
  constructor(private readonly database: Database) {}

  /** Those a start may take, the best first: what runs, then what has been booting for longest. */
  async candidates(specId: string): Promise<Pick<WarmSandbox, 'id' | 'status' | 'agentServerUrl'>[]> {
    return this.database
      .select({ id: sandboxes.id, status: sandboxes.status, agentServerUrl: sandboxes.agentServerUrl })
      .from(sandboxes)
      .where(and(eq(sandboxes.specId, specId), available()))
      .orderBy(desc(sql`${sandboxes.status} = 'RUNNING'`), asc(sandboxes.warmSince), asc(sandboxes.id))
      .limit(CANDIDATES);
  }

  /** All of a spec that are not gone, oldest first. */
  async ofSpec(specId: string): Promise<WarmSandbox[]> {
    const rows = await this.database
      .select({
        id: sandboxes.id,
        status: sandboxes.status,
        agentServerUrl: sandboxes.agentServerUrl,
        agentServerVersion: sandboxes.agentServerVersion,
        hostId: sandboxes.hostId,
        warmSince: sandboxes.warmSince,
        updatedAt: sandboxes.updatedAt,
        deletedAt: sandboxes.deletedAt,
      })
      .from(sandboxes)
      .where(and(eq(sandboxes.specId, specId), present()))
      .orderBy(sandboxes.warmSince, sandboxes.id);
    return rows.flatMap(({ warmSince, deletedAt, ...row }) =>
      warmSince === null ? [] : [{ ...row, warmSince, retired: deletedAt !== null }],
    );
  }

  /** Specs of which something is kept warm. */
  async specs(): Promise<string[]> {
    const rows = await this.database
      .selectDistinct({ specId: sandboxes.specId })
      .from(sandboxes)
      .where(present());
    return rows.map(({ specId }) => specId);
  }

  /** The newest needs of a new sandbox of a spec within the last `withinMs`, newest first. */
  async demand(specId: string, withinMs: number): Promise<Demand[]> {
    const rows = await this.database
      .select({ at: sandboxes.createdAt, claimedAt: sandboxes.claimedAt })
      .from(sandboxes)
      .where(
        and(
          gt(sandboxes.createdAt, sql`now() - make_interval(secs => ${withinMs / 1000})`),
          eq(sandboxes.specId, specId),
          isNull(sandboxes.warmSince),
          // What was refused for its user's limit never got as far.
          or(isNull(sandboxes.deletedAt), isNotNull(sandboxes.claimedAt), isNotNull(sandboxes.hostId)),
        ),
      )
      .orderBy(desc(sandboxes.createdAt))
      .limit(DEMAND_ROWS);
    return rows.map(({ at, claimedAt }) => ({ at, served: claimedAt !== null }));
  }

  /** Whether a start has moved within `withinMs` and has not ended: it needs the processor more than the pool does. */
  async startsUnderWay(withinMs: number): Promise<boolean> {
    const rows = await this.database
      .select({ id: startTasks.id })
      .from(startTasks)
      .where(
        and(
          sql`${startTasks.status} not in ('READY', 'ERROR')`,
          gt(startTasks.updatedAt, sql`now() - make_interval(secs => ${withinMs / 1000})`),
        ),
      )
      .limit(1);
    return rows.length > 0;
  }

  /** Makes a warm sandbox a user's, if it still is nobody's. */
  async claim(sandboxId: string, userId: string | null): Promise<boolean> {
    return this.database.transaction((tx) => claimWarm(tx, sandboxId, userId));
  }

  /** Takes back from its user what was claimed a moment ago and shown to nobody; the next look of the pool has it ended. */
  async giveUp(sandboxId: string): Promise<void> {
    await giveUpSandbox(this.database, sandboxId);
  }

  /** Takes sandboxes out of the pool for good, unless a start has got them; their actors are to be told. @returns those retired now or before */
  async retire(ids: readonly string[]): Promise<string[]> {
    if (ids.length === 0) return [];
    return this.#retire(inArray(sandboxes.id, [...ids]));
  }

  /** The same for all that a host keeps, and on demand for those that no host has taken yet. */
  async retireOfHost(hostId: string, { orUnplaced = false } = {}): Promise<string[]> {
    const here = eq(sandboxes.hostId, hostId);
    return this.#retire(orUnplaced ? or(here, isNull(sandboxes.hostId)) : here);
  }

  async #retire(which: SQL | undefined): Promise<string[]> {
    const rows = await this.database
      .update(sandboxes)
      .set({ deletedAt: sql`coalesce(${sandboxes.deletedAt}, now())`, updatedAt: new Date() })
      .where(and(which, present()))
      .returning({ id: sandboxes.id });
    return rows.map(({ id }) => id);
  }
}

/**
 * Makes a warm sandbox somebody's, if it still is nobody's. What users see of its age and idle time begins now, and its
 * user's limit is asked next (`slot_due_at`).
 */
export async function claimWarm(tx: Executor, sandboxId: string, userId: string | null): Promise<boolean> {
  const { rows } = await tx.execute(sql`
    update sandboxes
    set created_by_user_id = ${userId}, warm_since = null, claimed_at = now(), slot_due_at = now(),
      created_at = now(), updated_at = now(), last_active_at = now()
    where id = (
      select id from sandboxes
      where id = ${sandboxId} and warm_since is not null and deleted_at is null
        and status in ('RUNNING', 'STARTING')
      for update skip locked)
    returning id`);
  if (rows.length === 0) return false;
  await tx.execute(sql`select pg_notify(${SANDBOX_CHANNEL}, ${sandboxId})`);
  return true;
}

/**
 * Hides a sandbox that its user cannot have after all. One that came out of the pool runs: it goes back there as retired,
 * so that its actor is told to end it, again if need be, until it is gone.
 */
export async function giveUpSandbox(executor: Executor, sandboxId: string): Promise<void> {
  await executor.execute(sql`
    update sandboxes
    set deleted_at = coalesce(deleted_at, now()), updated_at = now(),
      warm_since = case when claimed_at is null then warm_since else coalesce(warm_since, now()) end
    where id = ${sandboxId}`);
}

/** As the partial index `sandboxes_warm` has it. */
const present = () =>
  and(
    isNotNull(sandboxes.warmSince),
    sql`(${sandboxes.deletedAt} is null or ${sandboxes.status} <> 'MISSING')`,
  );

const available = () =>
  and(
    isNotNull(sandboxes.warmSince),
    isNull(sandboxes.deletedAt),
    inArray(sandboxes.status, ['RUNNING', 'STARTING']),
  );
