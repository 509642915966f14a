import { migrate } from 'drizzle-orm/node-postgres/migrator';
import { drizzle } from 'drizzle-orm/node-postgres';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { z } from 'zod';

/** Any constant: all Callboard processes that migrate take this advisory lock. */
const MIGRATION_LOCK = 7_242_019;

const MIGRATIONS = fileURLToPath(new URL('./migrations', import.meta.url));

const Journal = z.object({ entries: z.array(z.object({ when: z.number(), tag: z.string() })) });

/** The migrations of this version, oldest first; `when` is what the database notes of those it has. */
export const shippedMigrations = (): { when: number; tag: string }[] =>
  Journal.parse(JSON.parse(readFileSync(join(MIGRATIONS, 'meta', '_journal.json'), 'utf8'))).entries;

/**
 * Brings the database to the schema of this version, forward only. Several processes may call it at once: one works,
 * the others wait and find nothing left to do.
 */
export async function migrateDatabase(url: string): Promise<void> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 10_000 });
  await client.connect();
  try {
    await client.query('select pg_advisory_lock($1)', [MIGRATION_LOCK]);
    await migrate(drizzle(client), { migrationsFolder: MIGRATIONS });
  } finally {
    await client.end(); // ends the session and with it the lock
  }
}
