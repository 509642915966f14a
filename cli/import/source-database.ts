/** The database of a Python server, as rows of texts: what SQLite and PostgreSQL have in common. */
import { hexId, isUuid } from '../../contract/ids.js';
import { dateOf, parseEventTimestamp } from '../../events/event-timestamp.js';

/** JSON is text in it, and so are times and ids, in the spelling of the database. */
export type SourceRow = Readonly<Record<string, string | number | null>>;

/** A database that is only ever read. */
export interface SourceDatabase {
  /** For people, without a password. */
  readonly name: string;
  tables(): Promise<ReadonlySet<string>>;
  count(table: string): Promise<number>;
  /** All rows in the order of a column; memory does not grow with their number where the database allows it. */
  rows(table: string, orderBy: string): AsyncIterable<SourceRow>;
  close(): Promise<void>;
}

/** The database cannot be read at all; the message says what to do and holds no password. */
export class SourceUnreadable extends Error {
  override readonly name = 'SourceUnreadable';
}

/** A row, or a file, holds what cannot be understood; the message names the member and repeats no value. */
export class Undecodable extends Error {
  override readonly name = 'Undecodable';
}

/** A text; an empty one counts as none. */
export function textOf(row: SourceRow, column: string): string | null {
  const value = row[column];
  return value === undefined || value === null || value === '' ? null : String(value);
}

/**
 * A UUID in any spelling, as hex.
 * @throws {Undecodable}
 */
export function idOf(row: SourceRow, column: string): string | null {
  const text = textOf(row, column);
  if (text === null) return null;
  if (!isUuid(text)) throw new Undecodable(`${column} is no UUID`);
  return hexId(text);
}

/**
 * A time; one without a zone is UTC.
 * @throws {Undecodable}
 */
export function timeOf(row: SourceRow, column: string): Date | null {
  const text = textOf(row, column);
  if (text === null) return null;
  const timestamp = parseEventTimestamp(text);
  if (timestamp === null) throw new Undecodable(`${column} is no time`);
  return dateOf(timestamp);
}

/**
 * What a JSON column holds; null for SQL's null and JSON's.
 * @throws {Undecodable}
 */
export function jsonOf(row: SourceRow, column: string): unknown {
  const text = textOf(row, column);
  if (text === null) return null;
  try {
    return JSON.parse(text);
  } catch {
    throw new Undecodable(`${column} is no JSON`); // the reason would repeat what it holds
  }
}

/** A finite number; null where there is none. */
export function numberOf(row: SourceRow, column: string): number | null {
  const text = textOf(row, column);
  const value = text === null ? NaN : Number(text);
  return Number.isFinite(value) ? value : null;
}

/** SQLite says 1 and 0, PostgreSQL `t` and `f`. */
export function flagOf(row: SourceRow, column: string): boolean | null {
  const text = textOf(row, column);
  return text === null ? null : ['1', 't', 'true'].includes(text);
}
