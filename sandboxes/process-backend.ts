/** Sandboxes as processes of this host: one agent-server each, detached, in a directory of its own. */
import { readdir } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { startupArguments, WARM_UP } from './agent-server-startup.js';
import { SandboxRefusal } from './backend.js';
import type { SandboxBackend, SandboxCondition, SandboxHandle, SandboxLaunch } from './backend.js';
import { ForkServer } from './fork-server.js';
import type { LaunchedProcess } from './launched-process.js';
import { isPortFree } from './ports.js';
import { configurationOf, environmentOf } from './process-environment.js';
import { currentBootId, isGone, statOf } from './process-identity.js';
import type { ProcessIdentity } from './process-identity.js';
import { LOCK_HELD, NO_FLOCK, resolveCommand, startShell } from './process-launch.js';
import { exitCodeOf, identityOf, readExit, readRecord, sizeOf, tailOf, writeExit } from './process-record.js';
import { processesOf, signalAll } from './process-tree.js';
import type { ProcessTree } from './process-tree.js';
import { makeDirectories, removeDirectories } from './sandbox-directories.js';
import { isSandboxId, sandboxPaths } from './sandbox-paths.js';
import type { SandboxPaths } from './sandbox-paths.js';
import { BOOTED_SANDBOX_BYTES, FORKED_SANDBOX_BYTES } from './sandbox-memory.js';

/** The part of a logger that is used here; pino's has it. */
export interface SandboxLogger {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

export interface ProcessBackendSettings {
  /** Holds one directory per sandbox; made if missing. */
  rootDirectory: string;
  /** Starts an agent-server; `--host` and `--port` are appended. */
  command: string;
  /** Address to bind, and the host of the URLs that are handed out. */
  address: string;
  logger: SandboxLogger;
  /** Whether agent-servers that our installer has made are copies of one process (`fork-server.ts`); not if left out. */
  forkAgentServers?: boolean;
  /** Has the first sandbox wait until it can be forked, too, which takes longer than its boot. */
  forksFirst?: boolean;
  /** How long a started process may take to make itself known; 10 s if left out. */
  startGraceMs?: number;
  /** How long an agent-server may take to end by itself before it is killed; 5 s if left out. */
  stopGraceMs?: number;
}

/** The note of a launch is there after some ten milliseconds; on a crowded machine, where it takes longer, it is looked for less often. */
const FIRST_POLL_MS = 4;
const POLL_GROWTH = 1.4;
const LONGEST_POLL_MS = 40;
/** How long a faster shell may take from its lock to its record, a few milliseconds usually. */
const RIVAL_MS = 2_000;
const SETTLE_POLL_MS = 20;
/** How long stopped, continued or killed processes may take to show it. */
const SETTLE_MS = 5_000;
/** How long the exit code of our own child may come after its end. */
const EXIT_EVENT_MS = 1_000;

export function createProcessBackend(settings: ProcessBackendSettings): SandboxBackend {
  const { rootDirectory, command, address, logger } = settings;
  const startGraceMs = settings.startGraceMs ?? 10_000;
  const stopGraceMs = settings.stopGraceMs ?? 5_000;
  /** Agent-servers that we started ourselves: of these, and only these, we hear the exit code. */
  const ours = new Map<string, Promise<number | null>>();
  const pathsOf = (sandboxId: string) => sandboxPaths(rootDirectory, sandboxId);
  const forks =
    settings.forkAgentServers === true
      ? new ForkServer({ directory: rootDirectory, logger, forksFirst: settings.forksFirst })
      : null;

  async function find(sandboxId: string): Promise<SandboxHandle | null> {
    const record = await readRecord(pathsOf(sandboxId));
    const identity = record && identityOf(record);
    return identity && (await statOf(identity)) ? record : null;
  }

  async function launch(launch: SandboxLaunch): Promise<SandboxHandle> {
    const { sandboxId, port } = launch;
    const paths = pathsOf(sandboxId);
    const present = await find(sandboxId);
    if (present) return present;
    if (process.platform !== 'linux') {
      throw new SandboxRefusal(
        'PlatformUnsupported',
        'Process sandboxes need Linux: run Callboard on a Linux machine, or in a container.',
      );
    }
    const argv = await resolveCommand(command);
    if (!(await isPortFree(address, port))) {
      const other = await find(sandboxId);
      if (other) return other; // started by another attempt in this moment
      throw new SandboxRefusal(
        'SandboxPortTaken',
        `Port ${port} at ${address} is in use by another program: choose another port for the sandbox.`,
      );
    }
    await makeDirectories(paths);
    const host = address.includes(':') ? `[${address}]` : address;
    const rest = {
      bootId: await currentBootId(),
      port,
      url: `http://${host}:${port}`,
      workingDirectory: paths.project,
    };
    const startup = await startupArguments(argv);
    const warmUp: Record<string, string> =
      launch.isAhead === true && startup.length > 0 ? { [WARM_UP]: '1' } : {};
    const args = ['--host', address, '--port', String(port)];
    const shell = () =>
      startShell({
        argv: [...argv, ...startup, ...args],
        paths,
        environment: { ...environmentOf(launch, paths, process.env), ...warmUp },
        configuration: configurationOf(launch),
        rest,
      });
    const copy = (await forks?.launch({ launch, paths, argv, args, rest })) ?? null;
    let handle = (copy && (await awaitCopy(sandboxId, paths, copy))) ?? (await awaitRecord(paths, shell()));
    if (!handle) {
      // The lock outlived its server: a child of that one has inherited it.
      logger.warn({ sandboxId }, 'ending what an earlier agent-server has left running');
      signalAll(await processesOf(sandboxId), 'SIGKILL');
      handle = await awaitRecord(paths, shell());
    }
    if (!handle) {
      throw new Error(
        `another process holds ${paths.lock}: end it, or delete the sandbox ${sandboxId} and start a new one`,
      );
    }
    const { pid } = handle;
    logger.info({ sandboxId, pid, port, isCopy: pid === copy?.pid }, 'agent-server started');
    return handle;
  }

  /** As below; null as well for a copy that fails, whose sandbox is started by its command then. */
  async function awaitCopy(
    sandboxId: string,
    paths: SandboxPaths,
    copy: LaunchedProcess,
  ): Promise<SandboxHandle | null> {
    try {
      return await awaitRecord(paths, copy);
    } catch (error) {
      logger.warn({ err: error, sandboxId }, 'a copy did not become an agent-server');
      // Nobody tells of its end when the process that made it has ended too: its pid may be another's by now.
      const left = (await processesOf(sandboxId)).filter(({ pid }) => pid === copy.pid);
      signalAll(left, 'SIGKILL');
      return null;
    }
  }

  /**
   * Waits until the shell has noted who it is, or the one that was faster; null when the lock is held by
   * somebody who does not.
   */
  async function awaitRecord(paths: SandboxPaths, child: LaunchedProcess): Promise<SandboxHandle | null> {
    const failed: Error[] = [];
    child.once('error', (error) => failed.push(error));
    const exit = new Promise<number | null>((resolve) => {
      if (hasEnded(child)) resolve(exitCodeOf(child.exitCode, child.signalCode));
      else child.once('exit', (code, signal) => resolve(exitCodeOf(code, signal)));
    });
    const began = Date.now();
    let pauseMs = FIRST_POLL_MS;
    while (Date.now() - began < startGraceMs) {
      await sleep(pauseMs); // before the first look, too: no shell is as fast as that
      pauseMs = Math.min(pauseMs * POLL_GROWTH, LONGEST_POLL_MS);
      if (failed[0]) throw failed[0];
      const record = await readRecord(paths);
      const identity = record && identityOf(record);
      if (record && identity && identity.pid === child.pid) {
        followExit(paths, identity, exit);
        return record;
      }
      if (identity && (await statOf(identity))) return record;
      if (child.exitCode === NO_FLOCK) {
        throw new SandboxRefusal('FlockMissing', 'The program flock is missing: install util-linux.');
      }
      // Refused in favour of, or killed by, a shell that was faster: its record is about to appear.
      const loser = child.exitCode === LOCK_HELD || child.signalCode !== null;
      if (loser && Date.now() - began > RIVAL_MS) return null;
      if (child.exitCode !== null && !loser) {
        throw new Error(
          `the agent-server could not be started (exit code ${child.exitCode}): is there space, and the right to write, in ${paths.directory}?`,
        );
      }
    }
    throw new Error(`the agent-server's process did not come up within ${startGraceMs / 1000} s`);
  }

  function followExit(paths: SandboxPaths, identity: ProcessIdentity, exit: Promise<number | null>): void {
    const key = keyOf(identity);
    const noted = exit.then(async (exitCode) => {
      await writeExit(paths, identity, exitCode).catch((error: unknown) => {
        logger.warn({ err: error, path: paths.exit }, 'exit code of an agent-server not noted');
      });
      return exitCode;
    });
    ours.set(key, noted);
  }

  async function exitCodeOfGone(paths: SandboxPaths, identity: ProcessIdentity): Promise<number | null> {
    const seen = ours.get(keyOf(identity));
    if (!seen) return readExit(paths, identity);
    return Promise.race([seen, sleep(EXIT_EVENT_MS, null, { ref: false })]);
  }

  async function inspect(sandboxId: string, handle: SandboxHandle): Promise<SandboxCondition> {
    const paths = pathsOf(sandboxId);
    const identity = identityOf(handle);
    const stat = identity && (await statOf(identity));
    if (stat) return { state: stat.state === 'T' ? 'paused' : 'running' };
    return { state: 'gone', exitCode: identity ? await exitCodeOfGone(paths, identity) : null };
  }

  /**
   * Signals all processes until none is left in the wrong state. New ones can appear while we look; those in
   * an uninterruptible wait follow when it ends. Parents sleep first and wake last: a shell or tmux that is awake
   * takes a stopped child for a job that somebody suspended, and puts it into the background or wakes it.
   */
  async function settle(
    sandboxId: string,
    handle: SandboxHandle,
    target: { signal: 'SIGSTOP' | 'SIGCONT'; done: 'paused' | 'running' },
  ): Promise<void> {
    const stopping = target.signal === 'SIGSTOP';
    for (const deadline = Date.now() + SETTLE_MS; ; await sleep(SETTLE_POLL_MS)) {
      const { state } = await inspect(sandboxId, handle);
      if (state === 'gone') {
        throw new SandboxRefusal('SandboxGone', 'The process of the sandbox has ended: start it again.');
      }
      const tree = await processesOf(sandboxId, handle.pid);
      const wrong = tree.filter((one) => (one.state === 'T') !== stopping);
      if (state === target.done && wrong.length === 0) return;
      const isUrgent = deadline - Date.now() < SETTLE_MS / 2;
      signalAll(stopping ? (isUrgent ? wrong : outermostOf(wrong)) : wrong.toReversed(), target.signal);
      if (Date.now() < deadline) continue;
      if (state === target.done) return; // only processes in an uninterruptible wait are left
      throw new Error(`the processes of sandbox ${sandboxId} do not react to ${target.signal}`);
    }
  }

  async function endProcesses(sandboxId: string, record: SandboxHandle | null): Promise<void> {
    const identity = record && identityOf(record);
    const server = identity && (await statOf(identity));
    const tree = await processesOf(sandboxId, server?.pid);
    if (server) {
      signalAll(tree.toReversed(), 'SIGCONT'); // a stopped process does not hear SIGTERM
      signalAll([server], 'SIGTERM');
      await until(stopGraceMs, async () => (await statOf(identity)) === null);
    }
    const ended = await until(SETTLE_MS, async () => {
      const left = await livingOf([...tree, ...(await processesOf(sandboxId))]);
      signalAll(left, 'SIGKILL');
      return left.length === 0;
    });
    if (!ended) throw new Error(`processes of sandbox ${sandboxId} do not end`);
    if (identity) ours.delete(keyOf(identity));
  }

  async function destroy(sandboxId: string, handle: SandboxHandle | null): Promise<void> {
    const paths = pathsOf(sandboxId);
    await endProcesses(sandboxId, handle ?? (await readRecord(paths)));
    await removeDirectories(paths);
    logger.info({ sandboxId }, 'sandbox removed');
  }

  return {
    kind: 'process',
    launch,
    find,
    inspect,
    pause: (sandboxId, handle) => settle(sandboxId, handle, { signal: 'SIGSTOP', done: 'paused' }),
    resume: (sandboxId, handle) => settle(sandboxId, handle, { signal: 'SIGCONT', done: 'running' }),
    halt: endProcesses,
    destroy,
    logTail: (sandboxId, lines) => tailOf(pathsOf(sandboxId).log, lines),
    hasAnswered: () => forks?.hasAnswered(),
    expectedMemory: () => (forks?.isReady === true ? FORKED_SANDBOX_BYTES : BOOTED_SANDBOX_BYTES),
    logSize: (sandboxId) => sizeOf(pathsOf(sandboxId).log),
    async processorTime(_, handle) {
      const identity = identityOf(handle);
      return (identity && (await statOf(identity)))?.processorTime ?? 0;
    },
    async list() {
      try {
        const entries = await readdir(rootDirectory, { withFileTypes: true });
        return entries
          .filter((entry) => entry.isDirectory() && isSandboxId(entry.name))
          .map(({ name }) => name);
      } catch (error) {
        if (isGone(error)) return [];
        throw error;
      }
    },
  };
}

/**
 * Those whose parent is not among them: a signal is on its way when `kill` returns, and only once a parent is seen to
 * have stopped can it not notice any more that its child does.
 */
function outermostOf(tree: ProcessTree): ProcessTree {
  const pids = new Set(tree.map(({ pid }) => pid));
  return tree.filter(({ parent }) => !pids.has(parent));
}

const hasEnded = ({ exitCode, signalCode }: LaunchedProcess): boolean =>
  exitCode !== null || signalCode !== null;

const keyOf = ({ pid, startTime }: ProcessIdentity): string => `${pid}:${startTime}`;

/** Those that are still the same processes and not yet dead. */
async function livingOf(tree: ProcessTree): Promise<ProcessTree> {
  const bootId = await currentBootId();
  const stats = await Promise.all(tree.map(({ pid, startTime }) => statOf({ pid, startTime, bootId })));
  return stats.filter((stat) => stat !== null);
}

/** Asks again and again; false when the time is over. */
async function until(milliseconds: number, met: () => Promise<boolean>): Promise<boolean> {
  for (const deadline = Date.now() + milliseconds; ; await sleep(SETTLE_POLL_MS)) {
    if (await met()) return true;
    if (Date.now() >= deadline) return false;
  }
}
