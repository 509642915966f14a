import { and, desc, eq, gt, inArray, isNull } from 'drizzle-orm';
import type { Database } from './database.js';
import { conversations, sandboxes } from './schema/index.js';

/** Which conversations may have lost events. */
export class LostEventReadModel {
  constructor(private readonly database: Database) {}

  /** Those of the ids that are conversations here and not deleted. */
  async present(ids: readonly string[]): Promise<string[]> {
    if (ids.length === 0) return [];
    const rows = await this.database
      .select({ id: conversations.id })
      .from(conversations)
      .where(and(inArray(conversations.id, [...ids]), isNull(conversations.deletedAt)));
    return rows.map(({ id }) => id);
  }

  /** Conversations whose sandbox is RUNNING, those of the sandboxes that were active last first. */
  async inRunningSandboxes(limit: number): Promise<string[]> {
    const rows = await this.database
      .select({ id: conversations.id })
      .from(sandboxes)
      .innerJoin(conversations, eq(conversations.sandboxId, sandboxes.id))
      .where(
        and(eq(sandboxes.status, 'RUNNING'), isNull(sandboxes.deletedAt), isNull(conversations.deletedAt)),
      )
      .orderBy(desc(sandboxes.lastActiveAt), desc(conversations.updatedAt))
      .limit(limit);
    return rows.map(({ id }) => id);
  }

  /** Ids of RUNNING sandboxes in order, after a given one. */
  async runningSandboxes(after: string, limit: number): Promise<string[]> {
    const rows = await this.database
      .select({ id: sandboxes.id })
      .from(sandboxes)
      .where(and(gt(sandboxes.id, after), eq(sandboxes.status, 'RUNNING'), isNull(sandboxes.deletedAt)))
      .orderBy(sandboxes.id)
      .limit(limit);
    return rows.map(({ id }) => id);
  }
}
