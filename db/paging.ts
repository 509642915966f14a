/** Keyset paging and scoping shared by all read models. */
import { inArray, sql, type Column, type SQL } from 'drizzle-orm';

/** User ids whose rows a caller may see; null when everything is visible (`visibleUserIds`). */
export type VisibleUsers = readonly string[] | null;

/** Restricts a query to what a caller may see; undefined when that is everything. */
export function ownedBy(owner: Column, users: VisibleUsers): SQL | undefined {
  if (users === null) return undefined;
  // One user is an equality, which the index on owner and time answers in order; an organization is one parameter.
  return users.length <= 1
    ? inArray(owner, [...users])
    : sql`${owner} = any(${sql.param([...users])}::text[])`;
}

/** The same of a row that has been read: for statements that answer many callers at a time. */
export const isOwnedBy = (owner: string | null, users: VisibleUsers): boolean =>
  users === null || (owner !== null && users.includes(owner));

/** Where a page ended: sort time and id of its last item. */
export interface Position {
  at: Date;
  id: string;
}

/** The opaque form in which clients carry a position to the next page. */
export const encodeCursor = ({ at, id }: Position): string =>
  Buffer.from(JSON.stringify([at.getTime(), id])).toString('base64url');

/** Reads a cursor; what cannot be read means the first page (contract 1.4), so the answer is null. */
export function decodeCursor(cursor: string | null | undefined): Position | null {
  if (!cursor) return null;
  const value = parsed(Buffer.from(cursor, 'base64url').toString('utf8'));
  if (!Array.isArray(value) || value.length !== 2) return null;
  const [time, id] = value as unknown[];
  if (typeof time !== 'number' || typeof id !== 'string' || id.includes('\0')) return null;
  const at = new Date(time);
  // PostgreSQL reads four-digit years only in this form.
  return Number.isNaN(at.getTime()) || at.getUTCFullYear() < 0 || at.getUTCFullYear() > 9999
    ? null
    : { at, id };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null; // not one of our cursors: the first page
  }
}

/** What comes after a position in the given order; one row comparison, so that an index on both columns serves it. */
export function after(
  time: Column,
  id: Column,
  position: Position | null,
  descending: boolean,
): SQL | undefined {
  if (!position) return undefined;
  const at = position.at.toISOString();
  return descending
    ? sql`(${time}, ${id}) < (${at}::timestamptz, ${position.id}::text)`
    : sql`(${time}, ${id}) > (${at}::timestamptz, ${position.id}::text)`;
}

/** Cuts the one row that was read beyond the page, which only tells that there is a next page. */
export function cutPage<Row>(
  rows: readonly Row[],
  limit: number,
  positionOf: (row: Row) => Position,
): { rows: Row[]; next: string | null } {
  const page = rows.slice(0, limit);
  const last = page.at(-1);
  return { rows: page, next: rows.length > limit && last ? encodeCursor(positionOf(last)) : null };
}

/** Case-insensitive "contains", with the wildcards of LIKE taken literally. */
export function containsText(column: Column, text: string): SQL {
  const pattern = `%${text.replaceAll(/[\\%_]/g, String.raw`\$&`)}%`;
  return sql`${column} ilike ${pattern} escape '\\'`;
}

/** Rows in the order of the ids asked for, null for what was not found; an id asked for twice is answered twice. */
export function alignedTo<Row>(
  ids: readonly string[],
  rows: readonly Row[],
  idOf: (row: Row) => string,
): (Row | null)[] {
  const byId = new Map(rows.map((row) => [idOf(row), row]));
  return ids.map((id) => byId.get(id) ?? null);
}
