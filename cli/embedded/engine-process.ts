import { spawn } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { UserError, hasCode, messageOf } from '../user-error.js';
import { ProcessIdentity, endProcess, identifyProcess, isAlive, signalProcess } from './process-identity.js';
import { LockHeldError, type ProcessLock, acquireProcessLock } from './process-lock.js';

export interface EngineCommand {
  /** Short name for messages: `PostgreSQL`, `Temporal`. */
  name: string;
  command: string;
  args: readonly string[];
  env?: NodeJS.ProcessEnv;
  /** stdout and stderr are appended here. */
  logFile: string;
  /** Names the running process, so that the next start finds what a killed parent left behind. */
  recordFile: string;
  /** Asked in this order, `stopTimeoutMs` each, before SIGKILL. */
  stopSignals: readonly NodeJS.Signals[];
  stopTimeoutMs: number;
}

/** How an engine's process ended. */
export interface EngineExit {
  code: number | null;
  signal: NodeJS.Signals | null;
}

/** A server process that belongs to this one. */
export interface EngineProcess {
  pid: number;
  /** Settles when the process has ended, for whatever reason. */
  exited: Promise<EngineExit>;
  /** The end, if it has come. */
  exit: () => EngineExit | undefined;
  /** What the process has written to its log since it was started, at most the last 16 KiB. */
  output: () => string;
  stop: () => Promise<void>;
}

/** Engines that run: a parent that ends by itself, however, asks them to end as well. */
const running = new Map<ProcessIdentity, NodeJS.Signals>();
process.on('exit', () => {
  for (const [identity, signal] of running) signalProcess(identity, signal);
});

const LOG_LIMIT_BYTES = 10 * 1024 * 1024;

/**
 * Starts a server in a session of its own: Ctrl-C in the terminal reaches only the parent, which
 * stops its engines in order. Throws when the program cannot be executed.
 */
export async function startEngineProcess(engine: EngineCommand): Promise<EngineProcess> {
  mkdirSync(dirname(engine.logFile), { recursive: true });
  mkdirSync(dirname(engine.recordFile), { recursive: true });
  rotate(engine.logFile);
  const log = openSync(engine.logFile, 'a', 0o600);
  const logStart = statSync(engine.logFile).size;

  const child = spawn(engine.command, engine.args, {
    detached: true,
    stdio: ['ignore', log, log],
    env: engine.env ?? process.env,
  });
  closeSync(log);
  // At once, before anything can interrupt us: without its record nobody would find the process again.
  const identity = child.pid === undefined ? undefined : identifyProcess(child.pid);
  if (identity) {
    writeFileSync(engine.recordFile, JSON.stringify(identity), { mode: 0o644 });
    running.set(identity, engine.stopSignals[0] ?? 'SIGTERM');
  }

  let ended: EngineExit | undefined;
  const exited = new Promise<EngineExit>((resolve) => {
    child.once('exit', (code, signal) => {
      ended = { code, signal };
      rmSync(engine.recordFile, { force: true });
      if (identity) running.delete(identity);
      resolve(ended);
    });
  });
  await new Promise<void>((resolve, reject) => {
    child.once('spawn', resolve);
    child.once('error', (err) =>
      reject(new Error(`${engine.command} cannot be executed: ${messageOf(err)}`)),
    );
  });

  return {
    pid: child.pid ?? 0,
    exited,
    exit: () => ended,
    output: () => tail(engine.logFile, logStart),
    stop: async () => {
      if (identity && !ended) await endProcess(identity, engine.stopSignals, engine.stopTimeoutMs);
      await exited;
    },
  };
}

/** Stops the process named in a record that a killed parent left behind; true when there was one. */
export async function stopRecordedProcess(
  recordFile: string,
  stopSignals: readonly NodeJS.Signals[],
  timeoutMs: number,
): Promise<boolean> {
  const recorded = readRecord(recordFile);
  const alive = recorded !== undefined && isAlive(recorded);
  if (alive) await endProcess(recorded, stopSignals, timeoutMs);
  rmSync(recordFile, { force: true });
  return alive;
}

/** One server per directory: while another process holds it, this throws `UserError`. */
export function lockEngine(name: string, dir: string): ProcessLock {
  try {
    return acquireProcessLock(join(dir, 'lock'));
  } catch (err) {
    if (!(err instanceof LockHeldError)) throw err;
    throw new UserError(
      `The ${name} server of ${dir} belongs to process ${err.holder.pid}: stop that first, or use another data directory.`,
    );
  }
}

function readRecord(path: string): ProcessIdentity | undefined {
  try {
    return ProcessIdentity.safeParse(JSON.parse(readFileSync(path, 'utf8'))).data;
  } catch (err) {
    if (hasCode(err, 'ENOENT') || err instanceof SyntaxError) return undefined;
    throw err;
  }
}

/** One older log is kept, so that a log never grows without bound over many starts. */
function rotate(path: string): void {
  if (existsSync(path) && statSync(path).size > LOG_LIMIT_BYTES) renameSync(path, `${path}.1`);
}

function tail(path: string, from: number): string {
  const content = readFileSync(path);
  return content.subarray(Math.max(from, content.length - 16 * 1024)).toString('utf8');
}
