/** `callboard import`: takes over what an installation of the Python server has. */
import { createLogger, secretsOf } from '../../api/log.js';
import type { Config } from '../../config/config.js';
import { ImportRepository } from '../../db/import-repository.js';
import type { CommandInput } from '../command.js';
import { openCore, type Core } from '../core.js';
import { databaseAtHand } from '../database-at-hand.js';
import { createProgress, type Progress } from '../progress.js';
import { messageOf, UserError } from '../user-error.js';
import { importDatabase, type ImportRun } from './import.js';
import { importSettings } from './import-settings.js';
import { Ledger } from './ledger.js';
import { SourceUnreadable, Undecodable } from './source-database.js';
import { findEventDirectories, type FoundEvents } from './source-events.js';
import { readSourceKeys, type SourceKeys } from './source-keys.js';
import { findSource, type Source } from './source.js';

export interface ImportCommand {
  config: Config;
  from: string | undefined;
  files: string | undefined;
  user: string | null;
  overwrite: boolean;
  dryRun: boolean;
  /** `JWT_SECRET` of the Python server, where it had one. */
  sourceSecret: string | null;
  progress: Progress;
  print: (line: string) => void;
  signal: AbortSignal;
}

/** `callboard import --from DIR|URL [--files DIR] [--user ID] [--overwrite] [--dry-run]`. */
export async function importCommand({ values, config, env }: CommandInput): Promise<number> {
  const stop = new AbortController();
  process.once('SIGINT', () => stop.abort(new UserError('Interrupted: run it again to take the rest.')));
  const text = (name: string): string | undefined => {
    const value = values[name];
    return typeof value === 'string' ? value : undefined;
  };
  return runImport({
    config: await config(),
    from: text('from'),
    files: text('files'),
    user: text('user') ?? null,
    overwrite: values['overwrite'] === true,
    dryRun: values['dry-run'] === true,
    sourceSecret: env['IMPORT_JWT_SECRET'] ?? null,
    progress: createProgress(process.stderr),
    print: (line) => void process.stdout.write(`${line}\n`),
    signal: stop.signal,
  });
}

/**
 * @returns the exit status: 1 when something could not be read
 * @throws {UserError} when nothing can be taken at all
 */
export async function runImport(command: ImportCommand): Promise<number> {
  const { config, progress, print, dryRun } = command;
  const source = await findSource(command.from, command.files, config.data.directory);
  const ledger = new Ledger();
  const keys = await sourceKeys(command, source, ledger);
  const { url, stop } = await databaseAtHand(config, progress);
  try {
    const masker = secretsOf(config);
    const logger = createLogger(config.log, { masker, destination: process.stderr });
    const core = await openCore(config, url, { logger, masker });
    try {
      await checkSchema(core);
      await progress.step(dryRun ? 'looking' : 'taking over', (note) => {
        const { user, overwrite, signal } = command;
        const rows = new ImportRepository(core.connection.database);
        return takeAll({ core, rows, ledger, dryRun, user, note, signal }, source, { keys, overwrite });
      });
    } finally {
      await core.connection.close();
    }
  } finally {
    await stop();
  }
  print(dryRun ? 'This would be taken over; nothing was changed.' : 'Taken over:');
  print('');
  for (const line of ledger.lines()) print(line);
  if (ledger.count('conversations', 'taken') > 0) {
    print('');
    print(
      '  Their sandboxes stay with the old server: events can be read, and messages need a new conversation.',
    );
  }
  return ledger.total('failed') > 0 ? 1 : 0;
}

async function takeAll(
  run: ImportRun,
  { directory, openDatabase }: Source,
  settings: { keys: SourceKeys; overwrite: boolean },
): Promise<void> {
  if (directory === null) {
    run.ledger.remark(
      'events',
      'left',
      'no directory was named: --files takes events, settings and secrets along',
    );
  } else await importSettings({ ...run, ...settings }, directory);
  if (openDatabase === null) {
    const why =
      'there is no openhands.db: if they are in PostgreSQL, give --from its address and --files the directory';
    return run.ledger.remark('conversations', 'left', why);
  }
  try {
    const database = await openDatabase();
    try {
      const { directories, unreadable } =
        directory === null ? NO_EVENTS : await findEventDirectories(directory);
      for (const path of unreadable)
        run.ledger.because('events', 'failed', 'they may not be read by this user', path);
      await importDatabase(run, database, directories);
    } finally {
      await database.close();
    }
  } catch (err) {
    if (!(err instanceof SourceUnreadable)) throw err;
    run.ledger.because('conversations', 'failed', err.message);
  }
}

const NO_EVENTS: FoundEvents = { directories: new Map(), unreadable: [] };

async function sourceKeys(
  { sourceSecret }: ImportCommand,
  { directory }: Source,
  ledger: Ledger,
): Promise<SourceKeys> {
  try {
    return await readSourceKeys(directory, sourceSecret);
  } catch (err) {
    if (!(err instanceof Undecodable)) throw err;
    ledger.because('secrets', 'failed', err.message, '.keys');
    return new Map();
  }
}

async function checkSchema({ connection }: Core): Promise<void> {
  await connection.pool.query('select 1 from conversations limit 1').catch((err: unknown) => {
    throw new UserError(
      `The database cannot be used (${messageOf(err)}): start it, and run ./callboard migrate.`,
    );
  });
}
