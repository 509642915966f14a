import { readFile } from 'node:fs/promises';
import initSqlJs from 'sql.js';
import { isMissing } from '../../events/event-disk.js';
import { hasCode, messageOf } from '../user-error.js';
import { SourceUnreadable, type SourceDatabase, type SourceRow } from './source-database.js';
import { withWriteAheadLog } from './sqlite-wal.js';

/**
 * Reads a SQLite database into memory, with what its log has committed; its files are opened for reading only.
 * @throws {SourceUnreadable}
 */
export async function openSqliteDatabase(path: string): Promise<SourceDatabase> {
  const [bytes, log, journal] = await Promise.all([
    readFile(path),
    optional(`${path}-wal`),
    optional(`${path}-journal`),
  ]).catch((err: unknown) => {
    if (!hasCode(err, 'EACCES')) throw err;
    throw new SourceUnreadable(`${path} may not be read by this user: run the import as one who may.`);
  });
  // The journal holds what a change under way has replaced: without it the database is half of one and half of another.
  if (journal !== null && journal.length > 0 && journal.some((byte) => byte !== 0)) {
    throw new SourceUnreadable(
      `${path} is being changed, or a change of it was cut off: let the old server run once and stop it, then try again.`,
    );
  }
  const { Database } = await initSqlJs();
  const database = new Database(withWriteAheadLog(bytes, log ?? Buffer.alloc(0)));
  try {
    database.exec('select count(*) from sqlite_master');
  } catch (err) {
    database.close();
    throw new SourceUnreadable(`${path} cannot be read as a SQLite database (${messageOf(err)}).`);
  }

  const texts = (sql: string): string[] =>
    (database.exec(sql)[0]?.values ?? []).map(([value]) => String(value));
  return {
    name: path,
    tables: () => Promise.resolve(new Set(texts("select name from sqlite_master where type = 'table'"))),
    count: (table) => Promise.resolve(Number(texts(`select count(*) from ${quoted(table)}`)[0] ?? 0)),
    async *rows(table, orderBy) {
      const statement = database.prepare(`select * from ${quoted(table)} order by ${quoted(orderBy)}`);
      try {
        while (statement.step()) yield statement.getAsObject() as SourceRow;
      } finally {
        statement.free();
      }
    },
    close: () => Promise.resolve(database.close()),
  };
}

const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`;

async function optional(path: string): Promise<Buffer | null> {
  try {
    return await readFile(path);
  } catch (err) {
    if (isMissing(err)) return null;
    throw err;
  }
}
