/** Installations that real Python servers wrote (README.md there says how), as tests use them. */
import { createHash } from 'node:crypto';
import { cpSync, mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { openSqliteDatabase } from '../../../cli/import/sqlite-database.js';
import { createEmptyDatabase, type TestDatabase } from '../database.js';

export const RECORDED_VERSIONS = ['1.11.0', '0.62.0'] as const;
export type RecordedVersion = (typeof RECORDED_VERSIONS)[number];

/** A file or directory of a recorded installation. */
export const recordedPath = (version: RecordedVersion, ...path: string[]): string =>
  join(fileURLToPath(new URL('../../fixtures/import', import.meta.url)), version, ...path);

/** A copy of its data directory, to be broken or changed. */
export function copyOfData(version: RecordedVersion): string {
  const copy = mkdtempSync(join(tmpdir(), 'callboard-import-source-'));
  cpSync(recordedPath(version, 'data'), copy, { recursive: true });
  return copy;
}

/** A hash of all names and contents below a directory. */
export function fingerprint(directory: string): string {
  const hash = createHash('sha256');
  const names = readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
  for (const name of names) hash.update(`${name}\0`).update(readFileSync(name));
  return hash.digest('hex');
}

/** The recorded rows in PostgreSQL, in the tables that the server's own migrations make there. */
export async function recordedInPostgres(version: RecordedVersion): Promise<TestDatabase> {
  const database = await createEmptyDatabase('import');
  const client = new pg.Client({ connectionString: database.url });
  const recorded = await openSqliteDatabase(recordedPath(version, 'data', 'openhands.db'));
  await client.connect();
  try {
    await client.query("set time zone 'UTC'");
    const statements = readFileSync(recordedPath(version, 'postgres.sql'), 'utf8').split(/;\s*$/m);
    for (const statement of statements) if (statement.trim() !== '') await client.query(statement);
    for (const table of await recorded.tables()) {
      if (table === 'alembic_version') continue;
      for await (const row of recorded.rows(table, 'created_at')) {
        const names = Object.keys(row);
        const places = names.map((_, index) => `$${index + 1}`);
        await client.query(
          `insert into ${table} (${names.join(', ')}) values (${places.join(', ')})`,
          Object.values(row),
        );
      }
    }
  } finally {
    await recorded.close();
    await client.end();
  }
  return database;
}
