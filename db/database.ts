import { drizzle, type NodePgDatabase } from 'drizzle-orm/node-postgres';
import pg from 'pg';
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
}

/** Opens a pool; nothing is connected until the first query. Waiting for a connection ends after 5 s. */
export function openDatabase({ url, maxConnections = 10, onIdleError }: DatabaseOptions): DatabaseConnection {
  const pool = new pg.Pool({
    connectionString: url,
    max: maxConnections,
    connectionTimeoutMillis: 5_000,
    idleTimeoutMillis: 30_000,
    statement_timeout: 30_000,
  });
  pool.on('error', (error) => onIdleError?.(error));
  return { database: drizzle(pool, { schema }), pool, close: () => pool.end() };
}
