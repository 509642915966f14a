/**
 * Agent-servers that need not boot: one process imports all that they need, once, and each of them is a copy of it. A copy
 * is there in a quarter of a second instead of five, and shares most of its memory with the others.
 *
 * It is a short cut. Whatever keeps it from being taken (another agent-server, a version that keeps too much of its
 * import, a process that was killed), sandboxes are started by their command instead.
 */
import { randomUUID } from 'node:crypto';
import { rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { FORK_SERVER_MODULE, startupArguments, WARM_UP } from './agent-server-startup.js';
import { LAUNCH_LINE, type SandboxLaunch } from './backend.js';
import { ForkServerProcess, type ForkServerStart, type Readiness } from './fork-server-process.js';
import { installedProgram } from './installed-program.js';
import type { ForkedProcess, LaunchedProcess } from './launched-process.js';
import { configurationOf, sandboxEnvironment, sharedEnvironment } from './process-environment.js';
import { LOCK_HELD, type RecordRest } from './process-launch.js';
import { SANDBOX_MARK } from './process-tree.js';
import type { SandboxPaths } from './sandbox-paths.js';

/** Of its own, below that of the sandboxes; not the name of one. */
const DIRECTORY = '.fork-server';
/**
 * How long after the first agent-server has answered it is begun, in milliseconds: until then, and for the conversation that
 * begins in that one, somebody waits, from whom it would take processor time.
 */
const AFTER_ANSWER_MS = 5_000;
/** How long after a launch it is begun at the latest, in milliseconds: where none ever answers, for instance. */
const AFTER_LAUNCH_MS = 120_000;
/** One that ends is replaced, so many milliseconds after its beginning at the earliest. */
const REPLACED_AFTER_MS = 60_000;
/** How long after its beginning somebody who waits for a sandbox waits for it, in milliseconds: that has booted by then. */
const AWAITED_MS = 20_000;
/** How often in a row it, or a copy, may fail before that is given up for this worker. */
const TRIES = 3;
/** A copy that fails within so many milliseconds may speak against copies, not against the agent. */
const EARLY_MS = 10_000;
const NOT_FORKED = 'an agent-server could not be forked';

export interface ForkServerSettings {
  /** Parent of the sandboxes' directories. */
  directory: string;
  logger: { info(fields: object, message: string): void; warn(fields: object, message: string): void };
  afterAnswerMs?: number;
  /** Has the first launch wait until it can be forked as well, if it is one ahead. */
  forksFirst?: boolean | undefined;
  awaitedMs?: number;
}

/** One sandbox to start. */
export interface ForkRequest {
  launch: SandboxLaunch;
  paths: SandboxPaths;
  /** The command, without flags of ours. */
  argv: readonly string[];
  /** What the command is told: host and port. */
  args: readonly string[];
  rest: RecordRest;
}

export class ForkServer {
  private server: { key: string; process: ForkServerProcess; begun: number } | null = null;
  /** What cannot be copied: not tried again before this worker ends. */
  private readonly distrusted = new Set<string>();
  /** Sandboxes whose copy has failed: started by their command the next time. */
  private readonly failed = new Set<string>();
  private timer: NodeJS.Timeout | null = null;
  /** What the timer does, until the first answer has brought it forward. */
  private begin: (() => void) | null = null;
  private failures = 0;

  constructor(private readonly settings: ForkServerSettings) {}

  /** An agent-server that somebody may have waited for answers. */
  hasAnswered(): void {
    if (this.timer === null || this.begin === null) return;
    clearTimeout(this.timer);
    this.timer = setTimeout(this.begin, this.settings.afterAnswerMs ?? AFTER_ANSWER_MS).unref();
    this.begin = null; // further answers, however many, do not put it off
  }

  /** Whether the process that copies are made of is there. It is not before its first use: that one takes as much as a boot. */
  get isReady(): boolean {
    return this.server?.process.isReady === true;
  }

  /** A copy that becomes that sandbox's agent-server; null where it has to be started by its command. */
  async launch(request: ForkRequest): Promise<LaunchedProcess | null> {
    const { launch, paths, argv, args, rest } = request;
    const environment = sharedEnvironment(launch, process.env);
    const flags = await startupArguments(argv, { module: FORK_SERVER_MODULE });
    const program = await installedProgram(argv);
    if (program === null || flags.length === 0) return null;
    const { mtimeMs, ino } = await stat(program);
    const key = JSON.stringify([argv, program, mtimeMs, ino, environment]);
    if (this.distrusted.has(key) || this.failed.delete(launch.sandboxId)) return null;
    const start = {
      directory: join(this.settings.directory, DIRECTORY),
      argv: [...argv, ...flags],
      environment,
    };
    const server = this.serverOf(key, start, launch.isAhead === true);
    if (server === null) return null;
    const { awaitedMs = AWAITED_MS } = this.settings;
    const patience = launch.isAhead === true ? null : (this.server?.begun ?? 0) + awaitedMs - Date.now();
    if (!(await isReady(server, patience))) return null;
    // One of its own: another attempt for the same sandbox may be under way.
    const file = join(paths.directory, `.launch-${randomUUID()}.json`);
    const become = {
      arguments: args,
      environment: { ...sandboxEnvironment(launch.sandboxId, paths), PWD: paths.directory },
      mark: `${SANDBOX_MARK}=${launch.sandboxId}`,
      configuration: JSON.parse(configurationOf(launch)) as unknown,
      line: LAUNCH_LINE,
      rest,
    };
    await writeFile(file, JSON.stringify(become), { mode: 0o600 });
    const copy = await server.fork(paths.directory, file).catch((err: unknown) => {
      this.settings.logger.warn({ err, sandboxId: launch.sandboxId }, NOT_FORKED);
      return null;
    });
    if (copy === null) await rm(file, { force: true });
    else this.watch(copy, key, launch.sandboxId);
    return copy;
  }

  private watch(copy: ForkedProcess, key: string, sandboxId: string): void {
    const proven = setTimeout(() => (this.failures = 0), EARLY_MS).unref();
    const look = (): void => {
      if (copy.exitCode === null && copy.signalCode === null) return;
      clearTimeout(proven);
      const early = Date.now() - copy.born < EARLY_MS;
      if (!early || copy.exitCode === null || copy.exitCode === 0 || copy.exitCode === LOCK_HELD) return;
      this.failed.add(sandboxId);
      this.fail(key, `a copy ended with exit code ${copy.exitCode}`);
    };
    copy.once('exit', look);
    look();
  }

  private fail(key: string, reason: string): void {
    const { logger } = this.settings;
    if (++this.failures < TRIES) return logger.warn({ reason }, NOT_FORKED);
    this.distrust(key, reason);
  }

  private distrust(key: string, reason: string): void {
    if (this.distrusted.has(key)) return;
    this.distrusted.add(key);
    this.settings.logger.warn({ reason }, 'agent-servers are booted one by one from now on');
    if (this.server?.key === key) this.server.process.close();
  }

  /** The process for such sandboxes, or null when there is none yet; then it is begun, now or a little later. */
  private serverOf(key: string, start: ForkServerStart, isAhead: boolean): ForkServerProcess | null {
    const now = Date.now();
    if (this.server?.key === key && !this.server.process.isOver) return this.server.process;
    if (this.server && now - this.server.begun < REPLACED_AFTER_MS) return null;
    const begin = (): ForkServerProcess => {
      if (this.timer) clearTimeout(this.timer);
      this.timer = null;
      this.server?.process.close();
      const process = new ForkServerProcess({
        ...start,
        environment: { ...start.environment, [WARM_UP]: '1' },
      });
      const begun = Date.now();
      this.server = { key, process, begun };
      void process.readiness.then((readiness) => this.note(process, readiness, key, Date.now() - begun));
      return process;
    };
    // Who starts something right after this worker was started is served soonest by a boot, so the first one is; and what
    // somebody waits for has the processor to itself.
    const isFirst = this.server === null && this.timer === null;
    if (isAhead && (!isFirst || this.settings.forksFirst)) return begin();
    if (this.timer === null) {
      this.timer = setTimeout(begin, AFTER_LAUNCH_MS).unref();
      this.begin = begin;
    }
    return null;
  }

  private note(process: ForkServerProcess, readiness: Readiness, key: string, milliseconds: number): void {
    if (readiness.is === 'ready') {
      this.settings.logger.info({ milliseconds }, 'agent-servers are forked from now on');
      void process.ending.then((reason) => {
        if (reason !== null) this.fail(key, reason);
      });
    } else if (readiness.is === 'unsuitable') {
      this.distrust(key, readiness.reason);
    } else if (!this.distrusted.has(key)) {
      this.fail(key, readiness.reason);
    }
  }
}

/** Waits so many milliseconds at most, or without limit. */
async function isReady(server: ForkServerProcess, patience: number | null): Promise<boolean> {
  const ready = server.readiness.then(({ is }) => is === 'ready');
  if (patience === null) return ready;
  return Promise.race([ready, sleep(Math.max(patience, 0), false, { ref: false })]);
}
