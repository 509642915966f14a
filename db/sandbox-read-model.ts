import { and, desc, inArray, isNull, type SQL } from 'drizzle-orm';
import type { Database } from './database.js';
import { after, alignedTo, cutPage, decodeCursor, ownedBy, type VisibleUsers } from './paging.js';
import type { SandboxRecord } from './sandbox-repository.js';
import { sandboxes } from './schema/index.js';

/** Answers questions about sandboxes from SQL alone; deleted ones are not there, nor those that are nobody's yet. */
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

  /** One sandbox, or null when it is missing or not the caller's. */
  async read(users: VisibleUsers, id: string): Promise<SandboxRecord | null> {
    const [record] = await this.batch(users, [id]);
    return record ?? null;
  }
}

/** One condition for search, batch and single reads: they can never disagree. */
const visible = (users: VisibleUsers): SQL | undefined =>
  and(isNull(sandboxes.deletedAt), isNull(sandboxes.warmSince), ownedBy(sandboxes.createdByUserId, users));
