import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { hasCode } from '../user-error.js';
import { connectionUrl, parseConnection } from './postgres-connection.js';

/** Address of the embedded database of a data directory, password included; null when there never was one. */
export function embeddedDatabaseUrl(dataDir: string): string | null {
  try {
    return connectionUrl(parseConnection(readFileSync(join(dataDir, 'postgres', 'connection.json'), 'utf8')));
  } catch (err) {
    if (hasCode(err, 'ENOENT')) return null;
    throw err;
  }
}
