/** What processes of this machine have used. */
import { readdirSync, readFileSync } from 'node:fs';
import { isGone } from '../sandboxes/process-identity.js';

/** Ticks of the clock in which Linux counts processor time. */
const TICKS_PER_SECOND = 100;

/** Processor seconds of a process since it began, of all its threads. */
export function processorSeconds(pid: number | undefined): number {
  const fields = statOf(pid ?? 'self');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

/** Processor seconds of a process and of all that it has started, those that have ended included. */
export function processorSecondsOfAll(pid: number | undefined): number {
  if (pid === undefined) return 0;
  const [, , , , , , , , , , , own, system, children, childrenSystem] = statOf(pid).map(Number);
  const used = ((own ?? 0) + (system ?? 0) + (children ?? 0) + (childrenSystem ?? 0)) / TICKS_PER_SECOND;
  const living = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ');
  return living.filter(Boolean).reduce((sum, child) => sum + processorSecondsOfAll(Number(child)), used);
}

/** The process that was started with all these words among its arguments; undefined when there is none. */
export function processWith(...words: string[]): number | undefined {
  const found = readdirSync('/proc').find((name) => {
    if (!/^\d+$/.test(name)) return false;
    const command = argumentsOf(name);
    return words.every((word) => command.some((argument) => argument.includes(word)));
  });
  return found === undefined ? undefined : Number(found);
}

function argumentsOf(pid: string): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
  } catch (error) {
    if (isGone(error)) return []; // it has ended since it was listed
    throw error;
  }
}

const statOf = (pid: number | 'self'): string[] => {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
};

/** Resident memory of a process in MB. */
export function residentMegabytes(pid: number | undefined): number {
  const status = readFileSync(`/proc/${pid ?? 'self'}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) / 1_024;
}

/** What the processors of a machine have had to do, in ticks: all of it, waiting included, and what a hypervisor gave to others. */
export interface MachineTime {
  all: number;
  stolen: number;
}

export function machineTime(): MachineTime {
  const [line = ''] = readFileSync('/proc/stat', 'utf8').split('\n');
  // user, nice, system, idle, iowait, irq, softirq, steal; what follows is part of user.
  const ticks = line.split(/\s+/).slice(1, 9).map(Number);
  return { all: ticks.reduce((sum, count) => sum + count, 0), stolen: ticks[7] ?? 0 };
}

/** Share of all processor time, from 0 to 1, that a virtual machine did not get since `before`. */
export function stolenSince(before: MachineTime, now = machineTime()): number {
  return now.all === before.all ? 0 : (now.stolen - before.stolen) / (now.all - before.all);
}
