import type { Config } from '../config/config.js';
import { openDatabase } from '../db/database.js';
import { startEmbeddedPostgres } from './embedded/postgres.js';
import { enginesAtHand } from './engines-at-hand.js';
import type { Progress } from './progress.js';
import { UserError } from './user-error.js';

/**
 * The database as configured or of a running `up`; the embedded one is started for as long as it is needed.
 * @throws {UserError} when there is none
 */
export async function databaseAtHand(
  config: Config,
  progress: Progress,
): Promise<{ url: string; stop: () => Promise<void> }> {
  const { databaseUrl, isDatabaseEmbedded } = enginesAtHand(config);
  if (databaseUrl !== null && (!isDatabaseEmbedded || (await answers(databaseUrl)))) {
    return { url: databaseUrl, stop: () => Promise.resolve() };
  }
  if (databaseUrl === null) {
    throw new UserError(
      `There is no database below ${config.data.directory}: set OH_PERSISTENCE_DIR or DATABASE_URL to those of the instance, or run ./callboard up once.`,
    );
  }
  const postgres = await progress.step('PostgreSQL', () =>
    startEmbeddedPostgres({ dataDir: config.data.directory, log: (line) => progress.line(`  ! ${line}`) }),
  );
  return { url: postgres.url, stop: () => postgres.stop() };
}

async function answers(url: string): Promise<boolean> {
  const connection = openDatabase({ url, maxConnections: 1 });
  try {
    await connection.pool.query('select 1');
    return true;
  } catch {
    return false; // whoever asks starts it
  } finally {
    await connection.close();
  }
}
