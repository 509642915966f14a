/** Connects to PostgreSQL, or says in a sentence why that cannot be done. */
import pg from 'pg';
import { isDatabaseOutage } from './outages.js';

/** How long PostgreSQL may take to answer, in milliseconds. */
const CONNECT_MS = 10_000;

/** PostgreSQL's codes of refused users (class 28), and of a database that is not there. */
const WRONG_USER = /^28...$/;
const NO_DATABASE = '3D000';

/** The database cannot be used; the message is for people, and holds no password. */
export class DatabaseUnusable extends Error {
  override readonly name = 'DatabaseUnusable';
  /** Nobody answers, or not yet: it may be another matter in a moment. */
  readonly isAway: boolean;

  constructor(
    readonly url: string,
    cause: unknown,
  ) {
    super(sentence(url, cause), { cause });
    this.isAway = isDatabaseOutage(cause);
  }
}

/**
 * An open connection of its own; whoever asked for it ends it.
 * @throws {DatabaseUnusable}
 */
export async function connectDatabase(url: string): Promise<pg.Client> {
  try {
    const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: CONNECT_MS });
    await client.connect();
    // Whoever waits for an answer is told that the connection is lost; without anybody who hears it the process would end.
    client.on('error', () => undefined);
    return client;
  } catch (err) {
    throw new DatabaseUnusable(url, err);
  }
}

function sentence(url: string, cause: unknown): string {
  const message = cause instanceof Error ? cause.message : String(cause);
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
  // Two addresses that both refuse are told without a text.
  const why = message === '' ? code : message;
  const where = `The database at ${placeOf(url)}`;
  if (isDatabaseOutage(cause))
    return `${where} cannot be reached (${why}): start it, or correct DATABASE_URL.`;
  if (WRONG_USER.test(code)) {
    return `${where} does not let this user in (${why}): correct user and password in DATABASE_URL.`;
  }
  if (code === NO_DATABASE) return `${where} is not there (${why}): create it, or correct DATABASE_URL.`;
  return `${where} cannot be used (${why}): correct DATABASE_URL.`;
}

/** Host and name, without user and password. */
function placeOf(url: string): string {
  if (!URL.canParse(url)) return 'DATABASE_URL';
  const { host, pathname, searchParams } = new URL(url);
  return `${host === '' ? (searchParams.get('host') ?? 'its socket') : host}${pathname}`;
}
