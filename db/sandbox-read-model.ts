import { and, desc, eq, inArray, isNull, sql, type Placeholder, type SQL } from 'drizzle-orm';
import { askedTogether } from './asked-together.js';
import type { Database } from './database.js';
import { after, alignedTo, cutPage, decodeCursor, ownedBy, type VisibleUsers } from './paging.js';
import type { SandboxRecord } from './sandbox-repository.js';
import { sandboxes } from './schema/index.js';
import { whenAsked } from './when-asked.js';

/** What a list shows of a sandbox; the key is still encrypted. */
export type ListedSandbox = Pick<
  SandboxRecord,
  'id' | 'createdByUserId' | 'specId' | 'status' | 'sessionApiKey' | 'exposedUrls' | 'createdAt'
>;

const LISTED = {
  id: sandboxes.id,
  createdByUserId: sandboxes.createdByUserId,
  specId: sandboxes.specId,
  status: sandboxes.status,
  sessionApiKey: sandboxes.sessionApiKey,
  exposedUrls: sandboxes.exposedUrls,
  createdAt: sandboxes.createdAt,
};

interface FirstPage {
  users: VisibleUsers;
  limit: number;
}

/** Answers questions about sandboxes from SQL alone; deleted ones are not there, nor those that are nobody's yet. */
export class SandboxReadModel {
  /** First pages are polled: their statements are built, read and planned once. */
  readonly #firstPage;
  /** Pages of the same users that are asked for at the same moment are one statement. */
  readonly #askFirst;

  constructor(private readonly database: Database) {
    const limit = sql.placeholder('limit');
    this.#firstPage = whenAsked(() => ({
      all: this.#page(undefined, limit).prepare('sandboxes_of_all'),
      one: this.#page(eq(sandboxes.createdByUserId, sql.placeholder('user')), limit).prepare(
        'sandboxes_of_one',
      ),
      some: this.#page(
        sql`${sandboxes.createdByUserId} = any(${sql.placeholder('users')}::text[])`,
        limit,
      ).prepare('sandboxes_of_some'),
    }));
    this.#askFirst = askedTogether((pages: readonly FirstPage[]) => {
      const asked = new Map<string, Promise<readonly ListedSandbox[]>>();
      return Promise.all(
        pages.map(({ users, limit }) => {
          const question = JSON.stringify([users, limit]);
          const answer = asked.get(question) ?? this.#first(users, limit);
          asked.set(question, answer);
          return answer;
        }),
      );
    });
  }

  /** Newest first. */
  async search(
    users: VisibleUsers,
    page: { limit: number; pageId?: string | undefined },
  ): Promise<{ records: readonly ListedSandbox[]; nextPageId: string | null }> {
    const position = decodeCursor(page.pageId);
    const rows = position
      ? await this.#page(
          and(
            ownedBy(sandboxes.createdByUserId, users),
            after(sandboxes.createdAt, sandboxes.id, position, true),
          ),
          page.limit + 1,
        )
      : await this.#askFirst({ users, limit: page.limit + 1 });
    const cut = cutPage(rows, page.limit, (row) => ({ at: row.createdAt, id: row.id }));
    return { records: cut.rows, nextPageId: cut.next };
  }

  async #first(users: VisibleUsers, limit: number): Promise<ListedSandbox[]> {
    if (users === null) return this.#firstPage().all.execute({ limit });
    const [user, ...others] = users;
    if (user === undefined) return [];
    return others.length === 0
      ? this.#firstPage().one.execute({ user, limit })
      : this.#firstPage().some.execute({ users, limit });
  }

  #page(which: SQL | undefined, limit: number | Placeholder) {
    return this.database
      .select(LISTED)
      .from(sandboxes)
      .where(and(present, which))
      .orderBy(desc(sandboxes.createdAt), desc(sandboxes.id))
      .limit(limit);
  }

  /** Sandboxes in the order of `ids`, null for what is missing or not the caller's. */
  async batch(users: VisibleUsers, ids: readonly string[]): Promise<(SandboxRecord | null)[]> {
    if (ids.length === 0) return [];
    const rows = await this.database
      .select()
      .from(sandboxes)
      .where(and(present, ownedBy(sandboxes.createdByUserId, users), inArray(sandboxes.id, [...ids])));
    return alignedTo(ids, rows, (row) => row.id);
  }

  /** One sandbox, or null when it is missing or not the caller's. */
  async read(users: VisibleUsers, id: string): Promise<SandboxRecord | null> {
    const [record] = await this.batch(users, [id]);
    return record ?? null;
  }
}

/** One condition for search, batch and single reads: they can never disagree. */
const present = and(isNull(sandboxes.deletedAt), isNull(sandboxes.warmSince));
