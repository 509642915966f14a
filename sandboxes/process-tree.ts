/** All processes of a sandbox: the agent-server's descendants, and whatever carries the sandbox's mark. */
import { readdir, readFile } from 'node:fs/promises';
import { errorCode, isGone, parseStat } from './process-identity.js';
import type { ProcessStat } from './process-identity.js';

/** Variable by which the processes of a sandbox are known, whoever their parent has become. */
export const SANDBOX_MARK = 'CALLBOARD_SANDBOX_ID';

/** Parents before children. */
export type ProcessTree = readonly ProcessStat[];

/** A living process, and the sandbox whose mark it carries; null without one, or when nobody may read it. */
interface MarkedProcess {
  stat: ProcessStat;
  sandboxId: string | null;
}

/**
 * Finds the living processes of a sandbox. A process that left both its ancestors and its environment behind
 * (a daemon started with `env -i`) is not found.
 */
export async function processesOf(sandboxId: string, serverPid?: number): Promise<ProcessTree> {
  const all = await look();
  const found = new Map<number, ProcessStat>();
  const children = new Map<number, ProcessStat[]>();
  for (const { stat } of all) {
    const siblings = children.get(stat.parent);
    if (siblings) siblings.push(stat);
    else children.set(stat.parent, [stat]);
  }
  const visit = (stat: ProcessStat): void => {
    if (found.has(stat.pid)) return;
    found.set(stat.pid, stat);
    for (const child of children.get(stat.pid) ?? []) visit(child);
  };
  const roots = all
    .filter((process) => process.stat.pid === serverPid || process.sandboxId === sandboxId)
    .map(({ stat }) => stat);
  const rootPids = new Set(roots.map(({ pid }) => pid));
  // Roots whose parent is a root as well are reached from it, so that parents come first.
  for (const root of roots) if (!rootPids.has(root.parent)) visit(root);
  for (const root of roots) visit(root);
  return [...found.values()].filter(({ pid }) => pid !== process.pid);
}

/** The look that is under way, and the one that begins when it has ended. */
let looking: Promise<unknown> | null = null;
let next: Promise<readonly MarkedProcess[]> | null = null;

/**
 * Looks through all processes, once for all who ask at the same time. Nobody gets a look that began before the question:
 * a process that was made in between would not be in it.
 */
function look(): Promise<readonly MarkedProcess[]> {
  next ??= (looking ?? Promise.resolve()).then(() => {
    next = null;
    const scan = everyProcess();
    looking = Promise.allSettled([scan]).then(() => undefined); // how it went is told to those who asked
    return scan;
  });
  return next;
}

async function everyProcess(): Promise<readonly MarkedProcess[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const processes = await Promise.all(
    pids.map(async (pid) => {
      const [line, environment] = await Promise.all([
        read(`/proc/${pid}/stat`),
        read(`/proc/${pid}/environ`),
      ]);
      const stat = parseStat(line ?? '');
      return stat === null || stat.state === 'Z' || stat.state === 'X'
        ? null
        : { stat, sandboxId: markOf(environment ?? '') };
    }),
  );
  return processes.filter((process) => process !== null);
}

function markOf(environment: string): string | null {
  const marked = environment.split('\0').find((variable) => variable.startsWith(`${SANDBOX_MARK}=`));
  return marked?.slice(SANDBOX_MARK.length + 1) ?? null;
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
