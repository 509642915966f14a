/** All processes of a sandbox: the agent-server's descendants, and whatever carries the sandbox's mark. */
import { readdir, readFile } from 'node:fs/promises';
import { errorCode, isGone, parseStat } from './process-identity.js';
import type { ProcessStat } from './process-identity.js';

/** Variable by which the processes of a sandbox are known, whoever their parent has become. */
export const SANDBOX_MARK = 'CALLBOARD_SANDBOX_ID';

/** Parents before children. */
export type ProcessTree = readonly ProcessStat[];

/**
 * Finds the living processes of a sandbox. A process that left both its ancestors and its environment behind
 * (a daemon started with `env -i`) is not found.
 */
export async function processesOf(sandboxId: string, serverPid?: number): Promise<ProcessTree> {
  const all = await everyProcess();
  const marked = await Promise.all(
    all.map(async (stat) => (stat.pid === serverPid || (await hasMark(stat.pid, sandboxId)) ? stat : null)),
  );
  const found = new Map<number, ProcessStat>();
  const children = new Map<number, ProcessStat[]>();
  for (const stat of all) children.set(stat.parent, [...(children.get(stat.parent) ?? []), stat]);
  const visit = (stat: ProcessStat): void => {
    if (found.has(stat.pid)) return;
    found.set(stat.pid, stat);
    for (const child of children.get(stat.pid) ?? []) visit(child);
  };
  const roots = marked.filter((stat) => stat !== null);
  const rootPids = new Set(roots.map(({ pid }) => pid));
  // Roots whose parent is a root as well are reached from it, so that parents come first.
  for (const root of roots) if (!rootPids.has(root.parent)) visit(root);
  for (const root of roots) visit(root);
  return [...found.values()].filter(({ pid }) => pid !== process.pid);
}

async function everyProcess(): Promise<ProcessStat[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const stats = await Promise.all(
    pids.map(async (pid) => parseStat((await read(`/proc/${pid}/stat`)) ?? '')),
  );
  return stats.filter((stat) => stat !== null).filter(({ state }) => state !== 'Z' && state !== 'X');
}

async function hasMark(pid: number, sandboxId: string): Promise<boolean> {
  const environment = await read(`/proc/${pid}/environ`);
  return environment?.split('\0').includes(`${SANDBOX_MARK}=${sandboxId}`) ?? false;
}

/** A file of /proc, or null when the process has gone or belongs to somebody else. */
async function read(path: string): Promise<string | null> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (isGone(error) || isForbidden(error)) return null;
    throw error;
  }
}

const isForbidden = (error: unknown): boolean => ['EACCES', 'EPERM'].includes(errorCode(error));

/** Sends a signal to exactly these processes; those that have ended meanwhile are passed over. */
export function signalAll(tree: ProcessTree, signal: NodeJS.Signals): void {
  for (const { pid } of tree) {
    try {
      process.kill(pid, signal);
    } catch (error) {
      if (!isGone(error) && !isForbidden(error)) throw error;
    }
  }
}
