import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { vi } from 'vitest';

export interface StartedEngines {
  databaseUrl: string;
  temporalAddress: string;
  temporalUiUrl: string | null;
  agentServerCommand: string[] | null;
}

/** One run of `up` in a process of its own, as a person would start it. */
export class UpProcess {
  output = '';
  readonly exited: Promise<unknown[]>;
  private readonly child: ChildProcess;

  constructor(dataDir: string, env: NodeJS.ProcessEnv = {}) {
    // Nothing is given except what a test gives: not even what the test run itself was given.
    const { DATABASE_URL: _, TEMPORAL_ADDRESS: __, ...inherited } = process.env;
    this.child = spawn(process.execPath, ['--import', 'tsx', join(import.meta.dirname, 'up-entry.ts')], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        ...inherited,
        OH_PERSISTENCE_DIR: dataDir,
        PORT: '0',
        TEMPORAL_UI_PORT: '0',
        AGENT_SERVER_COMMAND: '/bin/true',
        CALLBOARD_WARM_SANDBOXES: '0',
        ...env,
      },
    });
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => (this.output += text));
    }
    this.exited = once(this.child, 'close');
  }

  get pid(): number {
    return this.child.pid!;
  }

  /** Waits until the table was printed. */
  async ready(): Promise<StartedEngines> {
    await this.says(/Ctrl-C stops it/);
    return JSON.parse(/^ENGINES (.*)$/m.exec(this.output)![1]!) as StartedEngines;
  }

  async says(what: RegExp): Promise<void> {
    await vi.waitFor(
      () => {
        if (what.test(this.output)) return;
        throw new Error(`${String(what)} is not in:\n${this.output}`);
      },
      { timeout: 180_000, interval: 20 },
    );
  }

  signal(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  /** Exit status, or the signal that ended it. */
  async end(): Promise<unknown> {
    const [code, signal] = await this.exited;
    return code ?? signal;
  }

  /** Processes that were started by this one, directly or not, and live. */
  descendants(): number[] {
    const parents = new Map<number, number>();
    for (const name of readdirSync('/proc').filter((entry) => /^\d+$/.test(entry))) {
      const stat = readStat(Number(name));
      if (stat) parents.set(Number(name), stat);
    }
    const found = [this.pid];
    for (const ancestor of found)
      for (const [pid, parent] of parents) if (parent === ancestor) found.push(pid);
    return found.slice(1);
  }
}

/** Whether a process is there and no zombie. */
export const lives = (pid: number): boolean => readStat(pid) !== undefined;

/** The parent of a live process. */
function readStat(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const [state, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return state === 'Z' ? undefined : Number(parent);
  } catch {
    return undefined; // it has just ended
  }
}
