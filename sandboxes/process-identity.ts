/**
 * Which process is ours. A pid alone is reused by the system; pid, start time and boot id together never are.
 * Everything here reads /proc, so it is cheap enough to be asked every second.
 */
import { readFile } from 'node:fs/promises';

export interface ProcessIdentity {
  pid: number;
  /** Clock ticks between boot and the start of the process, field 22 of /proc/<pid>/stat. */
  startTime: string;
  bootId: string;
}

/** One line of /proc/<pid>/stat, as far as it is needed. */
export interface ProcessStat {
  pid: number;
  /** Letter of the state: R, S, D, T (stopped), Z (zombie), … */
  state: string;
  parent: number;
  group: number;
  session: number;
  startTime: string;
  /** Processor time it has used, in milliseconds. */
  processorTime: number;
}

/** Clock ticks of /proc/<pid>/stat are hundredths of a second on every Linux that Node runs on. */
const TICK_MS = 10;

let bootId: Promise<string> | null = null;

/** Id of this boot of the machine. */
export function currentBootId(): Promise<string> {
  bootId ??= readFile('/proc/sys/kernel/random/boot_id', 'utf8').then((text) => text.trim());
  return bootId;
}

/** Reads a process's line, or null when there is no such process. */
export async function readStat(pid: number): Promise<ProcessStat | null> {
  try {
    return parseStat(await readFile(`/proc/${pid}/stat`, 'utf8'));
  } catch (error) {
    if (isGone(error)) return null;
    throw error;
  }
}

/** The name of the program stands in parentheses and may itself contain spaces and parentheses. */
export function parseStat(line: string): ProcessStat | null {
  const pid = Number.parseInt(line, 10);
  const fields = line.slice(line.lastIndexOf(') ') + 2).split(' ');
  const [state, parent, group, session] = fields;
  const [userTicks, systemTicks] = [Number(fields[11]), Number(fields[12])];
  const startTime = fields[19];
  if (!Number.isInteger(pid) || state === undefined || startTime === undefined) return null;
  return {
    pid,
    state,
    parent: Number(parent),
    group: Number(group),
    session: Number(session),
    startTime,
    processorTime: (userTicks + systemTicks) * TICK_MS,
  };
}

/** The line of exactly that process; null when it has ended, also when its pid is now somebody else's. */
export async function statOf(identity: ProcessIdentity): Promise<ProcessStat | null> {
  if (identity.bootId !== (await currentBootId())) return null;
  const stat = await readStat(identity.pid);
  if (!stat || stat.startTime !== identity.startTime) return null;
  // A zombie only waits for somebody to read its exit code.
  return stat.state === 'Z' || stat.state === 'X' ? null : stat;
}

/** True for the errors by which the system says that a process or file has just gone. */
export function isGone(error: unknown): boolean {
  const code = errorCode(error);
  return code === 'ENOENT' || code === 'ESRCH';
}

/** The system's code of an error (`ENOENT`, …), or an empty text. */
export function errorCode(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
}
