/** Where a Python server keeps what it has, found from what was said on the command line. */
import { access, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { isMissing } from '../../events/event-disk.js';
import { UserError } from '../user-error.js';
import { openPostgresDatabase } from './postgres-database.js';
import type { SourceDatabase } from './source-database.js';
import { openSqliteDatabase } from './sqlite-database.js';

/** The file names by which a data directory of the Python server is recognized. */
const SIGNS = [
  'openhands.db',
  'settings.json',
  'secrets.json',
  'v1_conversations',
  join('v1', 'events'),
  '.keys',
];

export interface Source {
  /** Its data directory; null when only a database was named. */
  directory: string | null;
  /** Opens its database; null where the directory holds none. */
  openDatabase: (() => Promise<SourceDatabase>) | null;
}

/**
 * @param from a directory, or the address of a database
 * @param files the directory beside a database
 * @param ours our own data directory, which can be no source
 * @throws {UserError} when there is nothing to take over
 */
export async function findSource(
  from: string | undefined,
  files: string | undefined,
  ours: string,
): Promise<Source> {
  if (from === undefined || from === '') {
    throw new UserError(
      'Say what to take over: --from with the data directory of the Python server (~/.openhands unless it was told otherwise), or with the postgresql:// address of its database.',
    );
  }
  if (/^postgres(ql)?(\+\w+)?:\/\//.test(from)) {
    const directory = files === undefined ? null : await dataDirectory(files, ours, '--files');
    return { directory, openDatabase: () => openPostgresDatabase(from) };
  }
  if (/^[a-z+]+:\/\//.test(from)) {
    throw new UserError('--from takes a directory or a postgresql:// address, and this is neither.');
  }
  if (files !== undefined) {
    throw new UserError(
      '--files goes with a postgresql:// address in --from: a directory in --from holds both already.',
    );
  }
  const directory = await dataDirectory(from, ours, '--from');
  const path = join(directory, 'openhands.db');
  return { directory, openDatabase: (await exists(path)) ? () => openSqliteDatabase(path) : null };
}

async function dataDirectory(given: string, ours: string, option: string): Promise<string> {
  const path = resolve(/^~(\/|$)/.test(given) ? join(homedir(), given.slice(1)) : given);
  const found = await stat(path).catch((err: unknown) => {
    if (isMissing(err)) return null;
    throw err;
  });
  if (!found?.isDirectory())
    throw new UserError(`${path} is no directory: give ${option} the data directory of the Python server.`);
  if (path === resolve(ours)) {
    throw new UserError(
      `${path} is the data directory of this Callboard: give it one of its own (OH_PERSISTENCE_DIR), and ${option} that of the Python server.`,
    );
  }
  const signs = await Promise.all(SIGNS.map((sign) => exists(join(path, sign))));
  if (!signs.includes(true)) {
    throw new UserError(
      `${path} holds nothing of a Python server: give ${option} the directory that has its openhands.db or settings.json.`,
    );
  }
  return path;
}

async function exists(path: string): Promise<boolean> {
  try {
    await access(path);
    return true;
  } catch (err) {
    if (isMissing(err)) return false;
    throw err;
  }
}
