import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import pg from 'pg';
import { migrateDatabase } from '../../db/migrate.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { required } from '../support/environment.js';

describe('migrations', () => {
  let empty: TestDatabase;
  beforeAll(async () => {
    empty = await createTestDatabase();
  });
  afterAll(() => empty.drop());

  it('are applied once when several processes start at the same time', async () => {
    const admin = new pg.Client({ connectionString: required('TEST_DATABASE_URL') });
    await admin.connect();
    const name = `bare_${Date.now()}`;
    await admin.query(`create database ${name}`);
    const url = new URL(required('TEST_DATABASE_URL'));
    url.pathname = `/${name}`;
    await Promise.all([1, 2, 3, 4].map(() => migrateDatabase(url.toString())));
    const client = new pg.Client({ connectionString: url.toString() });
    await client.connect();
    const { rows } = await client.query<{ count: string }>(
      'select count(*) from drizzle.__drizzle_migrations',
    );
    const tables = await client.query<{ table_name: string }>(
      `select table_name from information_schema.tables where table_schema = 'public'`,
    );
    await client.end();
    await admin.query(`drop database ${name}`);
    await admin.end();
    expect(Number(rows[0]?.count)).toBeGreaterThan(0);
    expect(tables.rows.map((row) => row.table_name)).toContain('start_tasks');
  });

  it('leave a current database as it is', async () => {
    await expect(migrateDatabase(empty.url)).resolves.toBeUndefined();
  });
});
