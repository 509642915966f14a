import pg from 'pg';
import { messageOf } from '../user-error.js';
import { SourceUnreadable, type SourceDatabase, type SourceRow } from './source-database.js';

const CONNECT_TIMEOUT_MS = 10_000;
/** Rows held at a time. */
const PAGE = 500;

/**
 * Opens a PostgreSQL database in one read-only transaction: all that is read is of the same moment, and nothing can be
 * changed by mistake.
 * @param url may name a driver as SQLAlchemy does (`postgresql+asyncpg://`)
 * @throws {SourceUnreadable}
 */
export async function openPostgresDatabase(url: string): Promise<SourceDatabase> {
  const { name, address } = readAddress(url);
  const client = new pg.Client({
    connectionString: address,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    application_name: 'callboard import',
    // Everything as text, as SQLite has it: the columns' types differ from release to release.
    types: { getTypeParser: () => (value: unknown) => value },
  });
  try {
    await client.connect();
    await client.query("set time zone 'UTC'");
    await client.query('begin isolation level repeatable read, read only');
  } catch (err) {
    await client.end().catch(() => undefined); // it is not connected any more: nothing is lost
    throw new SourceUnreadable(
      `The database ${name} cannot be read (${messageOf(err)}): check its address and that it runs.`,
    );
  }
  let cursors = 0;
  return {
    name,
    async tables() {
      const { rows } = await client.query<{ name: string }>(
        'select table_name as name from information_schema.tables where table_schema = current_schema()',
      );
      return new Set(rows.map((row) => row.name));
    },
    async count(table) {
      const { rows } = await client.query<{ count: string }>(
        `select count(*) as count from ${pg.escapeIdentifier(table)}`,
      );
      return Number(rows[0]?.count ?? 0);
    },
    async *rows(table, orderBy) {
      const cursor = `rows_${(cursors += 1)}`;
      await client.query(
        `declare ${cursor} cursor for select * from ${pg.escapeIdentifier(table)} order by ${pg.escapeIdentifier(orderBy)}`,
      );
      for (let count = PAGE; count === PAGE;) {
        const { rows } = await client.query<SourceRow>(`fetch ${PAGE} from ${cursor}`);
        count = rows.length;
        yield* rows;
      }
      await client.query(`close ${cursor}`);
    },
    close: () => client.end(),
  };
}

function readAddress(url: string): { name: string; address: string } {
  const address = url.replace(/^(postgres(?:ql)?)\+\w+:/, '$1:');
  let parsed: URL;
  try {
    parsed = new URL(address);
  } catch {
    throw new SourceUnreadable('--from is no address of a database: write postgresql://user@host:5432/name.');
  }
  return { name: `${parsed.host}${parsed.pathname}`, address };
}
