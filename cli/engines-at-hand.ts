/** Where PostgreSQL and Temporal are for a command that starts neither: as configured, or those of a running `up`. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Config } from '../config/config.js';
import { connectionUrl, parseConnection } from './embedded/postgres-connection.js';
import { findRunningInstance } from './instance.js';
import { hasCode } from './user-error.js';

export interface EnginesAtHand {
  /** With password; null where nothing was ever started. */
  databaseUrl: string | null;
  temporalAddress: string | null;
  /** Whether the database is the embedded one, which runs only while `up` does. */
  isDatabaseEmbedded: boolean;
  isTemporalEmbedded: boolean;
}

/** Looks only; whether they answer is another matter. */
export function enginesAtHand(config: Config): EnginesAtHand {
  const given = config.database.url?.reveal() ?? null;
  return {
    databaseUrl: given ?? embeddedDatabase(config.data.directory),
    temporalAddress:
      config.temporal.address ?? findRunningInstance(config.data.directory)?.temporalAddress ?? null,
    isDatabaseEmbedded: given === null,
    isTemporalEmbedded: config.temporal.address === null,
  };
}

function embeddedDatabase(dataDirectory: string): string | null {
  try {
    return connectionUrl(
      parseConnection(readFileSync(join(dataDirectory, 'postgres', 'connection.json'), 'utf8')),
    );
  } catch (err) {
    if (hasCode(err, 'ENOENT')) return null;
    throw err;
  }
}
