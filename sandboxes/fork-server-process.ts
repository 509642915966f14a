/** One process of `agent-server-startup/callboard_fork_server.py`, which has the protocol. */
import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir, open, rm } from 'node:fs/promises';
import { Socket } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { ForkedProcess } from './launched-process.js';
import { sandboxEnvironment } from './process-environment.js';
import { LOG_LIMIT_KILOBYTES } from './process-launch.js';
import { SANDBOX_MARK } from './process-tree.js';
import { pathsBelow } from './sandbox-paths.js';

/** Place for what the environments of copies have more than its own, in bytes. */
const ROOM = 16 * 1024;
/** How long the import and the search may take, in milliseconds: a boot on a crowded machine. */
const READY_MS = 60_000;
/** How long it may take to make a copy, in milliseconds. */
const FORK_MS = 10_000;

export interface ForkServerStart {
  /** Where its log is; nobody else has anything in it. */
  directory: string;
  /** The agent-server's command with the flags that make it import us. */
  argv: readonly string[];
  /** What all sandboxes have in common. */
  environment: Record<string, string>;
}

type Answer =
  | { ready: true }
  | { unsuitable: string }
  | { id: number; pid: number }
  | { id: number; refused: string }
  | { pid: number; status: number };

/** Somebody who waits for a copy. */
interface Asking {
  resolve: (copy: ForkedProcess | null) => void;
  reject: (error: Error) => void;
}

/** `unsuitable`: this agent-server cannot be copied, today or tomorrow; `failed`: something else came in between. */
export type Readiness = { is: 'ready' } | { is: 'unsuitable' | 'failed'; reason: string };

export class ForkServerProcess {
  /** Told once. */
  readonly readiness: Promise<Readiness>;
  /** Why it is of no more use, once it is not; null when it was closed. */
  readonly ending: Promise<string | null>;
  private process: ChildProcess | null = null;
  private over = false;
  private ready = false;
  private lastId = 0;
  private readonly asked = new Map<number, Asking>();
  private readonly copies = new Map<number, ForkedProcess>();
  private tell: (readiness: Readiness) => void = () => undefined;
  private tellEnd: (reason: string | null) => void = () => undefined;

  constructor(private readonly start: ForkServerStart) {
    this.readiness = new Promise((resolve) => (this.tell = resolve));
    this.ending = new Promise((resolve) => (this.tellEnd = resolve));
    void this.begin().catch((error: unknown) => this.end(String(error)));
  }

  /**
   * Makes a copy, which works in that directory, and reads what it has to become from that file, which it removes. A copy
   * that is made too late, by a process that was stopped for instance, does not become anything.
   * @returns null when this process is of no more use
   * @throws when the system made no copy this time
   */
  async fork(directory: string, file: string): Promise<ForkedProcess | null> {
    if ((await this.readiness).is !== 'ready' || this.over) return null;
    const id = ++this.lastId;
    // The clock is the same one in all processes of the machine.
    const until = (Number(process.hrtime.bigint()) / 1e6 + FORK_MS) / 1000;
    const timer = setTimeout(() => this.end(`it made no copy within ${FORK_MS / 1000} s`), FORK_MS);
    try {
      return await new Promise((resolve, reject) => {
        this.asked.set(id, { resolve, reject });
        this.process?.stdin?.write(`${JSON.stringify({ id, directory, file, until })}\n`);
      });
    } finally {
      clearTimeout(timer);
    }
  }

  /** True while it makes copies. */
  get isReady(): boolean {
    return this.ready && !this.over;
  }

  /** True once it is of no more use. */
  get isOver(): boolean {
    return this.over;
  }

  /** Ends it; copies go on, and nothing is heard of their ends any more. */
  close(): void {
    this.tellEnd(null);
    this.end('it was closed');
  }

  private async begin(): Promise<void> {
    const { directory, argv, environment } = this.start;
    const tracer = `callboard-${randomBytes(16).toString('hex')}`;
    // Not in its working directory, whose entries Python remembers.
    const paths = pathsBelow(join(directory, 'import', tracer));
    await mkdir(paths.home, { recursive: true, mode: 0o700 });
    const log = await open(join(directory, 'log'), 'w', 0o600);
    try {
      const { [SANDBOX_MARK]: _, ...own } = sandboxEnvironment('', {
        ...paths,
        terminals: join(paths.directory, 'tmux'),
      });
      const settings = { tracer, home: paths.home, log_limit: LOG_LIMIT_KILOBYTES * 1024 };
      const [command = '', ...rest] = argv;
      const child = spawn(command, rest, {
        cwd: directory,
        env: {
          ...environment,
          ...own,
          CALLBOARD_FORK_SERVER: JSON.stringify(settings),
          CALLBOARD_FORK_SERVER_ROOM: '.'.repeat(ROOM),
        },
        detached: true,
        stdio: ['pipe', log.fd, log.fd, 'pipe'],
      });
      this.process = child;
      this.listen(child);
      const timer = setTimeout(() => this.end('it did not get ready in time'), READY_MS);
      await this.readiness;
      clearTimeout(timer);
    } finally {
      await log.close();
      await rm(paths.directory, { recursive: true, force: true });
    }
  }

  private listen(child: ChildProcess): void {
    child.once('error', (error) => this.end(error.message));
    child.once('exit', (code, signal) =>
      this.end(`it has ended (${signal ?? `exit code ${code}`}), see ${this.start.directory}/log`),
    );
    // Nobody waits for it alone.
    child.unref();
    for (const stream of [child.stdin, child.stdio[3]]) {
      stream?.on('error', (error) => this.end(error.message));
      if (stream instanceof Socket) stream.unref();
    }
    const answers = child.stdio[3] as Socket;
    createInterface({ input: answers }).on('line', (line) => this.hear(JSON.parse(line) as Answer));
  }

  private hear(answer: Answer): void {
    if ('ready' in answer) {
      this.ready = true;
      return this.tell({ is: 'ready' });
    }
    if ('unsuitable' in answer) return this.end(answer.unsuitable, 'unsuitable');
    if ('status' in answer) {
      this.copies.get(answer.pid)?.end(answer.status);
      this.copies.delete(answer.pid);
      return;
    }
    const asking = this.asked.get(answer.id);
    this.asked.delete(answer.id);
    if ('refused' in answer) return asking?.reject(new Error(answer.refused));
    const copy = new ForkedProcess(answer.pid);
    this.copies.set(answer.pid, copy);
    asking?.resolve(copy);
  }

  private end(reason: string, is: 'unsuitable' | 'failed' = 'failed'): void {
    if (this.over) return;
    this.over = true;
    this.tell({ is, reason });
    this.tellEnd(reason);
    for (const { resolve } of this.asked.values()) resolve(null);
    this.asked.clear();
    this.process?.kill('SIGKILL');
  }
}
