/**
 * Reading many small files for a fraction of what asynchronous calls cost: each of those goes to another thread and back
 * four times for a file. A thread of our own reads all files of a page with plain calls, and is asked once.
 */
import { Worker } from 'node:worker_threads';

/** Threads at most: so many readers can wait for a slow disk at a time. */
const MOST_THREADS = 4;
/** Files that one thread is asked for at a time; more are shared between threads. */
const MOST_FILES = 128;
/** How long a thread without work is kept, in milliseconds. */
const IDLE_MS = 60_000;

const PROGRAM = new URL('./reading-thread.cjs', import.meta.url);

/** What the thread says of a file: its text, null when there is none, or the error of the system. */
type Answer = string | null | { code: string; syscall: string; message: string };

interface Wanted {
  path: string;
  resolve: (text: string | null) => void;
  reject: (error: Error) => void;
}

interface Thread {
  worker: Worker;
  /** What it is reading; null while it is free. */
  job: Wanted[] | null;
  idle: NodeJS.Timeout | undefined;
}

/** Reads files; those asked for in the same turn are read together. Nothing runs before the first one is asked for. */
export class FileReader {
  readonly #threads = new Set<Thread>();
  readonly #jobs: Wanted[][] = [];
  #gathering: Wanted[] = [];

  /** The content of a file as UTF-8; null when there is none. Rejects with the system error (`EIO`, `EACCES`, …). */
  read(path: string): Promise<string | null> {
    return new Promise((resolve, reject) => {
      if (this.#gathering.length === 0) queueMicrotask(() => this.#dispatch());
      this.#gathering.push({ path, resolve, reject });
    });
  }

  #dispatch(): void {
    for (let from = 0; from < this.#gathering.length; from += MOST_FILES) {
      this.#jobs.push(this.#gathering.slice(from, from + MOST_FILES));
    }
    this.#gathering = [];
    this.#assign();
  }

  #assign(): void {
    for (let job = this.#jobs[0]; job; job = this.#jobs[0]) {
      const thread = this.#freeThread();
      if (!thread) return;
      this.#jobs.shift();
      clearTimeout(thread.idle);
      thread.job = job;
      thread.worker.ref(); // a process does not end while somebody waits for a file
      thread.worker.postMessage(job.map(({ path }) => path));
    }
  }

  #freeThread(): Thread | null {
    for (const thread of this.#threads) if (thread.job === null) return thread;
    return this.#threads.size < MOST_THREADS ? this.#start() : null;
  }

  #start(): Thread {
    const worker = new Worker(PROGRAM, { execArgv: [] });
    const thread: Thread = { worker, job: null, idle: undefined };
    this.#threads.add(thread);
    worker.on('message', (answers: Answer[]) => this.#answered(thread, answers));
    worker.on('error', (error) => this.#ended(thread, error));
    worker.on('exit', () => this.#ended(thread, new Error('a thread that reads files has ended')));
    return thread;
  }

  #answered(thread: Thread, answers: readonly Answer[]): void {
    const job = thread.job ?? [];
    thread.job = null;
    thread.worker.unref();
    thread.idle = setTimeout(() => {
      this.#threads.delete(thread);
      void thread.worker.terminate();
    }, IDLE_MS).unref();
    job.forEach(({ resolve, reject }, place) => {
      const answer = answers[place] ?? null;
      if (answer === null || typeof answer === 'string') resolve(answer);
      else reject(Object.assign(new Error(answer.message), { code: answer.code, syscall: answer.syscall }));
    });
    this.#assign();
  }

  /** Those who wait for it are told; another one takes its place when it is needed. */
  #ended(thread: Thread, error: unknown): void {
    if (!this.#threads.delete(thread)) return;
    clearTimeout(thread.idle);
    for (const { reject } of thread.job ?? [])
      reject(error instanceof Error ? error : new Error(String(error)));
    this.#assign();
  }
}
