import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { isDatabaseOutage } from '../../api/outages.js';
import { openDatabase, type DatabaseConnection } from '../../db/database.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { TcpProxy } from '../support/tcp-proxy.js';

describe('a pool of one connection', () => {
  let test: TestDatabase;
  let network: TcpProxy;
  let connection: DatabaseConnection;

  beforeAll(async () => {
    test = await createTestDatabase();
    const url = new URL(test.url);
    network = await TcpProxy.open({ host: url.hostname, port: Number(url.port) });
    url.port = String(network.port);
    connection = openDatabase({ url: url.toString(), maxConnections: 1, statementTimeoutMs: 1_000 });
  });
  afterAll(async () => {
    await connection.close();
    await network.close();
    await test.drop();
  });

  const transaction = (statement: string) =>
    connection.database.transaction(async (tx) => tx.execute(sql.raw(statement)));
  const works = async () => expect((await transaction('select 1 as one')).rows).toEqual([{ one: 1 }]);

  it.each(['begin', 'select 42', 'commit', 'rollback'])(
    'works on after its connection was lost at %s',
    async (statement) => {
      network.cutAt(statement);
      const failure = await transaction(statement === 'rollback' ? 'select 1/0' : 'select 42').catch(
        (error: unknown) => error,
      );
      expect(isDatabaseOutage(failure), String(failure)).toBe(true);
      await works();
    },
  );

  it('survives the loss of its connection between two statements of a transaction', async () => {
    const failure = await connection.database
      .transaction(async (tx) => {
        const { rows } = await tx.execute<{ pid: number }>(sql`select pg_backend_pid() as pid`);
        const other = openDatabase({ url: test.url });
        await other.pool.query('select pg_terminate_backend($1)', [rows[0]!.pid]);
        await other.close();
        await tx.execute(sql`select 1`);
      })
      .catch((error: unknown) => error);
    expect(isDatabaseOutage(failure), String(failure)).toBe(true);
    await works();
  });

  it('gives up a statement that gets no answer, and works on when the server is back', async () => {
    await works();
    network.fallSilent();
    for (const attempt of [() => connection.pool.query('select 1'), () => transaction('select 1')]) {
      const failure = await attempt().catch((error: unknown) => error);
      expect(isDatabaseOutage(failure), String(failure)).toBe(true);
    }
    network.speak();
    await works();
  });
});

describe('a transaction whose process has stopped in the middle', () => {
  it('loses its session, so that others get what it has locked, and its pool works on', async () => {
    const test = await createTestDatabase();
    const frozen = openDatabase({ url: test.url, maxConnections: 1, idleTransactionTimeoutMs: 300 });
    const other = openDatabase({ url: test.url, maxConnections: 1 });
    const lock = sql`select pg_advisory_xact_lock(7)`;
    let thaw = (): void => undefined;
    const held = frozen.database.transaction(async (tx) => {
      await tx.execute(lock);
      await new Promise<void>((resolve) => (thaw = resolve));
      await tx.execute(sql`select 1`);
    });
    held.catch(() => undefined); // it is looked at below
    await vi.waitFor(
      async () => {
        const { rows } = await other.pool.query(
          "select 1 from pg_locks where locktype = 'advisory' and granted",
        );
        expect(rows).toHaveLength(1);
      },
      { timeout: 60_000 },
    );
    await other.database.transaction(async (tx) => tx.execute(lock)); // waits until it is free
    thaw();
    const failure = await held.catch((error: unknown) => error);
    expect(isDatabaseOutage(failure), String(failure)).toBe(true);
    expect((await frozen.database.execute(sql`select 1 as one`)).rows).toEqual([{ one: 1 }]);
    await frozen.close();
    await other.close();
    await test.drop();
  });
});
