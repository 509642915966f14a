import { drizzle, type NodePgDatabase } from 'drizzle-orm/node-postgres';
import pg from 'pg';
import { clientNaming, StatementNames } from './named-statements.js';
import * as schema from './schema/index.js';

export type Database = NodePgDatabase<typeof schema>;

export interface DatabaseConnection {
  database: Database;
  pool: pg.Pool;
  close(): Promise<void>;
}

export interface DatabaseOptions {
  url: string;
  /** Most connections in use at once. */
  maxConnections?: number;
  /** Told of errors of idle connections (a restarted server); queries report their own. */
  onIdleError?: (error: Error) => void;
  /** How long one statement may take, in milliseconds, whether the server works or does not answer at all. */
  statementTimeoutMs?: number;
  /** How long the server lets a transaction wait for its next statement, in milliseconds. */
  idleTransactionTimeoutMs?: number;
}

const STATEMENT_TIMEOUT_MS = 10_000;
const IDLE_TRANSACTION_TIMEOUT_MS = 20_000;

/**
 * Opens a pool; nothing is connected until the first query. Waiting for a connection ends after 5 s. A frozen server, or
 * one whose packets are lost, keeps the connection open and says nothing: every statement has a time limit here too. A
 * process that is frozen in the middle of a transaction holds what it has locked until the server ends that session.
 */
export function openDatabase(options: DatabaseOptions): DatabaseConnection {
  const { url, maxConnections = 10, onIdleError, statementTimeoutMs = STATEMENT_TIMEOUT_MS } = options;
  const idleTransactionTimeoutMs = options.idleTransactionTimeoutMs ?? IDLE_TRANSACTION_TIMEOUT_MS;
  const pool = new pg.Pool({
    Client: clientNaming(new StatementNames()),
    connectionString: url,
    max: maxConnections,
    connectionTimeoutMillis: 5_000,
    idleTimeoutMillis: 30_000,
    statement_timeout: statementTimeoutMs,
    query_timeout: statementTimeoutMs,
    idle_in_transaction_session_timeout: idleTransactionTimeoutMs,
    keepAlive: true,
  });
  pool.on('error', (error) => onIdleError?.(error));
  const database = drizzle(pool, { schema });
  // The library's own never gives a connection back that was lost before `begin`, and keeps one that still waits for
  // an answer: after as many outages as there are connections, none would be left.
  const onClient = new WeakMap<pg.PoolClient, Database>();
  database.transaction = (work, config) =>
    withClient(pool, (client) => {
      const own: Database = onClient.get(client) ?? drizzle(client, { schema });
      onClient.set(client, own);
      return own.transaction(work, config);
    });
  return { database, pool, close: () => pool.end() };
}

/** Works on a connection of its own, which is not used again unless the server itself has answered to the end. */
async function withClient<Result>(
  pool: pg.Pool,
  work: (client: pg.PoolClient) => Promise<Result>,
): Promise<Result> {
  const client = await pool.connect();
  let lost: Error | null = null;
  const onError = (error: Error): void => {
    lost = error;
  };
  client.on('error', onError); // without a listener, a connection lost between two statements would end the process
  try {
    return await work(client);
  } catch (error) {
    if (!isAnswered(error)) lost = error instanceof Error ? error : new Error(String(error));
    throw error;
  } finally {
    client.off('error', onError);
    client.release(lost ?? undefined);
  }
}

/** Whether the server has refused a statement, as opposed to not having answered. */
function isAnswered(error: unknown): boolean {
  for (let current = error; current instanceof Error; current = current.cause) {
    if (current instanceof pg.DatabaseError) return !/^(57P|25P03|08)/.test(current.code ?? '');
  }
  return false;
}
