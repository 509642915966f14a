import { spawn } from 'node:child_process';

export interface ProgramResult {
  /** Exit status; null when a signal ended it or it could not be executed. */
  status: number | null;
  stdout: string;
  /** The last 8 kB. */
  stderr: string;
}

/**
 * Runs a program to its end and collects what it prints. Never throws: a program that cannot be
 * executed or takes longer than `timeoutMs` has status null and says why in `stderr`.
 */
export function runProgram(
  command: string,
  args: readonly string[],
  options: {
    env?: NodeJS.ProcessEnv;
    cwd?: string;
    timeoutMs?: number;
    onStderrLine?: (line: string) => void;
  } = {},
): Promise<ProgramResult> {
  return new Promise((resolve) => {
    let stdout = '';
    let stderr = '';
    let unfinishedLine = '';
    const child = spawn(command, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: options.env,
      cwd: options.cwd,
      timeout: options.timeoutMs,
      killSignal: 'SIGKILL',
    });
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr = (stderr + text).slice(-8192);
      const lines = (unfinishedLine + text).split('\n');
      unfinishedLine = lines.pop() ?? '';
      for (const line of lines) if (line.trim()) options.onStderrLine?.(line.trim());
    });
    child.once('error', (err) => resolve({ status: null, stdout, stderr: err.message }));
    child.once('close', (status, signal) => {
      resolve({ status, stdout, stderr: signal ? `${stderr}\nended by ${signal}`.trim() : stderr });
    });
  });
}
