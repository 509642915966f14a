import { and, eq, sql } from 'drizzle-orm';
import type { Database } from './database.js';
import type { Executor } from './executor.js';
import type { NewSandbox } from './sandbox-repository.js';
import { sandboxes, sandboxRequests } from './schema/index.js';
import { claimWarm, giveUpSandbox } from './warm-sandboxes.js';

export interface SandboxRequest {
  userId: string | null;
  idempotencyKey: string;
  /** The spec that was asked for; null for the default. */
  wantedSpecId: string | null;
}

/** What a request with an `Idempotency-Key` has led to. */
export type SandboxStaging =
  /** The sandbox is new, or nobody knows yet whether its actor has begun: it is to be started. */
  | { outcome: 'to-start'; sandboxId: string }
  | { outcome: 'accepted' | 'deleted' | 'other-request'; sandboxId: string };

/** Has each `Idempotency-Key` of a user lead to one sandbox. */
export class SandboxRequests {
  constructor(private readonly database: Database) {}

  /**
   * Stores a sandbox in STARTING for a key, or finds the one that an earlier request has made. A sandbox that was never
   * accepted and has been given up since makes room for this one.
   */
  async stage(request: SandboxRequest, sandbox: NewSandbox): Promise<SandboxStaging> {
    return this.#stage(request, sandbox.id, async (tx) => {
      const now = new Date();
      await tx
        .insert(sandboxes)
        .values({ ...sandbox, status: 'STARTING', lastActiveAt: now, createdAt: now, updatedAt: now });
    });
  }

  /**
   * The same with a sandbox that is kept warm.
   * @returns null when it is somebody's meanwhile, and the key has led to none
   */
  async stageWarm(request: SandboxRequest, warmId: string): Promise<SandboxStaging | null> {
    try {
      return await this.#stage(request, warmId, async (tx) => {
        if (!(await claimWarm(tx, warmId, request.userId))) throw new NotWarmAnyMore();
      });
    } catch (error) {
      if (error instanceof NotWarmAnyMore) return null;
      throw error;
    }
  }

  /** @param place makes the sandbox the user's, where the key has led to none */
  async #stage(
    { userId, idempotencyKey, wantedSpecId }: SandboxRequest,
    newId: string,
    place: (tx: Executor) => Promise<void>,
  ): Promise<SandboxStaging> {
    const owner = userId ?? '';
    return this.database.transaction(async (tx) => {
      await tx.execute(
        sql`select pg_advisory_xact_lock(hashtextextended(${`sandbox-request/${owner}/${idempotencyKey}`}, 3))`,
      );
      const key = and(eq(sandboxRequests.userId, owner), eq(sandboxRequests.idempotencyKey, idempotencyKey));
      const [same] = await tx
        .select({
          sandboxId: sandboxRequests.sandboxId,
          wantedSpecId: sandboxRequests.wantedSpecId,
          acceptedAt: sandboxRequests.acceptedAt,
          deletedAt: sandboxes.deletedAt,
        })
        .from(sandboxRequests)
        .innerJoin(sandboxes, eq(sandboxes.id, sandboxRequests.sandboxId))
        .where(key);
      if (same) {
        const { sandboxId } = same;
        if (same.wantedSpecId !== wantedSpecId) return { outcome: 'other-request', sandboxId };
        if (!same.deletedAt) return { outcome: same.acceptedAt ? 'accepted' : 'to-start', sandboxId };
        if (same.acceptedAt) return { outcome: 'deleted', sandboxId };
        await tx.delete(sandboxRequests).where(key);
      }
      await place(tx);
      await tx
        .insert(sandboxRequests)
        .values({ userId: owner, idempotencyKey, sandboxId: newId, wantedSpecId });
      return { outcome: 'to-start', sandboxId: newId };
    });
  }

  /**
   * Notes that the actor of a sandbox has begun: from now on it is not withdrawn.
   * @returns false when another request of the same key has failed, and withdrawn it
   */
  async accept(sandboxId: string): Promise<boolean> {
    const rows = await this.database
      .update(sandboxRequests)
      .set({ acceptedAt: sql`coalesce(${sandboxRequests.acceptedAt}, now())` })
      .where(eq(sandboxRequests.sandboxId, sandboxId))
      .returning({ sandboxId: sandboxRequests.sandboxId });
    return rows.length > 0;
  }

  /**
   * Hides a sandbox that could not be started, and frees its key.
   * @returns false when another request of the same key has started it: it stays
   */
  async withdraw(sandboxId: string): Promise<boolean> {
    return this.database.transaction(async (tx) => {
      const rows = await tx
        .select({ acceptedAt: sandboxRequests.acceptedAt })
        .from(sandboxRequests)
        .where(eq(sandboxRequests.sandboxId, sandboxId))
        .for('update');
      if (rows.some(({ acceptedAt }) => acceptedAt !== null)) return false;
      await tx.delete(sandboxRequests).where(eq(sandboxRequests.sandboxId, sandboxId));
      await giveUpSandbox(tx, sandboxId);
      return true;
    });
  }
}

/** Ends a transaction of which nothing is to stay. */
class NotWarmAnyMore extends Error {}
