/** Whether an error says that PostgreSQL is away, as opposed to having refused something. */
import { DrizzleQueryError } from 'drizzle-orm/errors';

/**
 * System errors, and PostgreSQL's own: too slow, shutting down, starting up, out of connections, connection failures,
 * a transaction that stood still.
 */
const CODES =
  /^(ECONNREFUSED|ECONNRESET|ENOTFOUND|EHOSTUNREACH|ENETUNREACH|ETIMEDOUT|EPIPE|EAI_AGAIN|57014|57P0[1234]|25P03|53300|08...)$/;
/** What the driver says without a code. */
const MESSAGES =
  /^(timeout exceeded when trying to connect|timeout expired|Connection terminated|Query read timeout|Client has encountered a connection error)/;

/**
 * PostgreSQL cannot be reached. Looks through what wraps the driver's error and through nothing else: a refused
 * connection may as well be the cause of another error, about another server.
 */
export function isDatabaseOutage(error: unknown): boolean {
  let driver = error;
  while (driver instanceof DrizzleQueryError) driver = driver.cause;
  if (!(driver instanceof Error)) return false;
  return ('code' in driver && CODES.test(String(driver.code))) || MESSAGES.test(driver.message);
}
