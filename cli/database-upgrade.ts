/** The schema, brought up to date as soon as the database answers. */
import { migrateDatabase } from '../db/migrate.js';
import { isDatabaseOutage } from '../db/outages.js';
import { DatabaseUnusable } from '../db/unusable.js';
import { pause } from './pause.js';

/** Pauses between two attempts, in milliseconds. */
const WAIT = { first: 100, longest: 5_000 };

export interface DatabaseUpgrade {
  url: string;
  /** Goes on with the schema of a later version. */
  allowNewer: boolean;
  /** Told why it is not there yet, for each attempt. */
  onAway: (reason: DatabaseUnusable) => void;
  /** How long it may be away, in milliseconds; for as long as it takes, if left out. */
  patienceMs?: number;
  /** Gives up. */
  signal?: AbortSignal;
}

/**
 * A database is often started together with what uses it, and takes longer: it is waited for. What waiting does not mend (a wrong
 * password, no such database) is an error at once.
 * @throws {DatabaseUnusable}
 * @throws the signal's reason when aborted
 */
export async function upgradeDatabase({
  url,
  allowNewer,
  onAway,
  patienceMs = Infinity,
  signal,
}: DatabaseUpgrade): Promise<void> {
  const deadline = performance.now() + patienceMs;
  for (let wait = WAIT.first; ; wait = Math.min(wait * 2, WAIT.longest)) {
    signal?.throwIfAborted();
    try {
      return await migrateDatabase(url, { allowNewer });
    } catch (err) {
      // It may go in the middle of it, too: nothing is left by halves then.
      const problem = isDatabaseOutage(err) ? new DatabaseUnusable(url, err) : err;
      if (!(problem instanceof DatabaseUnusable && problem.isAway) || performance.now() > deadline)
        throw problem;
      onAway(problem);
    }
    await pause(wait, signal);
  }
}
