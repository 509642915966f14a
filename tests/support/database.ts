import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { openDatabase, type DatabaseConnection } from '../../db/database.js';
import { required } from './environment.js';

export interface TestDatabase {
  url: string;
  drop(): Promise<void>;
}

/** A fresh, migrated database of its own, copied from the template in a few milliseconds. */
export const createTestDatabase = (): Promise<TestDatabase> =>
  createDatabase('test', 'template callboard_template');

/** A database with nothing in it. */
export const createEmptyDatabase = (prefix: string): Promise<TestDatabase> => createDatabase(prefix, '');

async function createDatabase(prefix: string, options: string): Promise<TestDatabase> {
  const adminUrl = required('TEST_DATABASE_URL');
  const name = `${prefix}_${randomBytes(8).toString('hex')}`;
  await execute(adminUrl, `create database ${name} ${options}`);
  const url = new URL(adminUrl);
  url.pathname = `/${name}`;
  return {
    url: url.toString(),
    drop: () => dropDatabase(adminUrl, name),
  };
}

/** A fresh database with an open pool; `close` ends both. */
export async function openTestDatabase(): Promise<DatabaseConnection & { url: string }> {
  const test = await createTestDatabase();
  const connection = openDatabase({ url: test.url });
  return {
    ...connection,
    url: test.url,
    close: async () => {
      await connection.close();
      await test.drop();
    },
  };
}

/**
 * Drops a database and ends whatever this user still has open in it. Not `with (force)`: that is refused while
 * PostgreSQL's own autovacuum is at work there, which a plain `drop` sends away.
 */
async function dropDatabase(adminUrl: string, name: string): Promise<void> {
  await execute(
    adminUrl,
    `select pg_terminate_backend(pid) from pg_stat_activity where datname = '${name}' and usename = current_user`,
  );
  await execute(adminUrl, `drop database if exists ${name}`);
}

async function execute(url: string, statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}
