/** What is asked often is planned once for each connection; what depends on its values is planned for them. */
import { desc, eq, gt, sql } from 'drizzle-orm';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openDatabase, type DatabaseConnection } from '../../db/database.js';
import { sandboxes } from '../../db/schema/index.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { insertSandbox, newId } from '../support/rows.js';

let test: TestDatabase;
let connection: DatabaseConnection;

beforeEach(async () => {
  test = await createTestDatabase();
  // One connection, which is the one that is asked what it has prepared.
  connection = openDatabase({ url: test.url, maxConnections: 1 });
});
afterEach(async () => {
  await connection.close();
  await test.drop();
});

/** What the connection has prepared, and how often each was executed. */
async function prepared(): Promise<{ statement: string; times: number }[]> {
  const { rows } = await connection.pool.query<{ statement: string; times: number }>(
    'select statement, (generic_plans + custom_plans)::int as times from pg_prepared_statements order by name',
  );
  return rows;
}

const specOf = async (id: string) =>
  (
    await connection.database.select({ spec: sandboxes.specId }).from(sandboxes).where(eq(sandboxes.id, id))
  ).map(({ spec }) => spec);

describe('the statements of a pool', () => {
  it('are prepared when they have come a few times, and each execution answers for its own values', async () => {
    const { database } = connection;
    const ids = await Promise.all(
      ['one', 'two', 'three'].map((specId) => insertSandbox(database, { specId })),
    );
    const inserts = (await prepared()).length;
    expect(await specOf(ids[0]!)).toEqual(['one']);
    expect(await specOf(ids[1]!)).toEqual(['two']);
    expect(await prepared()).toHaveLength(inserts);
    for (let time = 0; time < 10; time++) {
      expect(await specOf(ids[time % 3]!)).toEqual([['one', 'two', 'three'][time % 3]]);
    }
    expect(await specOf(newId())).toEqual([]);
    const [select, ...others] = (await prepared()).filter(({ statement }) => statement.startsWith('select'));
    expect(others).toEqual([]);
    expect(select).toMatchObject({ times: 11 });
  });

  it('are prepared within transactions as well, and work on after one has failed', async () => {
    const { database } = connection;
    const spend = (part: number) =>
      database.transaction(async (tx) => {
        const { rows } = await tx.execute<{ whole: number }>(sql`select 10 / ${part}::int as whole`);
        return rows[0]!.whole;
      });
    for (const part of [1, 2, 5, 10]) expect(await spend(part)).toBe(10 / part);
    await expect(spend(0)).rejects.toThrow();
    expect(await spend(5)).toBe(2);
    const known = (await prepared()).filter(({ statement }) => statement.includes('10 /'));
    expect(known).toHaveLength(1);
  });

  it('stay unnamed where the best plan is another for other values: pages', async () => {
    const page = (spec: string) =>
      connection.database
        .select()
        .from(sandboxes)
        .where(gt(sandboxes.specId, spec))
        .orderBy(desc(sandboxes.createdAt))
        .limit(3);
    for (const spec of ['a', 'b', 'c', 'd', 'e']) expect(await page(spec)).toEqual([]);
    expect(await prepared()).toEqual([]);
  });

  it('keep a name of their own, and those without values have none', async () => {
    const mine = connection.database
      .select({ id: sandboxes.id })
      .from(sandboxes)
      .where(eq(sandboxes.id, sql.placeholder('id')))
      .prepare('mine');
    for (let time = 0; time < 4; time++) {
      await mine.execute({ id: newId() });
      await connection.pool.query('select 1 as nothing');
    }
    const { rows } = await connection.pool.query('select name from pg_prepared_statements');
    expect(rows).toEqual([{ name: 'mine' }]);
  });

  it('are forgotten together with their connection, and prepared anew by the next one', async () => {
    const id = await insertSandbox(connection.database, { specId: 'kept' });
    for (let time = 0; time < 5; time++) await specOf(id);
    const { rows } = await connection.pool.query<{ pid: number }>('select pg_backend_pid() as pid');
    const other = openDatabase({ url: test.url, maxConnections: 1 });
    await other.pool.query('select pg_terminate_backend($1)', [rows[0]!.pid]);
    await other.close();
    await specOf(id).catch(() => undefined); // may be the one that learns of the loss
    expect(await specOf(id)).toEqual(['kept']);
    expect(await prepared()).toHaveLength(1);
  });

  it('are not named without end: of lists of ever other lengths, three hundred', async () => {
    for (let length = 1; length <= 320; length++) {
      const list = sql.join(
        Array.from({ length }, (_, at) => sql`${at}::int`),
        sql`, `,
      );
      for (let time = 0; time < 3; time++) {
        await connection.database.execute(sql`select 1 where 0 in (${list})`);
      }
    }
    expect(await prepared()).toHaveLength(300);
  }, 180_000);
});
