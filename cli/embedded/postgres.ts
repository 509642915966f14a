import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  realpathSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { UserError, messageOf } from '../user-error.js';
import { type EngineExit, type EngineProcess, lockEngine, startEngineProcess } from './engine-process.js';
import { pickPort } from './ports.js';
import {
  type Connection,
  connectionUrl,
  ensureDatabase,
  isStarting,
  parseConnection,
} from './postgres-connection.js';
import { type PostgresAccount, choosePostgresAccount, runAs } from './postgres-account.js';
import { type PostgresBinaries, findPostgresBinaries } from './postgres-binaries.js';
import type { ProcessLock } from './process-lock.js';
import { commandLineOf, endProcess, identifyProcess } from './process-identity.js';

export interface EmbeddedPostgresOptions {
  /** Callboard's data directory; everything of PostgreSQL is under `postgres/`, its log in `logs/`. */
  dataDir: string;
  /** Takes lines that are worth a person's attention. */
  log: (line: string) => void;
  /** Server settings that win over the defaults below, for instance `{ fsync: 'off' }` in tests. */
  settings?: Readonly<Record<string, string>>;
}

/** A PostgreSQL server that belongs to this process. */
export interface EmbeddedPostgres {
  /** `postgres://…` with password, for database `callboard` and a role that is no superuser but may create databases. */
  url: string;
  pid: number;
  logFile: string;
  /** Settles when the server has ended, wanted or not. */
  exited: Promise<EngineExit>;
  /** Fast shutdown: open transactions are rolled back, everything committed is on disk. */
  stop: () => Promise<void>;
}

const SETTINGS: Readonly<Record<string, string>> = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  max_connections: '100',
  shared_buffers: '64MB',
  max_wal_size: '256MB',
  wal_level: 'minimal',
  max_wal_senders: '0',
  fsync: 'on',
  jit: 'off',
  log_line_prefix: '%m [%p] ',
};
const STOP_SIGNALS = ['SIGINT', 'SIGQUIT'] as const; // fast, then immediate shutdown
const STOP_TIMEOUT_MS = 15_000;
const START_TIMEOUT_MS = 60_000; // recovery after a crash included

interface Paths {
  dir: string;
  cluster: string;
  unfinished: string;
  connection: string;
  record: string;
  log: string;
}

/**
 * Starts PostgreSQL on 127.0.0.1, making its cluster first when there is none. A server that a
 * killed process left behind on the same directory is stopped first. The port is remembered.
 * Throws `UserError` when the cluster cannot be used.
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  mkdirSync(options.dataDir, { recursive: true });
  const dataDir = realpathSync(options.dataDir);
  const dir = join(dataDir, 'postgres');
  const paths: Paths = {
    dir,
    cluster: join(dir, 'cluster'),
    unfinished: join(dir, 'cluster.unfinished'),
    connection: join(dir, 'connection.json'),
    record: join(dir, 'server.json'),
    log: join(dataDir, 'logs', 'postgres.log'),
  };
  mkdirSync(dir, { recursive: true });
  chmodSync(dir, 0o711); // the account of the server passes through; what is inside is closed to others
  const lock = lockEngine('PostgreSQL', dir);
  try {
    return await startLocked(options, paths, lock);
  } catch (err) {
    lock.release();
    throw err;
  }
}

async function startLocked(
  options: EmbeddedPostgresOptions,
  paths: Paths,
  lock: ProcessLock,
): Promise<EmbeddedPostgres> {
  const binaries = findPostgresBinaries();
  const account = choosePostgresAccount(paths.cluster);

  const known = readConnection(paths);
  const connection: Connection = {
    port: await stopLeftover(paths, options.log).then(() => pickPort([known?.port])),
    superuserPassword: known?.superuserPassword ?? randomBytes(24).toString('base64url'),
    password: known?.password ?? randomBytes(24).toString('base64url'),
  };
  writeConnection(paths, connection);
  if (!existsSync(paths.cluster)) await makeCluster(paths, binaries, account, connection);

  for (let attempt = 1; ; attempt++) {
    const server = await launch(paths, binaries, account, connection, options.settings);
    const failure = await awaitReady(server, connection);
    if (failure === undefined) {
      void server.exited.then(() => lock.release());
      return {
        url: connectionUrl(connection),
        pid: server.pid,
        logFile: paths.log,
        exited: server.exited,
        stop: server.stop,
      };
    }
    await server.stop();
    if (attempt >= 5) throw unusable(paths, failure);
    if (/Address already in use/.test(failure)) {
      connection.port = await pickPort();
      writeConnection(paths, connection);
    } else if (/shared memory block|lock file/.test(failure)) {
      await sleep(200); // processes of a killed server are still on their way out
    } else {
      throw unusable(paths, failure);
    }
  }
}

async function launch(
  paths: Paths,
  binaries: PostgresBinaries,
  account: PostgresAccount | undefined,
  connection: Connection,
  settings: Readonly<Record<string, string>> = {},
): Promise<EngineProcess> {
  const flags = Object.entries({ ...SETTINGS, ...settings, port: String(connection.port) }).flatMap(
    ([key, value]) => ['-c', `${key}=${value}`],
  );
  return startEngineProcess({
    name: 'PostgreSQL',
    ...runAs(account, [paths.cluster, binaries.postgres], binaries.postgres, ['-D', paths.cluster, ...flags]),
    env: serverEnvironment(),
    logFile: paths.log,
    recordFile: paths.record,
    stopSignals: STOP_SIGNALS,
    stopTimeoutMs: STOP_TIMEOUT_MS,
  });
}

/** Waits for the first answer; returns what the server said last when it ended instead. */
async function awaitReady(server: EngineProcess, connection: Connection): Promise<string | undefined> {
  const deadline = Date.now() + START_TIMEOUT_MS;
  for (let wait = 10; ; wait = Math.min(wait * 2, 100)) {
    const exit = server.exit();
    if (exit)
      return (
        lastComplaint(server.output()) ?? `it ended with ${exit.signal ?? `status ${exit.code ?? 'unknown'}`}`
      );
    try {
      await ensureDatabase(connection);
      return undefined;
    } catch (err) {
      if (!isStarting(err)) return messageOf(err);
      if (Date.now() > deadline) return `it does not answer after ${START_TIMEOUT_MS / 1000} s`;
    }
    await sleep(wait);
  }
}

/** initdb works in a directory of its own, so that one which was interrupted is never taken for a cluster. */
async function makeCluster(
  paths: Paths,
  binaries: PostgresBinaries,
  account: PostgresAccount | undefined,
  connection: Connection,
): Promise<void> {
  rmSync(paths.unfinished, { recursive: true, force: true });
  mkdirSync(paths.unfinished, { mode: 0o700 });
  const passwordFile = join(paths.dir, 'initial-password');
  writeFileSync(passwordFile, connection.superuserPassword, { mode: 0o600 });
  if (account) {
    chownSync(paths.unfinished, account.uid, account.gid);
    chownSync(passwordFile, account.uid, account.gid);
  }
  const initdb = runAs(account, [paths.unfinished, binaries.initdb], binaries.initdb, [
    `--pgdata=${paths.unfinished}`,
    `--pwfile=${passwordFile}`,
    '--username=postgres',
    '--auth=scram-sha-256',
    '--encoding=UTF8',
    '--locale=C', // the builtin provider sorts alike on every machine
    '--locale-provider=builtin',
    '--builtin-locale=C.UTF-8',
  ]);
  try {
    await promisify(execFile)(initdb.command, initdb.args, {
      env: serverEnvironment(),
      timeout: START_TIMEOUT_MS,
    });
  } catch (err) {
    rmSync(paths.unfinished, { recursive: true, force: true });
    const said = err instanceof Error && 'stderr' in err ? String(err.stderr).trim().split('\n')[0] : '';
    throw new UserError(
      `PostgreSQL cannot make its files in ${paths.dir} (${said || messageOf(err)}): run callboard as an ordinary user who may write there, or give it a database in DATABASE_URL.`,
    );
  } finally {
    rmSync(passwordFile, { force: true });
  }
  renameSync(paths.unfinished, paths.cluster);
}

/**
 * `postmaster.pid` is PostgreSQL's own record. A server that still runs is stopped. When the pid
 * belongs to something else by now, PostgreSQL would refuse to start: the file is removed.
 */
async function stopLeftover(paths: Paths, log: (line: string) => void): Promise<void> {
  const pidFile = join(paths.cluster, 'postmaster.pid');
  const pid = existsSync(pidFile) ? Number.parseInt(readFileSync(pidFile, 'utf8'), 10) : Number.NaN;
  const found = pid > 0 ? identifyProcess(pid) : undefined;
  if (!found) return;
  if (commandLineOf(pid).includes(paths.cluster)) {
    log(`stopping the PostgreSQL an earlier run left behind (process ${pid})`);
    await endProcess(found, STOP_SIGNALS, STOP_TIMEOUT_MS);
  } else if (!commandLineOf(pid).includes('postgres')) {
    rmSync(pidFile, { force: true });
  }
}

function readConnection(paths: Paths): Connection | undefined {
  if (!existsSync(paths.connection)) {
    if (!existsSync(paths.cluster)) return undefined;
    throw unusable(paths, `${paths.connection}, which holds its password, is missing`);
  }
  try {
    return parseConnection(readFileSync(paths.connection, 'utf8'));
  } catch (err) {
    if (!existsSync(paths.cluster)) return undefined;
    throw unusable(paths, `${paths.connection} cannot be read: ${messageOf(err).split('\n')[0] ?? ''}`);
  }
}

function writeConnection(paths: Paths, connection: Connection): void {
  const temporary = `${paths.connection}.new`;
  writeFileSync(temporary, JSON.stringify(connection), { mode: 0o600 });
  renameSync(temporary, paths.connection);
}

function unusable(paths: Paths, reason: string): UserError {
  const contents = existsSync(paths.cluster) ? readdirSync(paths.cluster).length : 0;
  return new UserError(
    contents === 0
      ? `PostgreSQL cannot use the empty directory ${paths.cluster} (${reason}): remove it and start again.`
      : `PostgreSQL cannot start from ${paths.cluster} (${reason}; its log is ${paths.log}): restore ${paths.dir} from a backup, or move it away to begin with an empty database.`,
  );
}

function lastComplaint(output: string): string | undefined {
  const lines = output.split('\n').filter((line) => /FATAL|PANIC|ERROR|could not|cannot/.test(line));
  return lines
    .at(-1)
    ?.replace(/^.*?(FATAL|PANIC|ERROR):\s*/, '')
    .trim();
}

/** The caller's environment without what would change the server (`PGDATA`, locale). */
function serverEnvironment(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => !/^(PG|LC_|LANG$|LD_)/.test(name));
  return { ...Object.fromEntries(kept), LC_ALL: 'C' };
}
