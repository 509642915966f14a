import { and, asc, desc, eq, inArray, isNull, ne, type SQL } from 'drizzle-orm';
import type { Database } from './database.js';
import { after, alignedTo, cutPage, decodeCursor, ownedBy, type VisibleUsers } from './paging.js';
import type { SandboxRecord } from './sandbox-repository.js';
import { sandboxes } from './schema/index.js';

/** Answers questions about sandboxes from SQL alone; deleted ones are not there. */
export class SandboxReadModel {
  constructor(private readonly database: Database) {}

  /** Newest first. */
  async search(
    users: VisibleUsers,
    page: { limit: number; pageId?: string | undefined },
  ): Promise<{ records: SandboxRecord[]; nextPageId: string | null }> {
    const rows = await this.database
      .select()
      .from(sandboxes)
      .where(and(visible(users), after(sandboxes.createdAt, sandboxes.id, decodeCursor(page.pageId), true)))
      .orderBy(desc(sandboxes.createdAt), desc(sandboxes.id))
      .limit(page.limit + 1);
    const cut = cutPage(rows, page.limit, (row) => ({ at: row.createdAt, id: row.id }));
    return { records: cut.rows, nextPageId: cut.next };
  }

  /** Sandboxes in the order of `ids`, null for what is missing or not the caller's. */
  async batch(users: VisibleUsers, ids: readonly string[]): Promise<(SandboxRecord | null)[]> {
    if (ids.length === 0) return [];
    const rows = await this.database
      .select()
      .from(sandboxes)
      .where(and(visible(users), inArray(sandboxes.id, [...ids])));
    return alignedTo(ids, rows, (row) => row.id);
  }

  /**
   * A user's sandboxes that have to give way so that at most `max` are running or starting, oldest first.
   * @param resumed counts among them although it may be paused now, and never gives way; null when there is none
   */
  async beyondLimit(owner: string | null, max: number, resumed: string | null): Promise<SandboxRecord[]> {
    const candidates = await this.database
      .select()
      .from(sandboxes)
      .where(
        and(
          isNull(sandboxes.deletedAt),
          owner === null ? isNull(sandboxes.createdByUserId) : eq(sandboxes.createdByUserId, owner),
          inArray(sandboxes.status, ['STARTING', 'RUNNING']),
          resumed === null ? undefined : ne(sandboxes.id, resumed),
        ),
      )
      .orderBy(asc(sandboxes.createdAt), asc(sandboxes.id));
    return candidates.slice(0, Math.max(0, candidates.length + (resumed === null ? 0 : 1) - max));
  }

  /** One sandbox, or null when it is missing or not the caller's. */
  async read(users: VisibleUsers, id: string): Promise<SandboxRecord | null> {
    const [record] = await this.batch(users, [id]);
    return record ?? null;
  }
}

/** One condition for search, batch and single reads: they can never disagree. */
const visible = (users: VisibleUsers): SQL | undefined =>
  and(isNull(sandboxes.deletedAt), ownedBy(sandboxes.createdByUserId, users));
