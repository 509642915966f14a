import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { hasCode } from '../user-error.js';

/** One life of one process: a pid alone is given to somebody else after the process ended. */
export const ProcessIdentity = z.object({
  pid: z.number().int().positive(),
  /** Opaque: boot id and start time of the process; equal strings mean the same process. */
  startedAt: z.string(),
});
export type ProcessIdentity = z.infer<typeof ProcessIdentity>;

/** The identity of a live process, or undefined when there is none (a zombie counts as none). */
export function identifyProcess(pid: number): ProcessIdentity | undefined {
  const startedAt = process.platform === 'linux' ? startOnLinux(pid) : startByPs(pid);
  return startedAt === undefined ? undefined : { pid, startedAt };
}

/** Whether exactly this process, not another with its pid, still runs. */
export function isAlive(identity: ProcessIdentity): boolean {
  return identifyProcess(identity.pid)?.startedAt === identity.startedAt;
}

/** Sends the signal unless the process has ended; false when it had. */
export function signalProcess(identity: ProcessIdentity, signal: NodeJS.Signals): boolean {
  if (!isAlive(identity)) return false;
  try {
    process.kill(identity.pid, signal);
    return true;
  } catch (err) {
    if (hasCode(err, 'ESRCH')) return false;
    throw err;
  }
}

/** Waits until the process is gone; false when it still runs after `timeoutMs`. */
export async function waitForEnd(identity: ProcessIdentity, timeoutMs: number): Promise<boolean> {
  const deadline = Date.now() + timeoutMs;
  while (isAlive(identity)) {
    if (Date.now() >= deadline) return false;
    await sleep(20);
  }
  return true;
}

/** Asks with each signal in turn, waiting `timeoutMs` for the end after each, and kills at last. */
export async function endProcess(
  identity: ProcessIdentity,
  signals: readonly NodeJS.Signals[],
  timeoutMs: number,
): Promise<void> {
  for (const signal of [...signals, 'SIGKILL'] as const) {
    if (!signalProcess(identity, signal)) return;
    if (await waitForEnd(identity, timeoutMs)) return;
  }
}

/** The command line of a live process, arguments joined by blanks; empty when it cannot be read. */
export function commandLineOf(pid: number): string {
  if (process.platform !== 'linux') return ps(pid, 'command=') ?? '';
  return readProc(`/proc/${pid}/cmdline`)?.replaceAll('\0', ' ') ?? '';
}

let bootId: string | undefined;

function startOnLinux(pid: number): string | undefined {
  const stat = readProc(`/proc/${pid}/stat`);
  // The name in parentheses may itself hold blanks and parentheses: fields are counted after the last one.
  const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ');
  const [state, start] = [fields?.[0], fields?.[19]];
  if (start === undefined || state === 'Z' || state === 'X') return undefined;
  bootId ??= readProc('/proc/sys/kernel/random/boot_id')?.trim() ?? '';
  return `${bootId}:${start}`;
}

function startByPs(pid: number): string | undefined {
  return ps(pid, 'lstart=');
}

function ps(pid: number, field: string): string | undefined {
  try {
    const out = execFileSync('ps', ['-o', field, '-p', String(pid)], { stdio: ['ignore', 'pipe', 'ignore'] });
    return out.toString('utf8').trim() || undefined;
  } catch (err) {
    if (hasCode(err, 'ENOENT')) throw err;
    return undefined; // ps ends with status 1 when there is no such process
  }
}

function readProc(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (err) {
    if (hasCode(err, 'ENOENT') || hasCode(err, 'ESRCH') || hasCode(err, 'EACCES')) return undefined;
    throw err;
  }
}
