import { closeSync, mkdirSync, openSync, readFileSync, readSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Connection } from '@temporalio/client';
import { z } from 'zod';
import { UserError, hasCode, messageOf } from '../user-error.js';
import {
  type EngineExit,
  type EngineProcess,
  lockEngine,
  startEngineProcess,
  stopRecordedProcess,
} from './engine-process.js';
import { pickPort } from './ports.js';
import type { ProcessLock } from './process-lock.js';

export interface EmbeddedTemporalOptions {
  /** Path of the Temporal CLI. */
  cli: string;
  /** Callboard's data directory; the SQLite file is `temporal/temporal.db`, the log in `logs/`. */
  dataDir: string;
  /** Takes lines that are worth a person's attention. */
  log: (line: string) => void;
  /** Further flags of `temporal server start-dev`. */
  extraArgs?: readonly string[];
  /** Ports to try before any other, 0 for any free one; by default those of the last time, else Temporal's own, 7233 and 8233. */
  ports?: { frontend?: number; ui?: number };
}

/** A Temporal dev server that belongs to this process. */
export interface EmbeddedTemporal {
  /** `host:port` of the gRPC front end. */
  address: string;
  uiUrl: string;
  pid: number;
  logFile: string;
  /** Settles when the server has ended, wanted or not. */
  exited: Promise<EngineExit>;
  stop: () => Promise<void>;
}

/** Search attributes every Callboard namespace has, by name. */
export const SEARCH_ATTRIBUTES = {
  CallboardUserId: 'Keyword',
  CallboardSandboxStatus: 'Keyword',
  CallboardStartStatus: 'Keyword',
} as const;

const Ports = z.object({ frontend: z.number().int(), ui: z.number().int() });
type Ports = z.infer<typeof Ports>;

const NAMESPACE = 'default';
const STOP_SIGNALS = ['SIGTERM', 'SIGINT'] as const;
const STOP_TIMEOUT_MS = 10_000;
const START_TIMEOUT_MS = 60_000;

interface Paths {
  dir: string;
  database: string;
  ports: string;
  record: string;
  log: string;
}

/**
 * Starts the Temporal dev server on its SQLite file and waits until its namespace answers. A server
 * a killed process left behind is stopped first; one of a live process is a `UserError`, and so is a
 * file that is no database. Ports are remembered.
 */
export async function startEmbeddedTemporal(options: EmbeddedTemporalOptions): Promise<EmbeddedTemporal> {
  const dir = join(options.dataDir, 'temporal');
  const paths: Paths = {
    dir,
    database: join(dir, 'temporal.db'),
    ports: join(dir, 'ports.json'),
    record: join(dir, 'server.json'),
    log: join(options.dataDir, 'logs', 'temporal.log'),
  };
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const lock = lockEngine('Temporal', dir);
  try {
    return await startLocked(options, paths, lock);
  } catch (err) {
    lock.release();
    throw err;
  }
}

async function startLocked(
  options: EmbeddedTemporalOptions,
  paths: Paths,
  lock: ProcessLock,
): Promise<EmbeddedTemporal> {
  if (await stopRecordedProcess(paths.record, STOP_SIGNALS, STOP_TIMEOUT_MS)) {
    options.log('stopped the Temporal server an earlier run left behind');
  }
  refuseForeignFile(paths);

  const known = readPorts(paths);
  for (let attempt = 1; ; attempt++) {
    const again = attempt > 1; // a port was taken between our look and the server's: take any
    const frontend = await pickPort(again ? [] : wished(options.ports?.frontend, known?.frontend, 7233));
    const ui = await pickPort(
      (again ? [] : wished(options.ports?.ui, known?.ui, 8233)).filter((port) => port !== frontend),
    );
    const ports: Ports = { frontend, ui };
    const server = await launch(options, paths, ports);
    const failure = await awaitNamespace(server, ports);
    if (failure === undefined) {
      void server.exited.then(() => lock.release());
      writeFileSync(`${paths.ports}.new`, JSON.stringify(ports));
      renameSync(`${paths.ports}.new`, paths.ports);
      return {
        address: `127.0.0.1:${ports.frontend}`,
        uiUrl: `http://127.0.0.1:${ports.ui}`,
        pid: server.pid,
        logFile: paths.log,
        exited: server.exited,
        stop: server.stop,
      };
    }
    await server.stop();
    if (attempt >= 3 || !/address already in use/.test(failure)) throw unusable(paths, failure);
  }
}

/** A wish of the caller's wins over the port of the last time, and that over Temporal's own. */
function wished(given: number | undefined, known: number | undefined, usual: number): (number | undefined)[] {
  return given === undefined ? [known ?? usual] : [given, known];
}

function launch(options: EmbeddedTemporalOptions, paths: Paths, ports: Ports): Promise<EngineProcess> {
  const attributes = Object.entries(SEARCH_ATTRIBUTES).flatMap(([name, type]) => [
    '--search-attribute',
    `${name}=${type}`,
  ]);
  return startEngineProcess({
    name: 'Temporal',
    command: options.cli,
    args: [
      ...['server', 'start-dev', '--db-filename', paths.database],
      ...['--sqlite-pragma', 'journal_mode=WAL', '--sqlite-pragma', 'synchronous=NORMAL'],
      ...['--ip', '127.0.0.1', '--port', String(ports.frontend), '--ui-port', String(ports.ui)],
      // Nothing of ours tells anybody outside that it runs.
      ...['--dynamic-config-value', 'frontend.enableServerVersionCheck=false'],
      // A worker that takes a workflow task may take the activity it leads to with it: a round trip less for each.
      ...['--dynamic-config-value', 'system.enableActivityEagerExecution=true'],
      ...['--log-level', 'warn', ...attributes, ...(options.extraArgs ?? [])],
    ],
    logFile: paths.log,
    recordFile: paths.record,
    stopSignals: STOP_SIGNALS,
    stopTimeoutMs: STOP_TIMEOUT_MS,
  });
}

/** Waits until the namespace answers; returns what the server said last when it ended instead. */
async function awaitNamespace(server: EngineProcess, ports: Ports): Promise<string | undefined> {
  const deadline = Date.now() + START_TIMEOUT_MS;
  const connection = Connection.lazy({
    address: `127.0.0.1:${ports.frontend}`,
    channelArgs: { 'grpc.initial_reconnect_backoff_ms': 50, 'grpc.max_reconnect_backoff_ms': 200 },
  });
  try {
    for (;;) {
      const exit = server.exit();
      if (exit)
        return (
          lastComplaint(server.output()) ??
          `it ended with ${exit.signal ?? `status ${exit.code ?? 'unknown'}`}`
        );
      try {
        await connection.withDeadline(Date.now() + 1_000, () =>
          connection.workflowService.describeNamespace({ namespace: NAMESPACE }),
        );
        return undefined;
      } catch (err) {
        if (Date.now() > deadline)
          return `it does not answer after ${START_TIMEOUT_MS / 1000} s: ${messageOf(err)}`;
      }
      await sleep(50);
    }
  } finally {
    await connection.close();
  }
}

/** The dev server's own words for a file that is no database help nobody: look at the first bytes. */
function refuseForeignFile(paths: Paths): void {
  try {
    const file = openSync(paths.database, 'r');
    const header = Buffer.alloc(16);
    const length = readSync(file, header, 0, 16, 0);
    closeSync(file);
    if (length > 0 && header.toString('latin1') !== 'SQLite format 3\0') {
      throw unusable(paths, 'temporal.db is no SQLite database');
    }
  } catch (err) {
    if (!hasCode(err, 'ENOENT')) throw err;
  }
}

function readPorts(paths: Paths): Ports | undefined {
  try {
    return Ports.safeParse(JSON.parse(readFileSync(paths.ports, 'utf8'))).data;
  } catch (err) {
    if (hasCode(err, 'ENOENT') || err instanceof SyntaxError) return undefined;
    throw err;
  }
}

function unusable(paths: Paths, reason: string): UserError {
  return new UserError(
    `Temporal cannot start from ${paths.dir} (${reason}; its log is ${paths.log}): restore that directory from a backup, or move it away to begin without running workflows.`,
  );
}

function lastComplaint(output: string): string | undefined {
  return output
    .split('\n')
    .filter((line) => /error|fatal|panic|unable|in use|malformed|cannot/i.test(line))
    .at(-1)
    ?.trim()
    .slice(0, 300);
}
