import { and, eq, inArray, isNull, ne, or, sql } from 'drizzle-orm';
import type { SandboxLimitPolicy } from '../contract/sandbox.js';
import type { Database } from './database.js';
import type { Executor } from './executor.js';
import { sandboxes } from './schema/index.js';

/** How long somebody who was let in may take to run, so long as its row does not say so. */
const CLAIM = '10 minutes';
/** How long one that was chosen to give way may take to be paused. */
const YIELD = '1 minute';
/** After how long without message or event what was heard of an agent is asked again before it is believed. */
const MIRROR_IS_OLD = '5 minutes';
/** How often others are asked to give way before a refusal. */
const ROUNDS = 5;

/** There is no room for one more; the message tells its user what to do. */
export class SandboxLimitReached extends Error {
  constructor(max: number, why: 'policy' | 'busy') {
    const have = `You have ${max === 1 ? 'a running sandbox' : `${max} running sandboxes`}, as many as are allowed`;
    const rest = why === 'busy' ? `, and no idle one among them` : '';
    super(`${have}${rest}: pause or delete one, then try again.`);
    this.name = 'SandboxLimitReached';
  }
}

/** Has a sandbox go to sleep if nothing happens in it; false when something does. */
export type MakeWay = (sandbox: YieldingSandbox, reason: string) => Promise<boolean>;

export type YieldingSandbox = Pick<
  typeof sandboxes.$inferSelect,
  'id' | 'status' | 'hostId' | 'createdByUserId'
>;

interface Rival extends YieldingSandbox {
  counts: boolean;
  /** A start is under way in it, or an agent works by what was heard last, not long ago. */
  works: boolean;
  /** An agent works by what was heard last, which may be out of date. */
  mayWork: boolean;
}

export interface SandboxSlotSettings {
  /** Running sandboxes per user; 0 is no limit. */
  maxPerUser: number;
  policy: SandboxLimitPolicy;
}

/**
 * Who of a user's sandboxes may run. Each decision is made under a lock of its user and leaves its mark in the rows, so
 * that of several that want to run at the same time each sees the others.
 */
export class SandboxSlots {
  constructor(
    private readonly database: Database,
    private readonly settings: SandboxSlotSettings,
  ) {}

  /**
   * Lets a sandbox run, after as many of its user's oldest idle ones as necessary have gone to sleep (contract 5.7).
   * Repeated, it changes nothing.
   * @throws {SandboxLimitReached} when none of the others may be paused
   */
  async acquire(sandboxId: string, owner: string | null, makeWay: MakeWay): Promise<void> {
    const { maxPerUser } = this.settings;
    if (maxPerUser === 0) return;
    const stay = new Set<string>();
    const reason = `paused because another sandbox of its user was started or resumed, and ${maxPerUser} may run; resume it, or send a message`;
    for (let round = 0; round < ROUNDS; round++) {
      const yielding = await this.#claim(sandboxId, owner, stay);
      const slept = await Promise.all(yielding.map((sandbox) => makeWay(sandbox, reason)));
      const awake = yielding.filter((_, index) => !slept[index]).map(({ id }) => id);
      if (awake.length === 0) return;
      await this.#giveUp(sandboxId, awake);
      for (const id of awake) stay.add(id);
    }
    throw new SandboxLimitReached(maxPerUser, 'busy');
  }

  /**
   * Whether one more of a user's sandboxes would probably be let in: asked before something dear is taken for it. Leaves
   * no mark, so the answer may be out of date when it is heard.
   */
  async wouldLetIn(owner: string | null): Promise<boolean> {
    if (this.settings.maxPerUser === 0) return true;
    const { needed, idle } = this.#standing(await this.#rivals(this.database, null, owner), new Set());
    return needed <= 0 || (this.settings.policy !== 'refuse' && idle.length >= needed);
  }

  /** Marks the sandbox as about to run and others as about to sleep; returns these. */
  async #claim(sandboxId: string, owner: string | null, stay: ReadonlySet<string>): Promise<Rival[]> {
    const { maxPerUser, policy } = this.settings;
    return this.database.transaction(async (tx) => {
      await tx.execute(
        sql`select pg_advisory_xact_lock(hashtextextended(${`sandbox-slots/${owner ?? ''}`}, 0))`,
      );
      const { needed, idle } = this.#standing(await this.#rivals(tx, sandboxId, owner), stay);
      if (needed > 0 && policy === 'refuse') throw new SandboxLimitReached(maxPerUser, 'policy');
      if (idle.length < needed) throw new SandboxLimitReached(maxPerUser, 'busy');
      const yielding = idle.slice(0, Math.max(needed, 0));
      await tx
        .update(sandboxes)
        .set({ slotClaimedAt: sql`now()`, yieldingAt: null, slotDueAt: null })
        .where(eq(sandboxes.id, sandboxId));
      if (yielding.length > 0) {
        await tx
          .update(sandboxes)
          .set({ yieldingAt: sql`now()` })
          .where(
            inArray(
              sandboxes.id,
              yielding.map(({ id }) => id),
            ),
          );
      }
      return yielding;
    });
  }

  /** The other sandboxes of a user that run or are about to, oldest first. */
  async #rivals(executor: Executor, sandboxId: string | null, owner: string | null): Promise<Rival[]> {
    return executor
      .select({
        id: sandboxes.id,
        status: sandboxes.status,
        hostId: sandboxes.hostId,
        createdByUserId: sandboxes.createdByUserId,
        counts: sql<boolean>`(
          (${sandboxes.yieldingAt} is null or ${sandboxes.yieldingAt} < now() - ${YIELD}::interval)
          and ((${sandboxes.status} = 'RUNNING'
              and (${sandboxes.slotDueAt} is null or ${sandboxes.slotDueAt} < now() - ${CLAIM}::interval))
            or (${sandboxes.slotClaimedAt} is not null
              and (${sandboxes.status} = 'STARTING'
                or ${sandboxes.slotClaimedAt} > now() - ${CLAIM}::interval))))`,
        works: sql<boolean>`(${START_UNDER_WAY}
          or (${AGENT_RUNS} and ${sandboxes.lastActiveAt} > now() - ${MIRROR_IS_OLD}::interval))`,
        mayWork: sql<boolean>`(${AGENT_RUNS})`,
      })
      .from(sandboxes)
      .where(
        and(
          isNull(sandboxes.deletedAt),
          isNull(sandboxes.warmSince),
          owner === null ? isNull(sandboxes.createdByUserId) : eq(sandboxes.createdByUserId, owner),
          sandboxId === null ? undefined : ne(sandboxes.id, sandboxId),
          or(inArray(sandboxes.status, ['STARTING', 'RUNNING']), sql`${sandboxes.slotClaimedAt} is not null`),
        ),
      )
      .orderBy(sandboxes.createdAt, sandboxes.id);
  }

  /** How many have to give way for one more, and which could: the oldest that surely idle first, a boot last. */
  #standing(rivals: readonly Rival[], stay: ReadonlySet<string>): { needed: number; idle: Rival[] } {
    const counted = rivals.filter(({ counts }) => counts);
    const idle = counted
      .filter(({ id, works, status }) => !works && !stay.has(id) && isAwake(status))
      .sort((a, b) => reluctance(a) - reluctance(b));
    return { needed: counted.length + 1 - this.settings.maxPerUser, idle };
  }

  /** Takes back a claim that rested on others who do not sleep after all. */
  async #giveUp(sandboxId: string, awake: readonly string[]): Promise<void> {
    await this.database.transaction(async (tx) => {
      await tx
        .update(sandboxes)
        .set({
          slotClaimedAt: null,
          // One that runs already came out of the pool, and waits to be let in again.
          slotDueAt: sql`case when ${sandboxes.status} = 'RUNNING' then now() else null end`,
        })
        .where(eq(sandboxes.id, sandboxId));
      await tx
        .update(sandboxes)
        .set({ yieldingAt: null })
        .where(inArray(sandboxes.id, [...awake]));
    });
  }
}

const isAwake = (status: Rival['status']): boolean => status === 'RUNNING' || status === 'STARTING';

const reluctance = ({ status, mayWork }: Rival): number => (status === 'STARTING' ? 2 : mayWork ? 1 : 0);

const START_UNDER_WAY = sql`exists (
  select 1 from start_tasks
  where start_tasks.sandbox_id = ${sandboxes.id} and start_tasks.status not in ('READY', 'ERROR'))`;

const AGENT_RUNS = sql`exists (
  select 1 from conversations
  where conversations.sandbox_id = ${sandboxes.id} and conversations.deleted_at is null
    and conversations.execution_status = 'running')`;
