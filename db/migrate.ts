import { sql } from 'drizzle-orm';
import { drizzle, type NodePgDatabase } from 'drizzle-orm/node-postgres';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { connectDatabase } from './unusable.js';

/** Any constant: all Callboard processes that migrate take this advisory lock. */
const MIGRATION_LOCK = 7_242_019;

const MIGRATIONS = fileURLToPath(new URL('./migrations', import.meta.url));

const Journal = z.object({ entries: z.array(z.object({ when: z.number(), tag: z.string() })) });

/** The migrations of this version, oldest first; `when` is what the database notes of those it has. */
export const shippedMigrations = (folder = MIGRATIONS): { when: number; tag: string }[] =>
  Journal.parse(JSON.parse(readFileSync(join(folder, 'meta', '_journal.json'), 'utf8'))).entries;

export interface MigrationOptions {
  /** Goes on with a schema that a later version has made, for going back by one version. */
  allowNewer?: boolean;
  /** Replaces the migrations of this version in tests. */
  folder?: string;
}

/** The database has the schema of a later version. */
export class SchemaTooNew extends Error {
  constructor() {
    super(
      'The database was upgraded by a later version of Callboard: run that version, or, to go back by one version, set CALLBOARD_ALLOW_NEWER_SCHEMA=1.',
    );
    this.name = 'SchemaTooNew';
  }
}

/**
 * Brings the database to the schema of this version, forward only, all of it or nothing. Several processes may call it
 * at once: one works, the others wait and find nothing left to do.
 * @throws {SchemaTooNew} when a later version has been here
 * @throws {DatabaseUnusable} when nobody answers, or lets us in
 */
export async function migrateDatabase(
  url: string,
  { allowNewer = false, folder = MIGRATIONS }: MigrationOptions = {},
): Promise<void> {
  const client = await connectDatabase(url);
  try {
    const database = drizzle(client);
    const newest = Math.max(...shippedMigrations(folder).map(({ when }) => when));
    // As it nearly always is: then nothing is locked, read or loaded.
    if ((await newestApplied(database)) === newest) return;
    await client.query('select pg_advisory_lock($1)', [MIGRATION_LOCK]);
    if (!allowNewer && (await newestApplied(database)) > newest) throw new SchemaTooNew();
    const { migrate } = await import('drizzle-orm/node-postgres/migrator');
    await migrate(database, { migrationsFolder: folder });
  } finally {
    await client.end(); // ends the session and with it the lock
  }
}

/** Time of the newest migration in the database, in milliseconds; 0 for an empty database. */
async function newestApplied(database: NodePgDatabase): Promise<number> {
  const known = await database.execute<{ there: boolean }>(
    sql`select to_regclass('drizzle.__drizzle_migrations') is not null as there`,
  );
  if (!known.rows[0]?.there) return 0;
  const { rows } = await database.execute<{ newest: string | null }>(
    sql`select max(created_at)::text as newest from drizzle.__drizzle_migrations`,
  );
  return Number(rows[0]?.newest ?? 0);
}
