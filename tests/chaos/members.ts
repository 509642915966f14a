/** Processes that are started again whenever they end, as a service manager would, and that can be hurt. */
import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { EngineExit } from '../../cli/embedded/engine-process.js';

/** A part of the installation. */
export interface Member {
  readonly name: string;
  /** How often it was started again. */
  readonly restarts: number;
  readonly frozen: boolean;
  /** Ends it with SIGKILL. */
  kill(): void;
  /** Stops it with all its processes; false when it is not there, or is frozen already. */
  freeze(): boolean;
  thaw(): void;
  /** Kills it, and keeps it from being started again until `comeBack`. */
  stayAway(): void;
  comeBack(): void;
  /** Kills it for good, for a run that is interrupted. */
  endNow(): void;
  /** Ends it for good, in its own time. */
  stop(): Promise<void>;
}

interface Running {
  pid: number;
  exited: Promise<unknown>;
  stop(): Promise<void>;
}

/** How long a service manager waits before it starts something again. */
const RESTART_MS = 300;
/** How often one that is kept away looks whether it may come back. */
const LOOK_MS = 20;

class SupervisedMember implements Member {
  restarts = 0;
  frozen = false;
  #running: Running | null = null;
  #stopping = false;
  #away = false;
  #loop: Promise<void> = Promise.resolve();

  constructor(
    readonly name: string,
    private readonly start: () => Promise<Running>,
    private readonly note: (line: string) => void,
  ) {}

  async run(): Promise<this> {
    this.#running = await this.start();
    this.#loop = this.#supervise(this.#running);
    return this;
  }

  get pid(): number | null {
    return this.#running?.pid ?? null;
  }

  kill(): void {
    if (this.pid === null) return;
    // Only the parent dies; its children, if they were frozen with it, are to find that out.
    const children = this.frozen ? childrenOf(this.pid) : [];
    signal(this.pid, 'SIGKILL');
    for (const pid of children) signal(pid, 'SIGCONT');
  }

  freeze(): boolean {
    if (this.pid === null || this.frozen) return false;
    // The parent first: it must not answer for children that say nothing.
    this.frozen = true;
    for (const pid of [this.pid, ...childrenOf(this.pid)]) signal(pid, 'SIGSTOP');
    return true;
  }

  thaw(): void {
    if (!this.frozen) return;
    this.frozen = false;
    if (this.pid === null) return;
    for (const pid of [...childrenOf(this.pid), this.pid]) signal(pid, 'SIGCONT');
  }

  stayAway(): void {
    this.#away = true;
    this.kill();
  }

  comeBack(): void {
    this.#away = false;
  }

  endNow(): void {
    this.#stopping = true;
    this.thaw();
    this.kill();
  }

  async stop(): Promise<void> {
    this.thaw();
    this.comeBack();
    this.#stopping = true;
    await this.#running?.stop();
    await this.#loop;
  }

  async #supervise(first: Running): Promise<void> {
    for (let current = first; ;) {
      await current.exited;
      this.#running = null;
      this.frozen = false;
      if (this.#stopping) return;
      await sleep(RESTART_MS);
      const next = await this.#again();
      if (!next) return;
      this.restarts++;
      this.#running = current = next;
    }
  }

  /** Tried until it starts: what it needs may itself be on its way up. */
  async #again(): Promise<Running | null> {
    while (!this.#stopping) {
      if (this.#away) {
        await sleep(LOOK_MS);
        continue;
      }
      try {
        return await this.start();
      } catch (error) {
        this.note(`${this.name} does not start: ${error instanceof Error ? error.message : String(error)}`);
        await sleep(RESTART_MS);
      }
    }
    return null;
  }
}

/** A `callboard` process, its output in a file. */
export function processMember(
  name: string,
  command: { argv: readonly string[]; env: Record<string, string>; logFile: string },
  note: (line: string) => void,
): Promise<SupervisedMember> {
  const start = async (): Promise<Running> => {
    const log = openSync(command.logFile, 'a');
    const child = spawn(process.execPath, [...command.argv], {
      env: { PATH: process.env['PATH'], HOME: process.env['HOME'], ...command.env },
      stdio: ['ignore', log, log],
    });
    closeSync(log);
    const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    return { pid: child.pid ?? 0, exited, stop: () => endChild(child, exited) };
  };
  return new SupervisedMember(name, start, note).run();
}

/** Runs a program of Node's to its end. */
export async function runToEnd(
  argv: readonly string[],
  env: Record<string, string>,
): Promise<{ code: number | null; output: string }> {
  const child = spawn(process.execPath, [...argv], {
    env: { PATH: process.env['PATH'], HOME: process.env['HOME'], ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (data: Buffer) => (output += data.toString()));
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  return { code, output };
}

/** An embedded server. */
export async function engineMember<
  E extends { pid: number; exited: Promise<EngineExit>; stop(): Promise<void> },
>(
  name: string,
  start: () => Promise<E>,
  note: (line: string) => void,
): Promise<{ member: SupervisedMember; engine: E }> {
  const engine = await start();
  let first: E | null = engine;
  const member = await new SupervisedMember(
    name,
    async () => {
      const ready = first ?? (await start());
      first = null;
      return ready;
    },
    note,
  ).run();
  return { member, engine };
}

const STOP_LIMIT_MS = 40_000;

async function endChild(child: ChildProcess, exited: Promise<void>): Promise<void> {
  child.kill('SIGTERM');
  const killer = setTimeout(() => child.kill('SIGKILL'), STOP_LIMIT_MS);
  await exited;
  clearTimeout(killer);
}

/** Sends a signal to a process that may have gone meanwhile. */
export function signal(pid: number, name: NodeJS.Signals): boolean {
  try {
    process.kill(pid, name);
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ESRCH') return false;
    throw error;
  }
}

/** Direct children of a process. */
export function childrenOf(pid: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((child) => parentOf(child) === pid);
}

function parentOf(pid: number): number | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
  } catch {
    return null; // it ended while we looked
  }
}
