import { spawn } from 'node:child_process';
import { hasCode } from '../user-error.js';

export interface ProgramResult {
  /** Exit status; null when a signal ended it or it could not be executed. */
  status: number | null;
  stdout: string;
  /** The last 8 kB. */
  stderr: string;
}

export interface RunOptions {
  env?: NodeJS.ProcessEnv;
  cwd?: string;
  timeoutMs?: number;
  /** Ends the program and everything it has started. */
  signal?: AbortSignal;
  onStderrLine?: (line: string) => void;
}

/**
 * Runs a program to its end and collects what it prints. Never throws: a program that cannot be
 * executed or takes longer than `timeoutMs` has status null and says why in `stderr`.
 */
export function runProgram(
  command: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<ProgramResult> {
  return new Promise((resolve) => {
    let stdout = '';
    let stderr = '';
    let unfinishedLine = '';
    const child = spawn(command, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: options.env,
      cwd: options.cwd,
      detached: true, // a process group of its own, which can be ended as a whole
    });
    const end = (): void => {
      if (child.pid === undefined) return;
      try {
        process.kill(-child.pid, 'SIGTERM');
      } catch (err) {
        if (!hasCode(err, 'ESRCH')) throw err;
      }
    };
    const timer = options.timeoutMs === undefined ? undefined : setTimeout(end, options.timeoutMs);
    if (options.signal?.aborted) end();
    options.signal?.addEventListener('abort', end);
    const done = (result: ProgramResult): void => {
      clearTimeout(timer);
      options.signal?.removeEventListener('abort', end);
      resolve(result);
    };
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr = (stderr + text).slice(-8192);
      const lines = (unfinishedLine + text).split('\n');
      unfinishedLine = lines.pop() ?? '';
      for (const line of lines) if (line.trim()) options.onStderrLine?.(line.trim());
    });
    child.once('error', (err) => done({ status: null, stdout, stderr: err.message }));
    child.once('close', (status, signal) => {
      done({ status, stdout, stderr: signal ? `${stderr}\nended by ${signal}`.trim() : stderr });
    });
  });
}
