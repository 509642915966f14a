import type { Config } from '../config/config.js';
import { connectDatabase, DatabaseUnusable } from '../db/unusable.js';
import { startEmbeddedPostgres } from './embedded/postgres.js';
import { enginesAtHand } from './engines-at-hand.js';
import type { Progress } from './progress.js';
import { UserError } from './user-error.js';

/**
 * The database as configured or of a running `up`; the embedded one is started for as long as it is needed.
 * @throws {UserError} when there is none
 * @throws {DatabaseUnusable} when the configured one cannot be used
 */
export async function databaseAtHand(
  config: Config,
  progress: Progress,
): Promise<{ url: string; stop: () => Promise<void> }> {
  const { databaseUrl, isDatabaseEmbedded } = enginesAtHand(config);
  if (databaseUrl !== null && (await isThere(databaseUrl, isDatabaseEmbedded))) {
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

/** Whether it answers; that the embedded one does not is no error, since it can be started. */
async function isThere(url: string, isEmbedded: boolean): Promise<boolean> {
  try {
    const client = await connectDatabase(url);
    await client.end();
    return true;
  } catch (err) {
    if (isEmbedded && err instanceof DatabaseUnusable) return false;
    throw err;
  }
}
