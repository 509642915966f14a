import pg from 'pg';
import { z } from 'zod';
import { hasCode, messageOf } from '../user-error.js';

const Connection = z.object({
  port: z.number().int(),
  superuserPassword: z.string(),
  password: z.string(),
});
/** What is known only here: kept in `connection.json`, mode 0600. */
export type Connection = z.infer<typeof Connection>;

const NAME = 'callboard'; // of the database and of its owner

/** Throws when the text is not what was written. */
export function parseConnection(text: string): Connection {
  return Connection.parse(JSON.parse(text));
}

/** The address of the ordinary role's database, password included. */
export function connectionUrl({ password, port }: Connection): string {
  return `postgres://${NAME}:${password}@127.0.0.1:${port}/${NAME}`;
}

/** Connects as the ordinary role; makes that role and its database the first time. */
export async function ensureDatabase(connection: Connection): Promise<void> {
  const client = (user: string, password: string, database: string): pg.Client =>
    new pg.Client({
      host: '127.0.0.1',
      port: connection.port,
      user,
      password,
      database,
      connectionTimeoutMillis: 5_000,
    });
  try {
    await using(client(NAME, connection.password, NAME), async () => undefined);
  } catch (err) {
    // No such role is reported as a wrong password; no such database by its own code.
    if (!hasCode(err, '28P01') && !hasCode(err, '3D000')) throw err;
    await using(client('postgres', connection.superuserPassword, 'postgres'), async (admin) => {
      await admin.query('SET log_min_error_statement = panic'); // what follows holds a password
      const role = await admin.query('SELECT 1 FROM pg_roles WHERE rolname = $1', [NAME]);
      const verb = role.rowCount ? 'ALTER' : 'CREATE';
      await admin.query(
        `${verb} ROLE ${NAME} LOGIN CREATEDB PASSWORD ${admin.escapeLiteral(connection.password)}`,
      );
      const database = await admin.query('SELECT 1 FROM pg_database WHERE datname = $1', [NAME]);
      if (!database.rowCount) await admin.query(`CREATE DATABASE ${NAME} OWNER ${NAME}`);
    });
  }
}

async function using(client: pg.Client, work: (client: pg.Client) => Promise<unknown>): Promise<void> {
  client.on('error', () => undefined); // a connection lost while idle fails the next query as well
  await client.connect();
  try {
    await work(client);
  } finally {
    await client.end();
  }
}

/** Whether the error says no more than that the server is not ready yet. */
export function isStarting(err: unknown): boolean {
  return (
    ['ECONNREFUSED', 'ECONNRESET', '57P03'].some((code) => hasCode(err, code)) ||
    /terminated|timeout/i.test(messageOf(err))
  );
}
