/** The agent-servers of an installation as the machine knows them. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export interface AgentProcess {
  pid: number;
  sandboxId: string;
  state: 'running' | 'stopped';
}

/** Those that the records of sandboxes name and that live, by sandbox. */
export function recordedAgents(hostDirectories: readonly string[]): AgentProcess[] {
  return sandboxDirectories(hostDirectories).flatMap(({ sandboxId, directory }) => {
    const record = readText(join(directory, 'sandbox.json'));
    const pid = record === null ? null : (JSON.parse(record) as { pid: number }).pid;
    const state = pid === null ? null : stateOf(pid);
    return pid === null || state === null || !belongsTo(pid, directory) ? [] : [{ pid, sandboxId, state }];
  });
}

/** All directories of sandboxes. */
export function sandboxDirectories(
  hostDirectories: readonly string[],
): { sandboxId: string; directory: string }[] {
  return hostDirectories.flatMap((host) => {
    const root = join(host, 'sandboxes');
    if (!existsSync(root)) return [];
    // What begins with a dot is the worker's own.
    const ids = readdirSync(root).filter((name) => !name.startsWith('.'));
    return ids.map((sandboxId) => ({ sandboxId, directory: join(root, sandboxId) }));
  });
}

/** Every process that carries the mark of a sandbox below one of the directories. */
export function markedProcesses(hostDirectories: readonly string[]): AgentProcess[] {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  return pids.map(Number).flatMap((pid): AgentProcess[] => {
    const variables = environmentOf(pid);
    const state = stateOf(pid);
    const sandboxId = variables.get('CALLBOARD_SANDBOX_ID');
    const home = variables.get('OH_CONVERSATIONS_PATH') ?? '';
    if (sandboxId === undefined || state === null) return [];
    return hostDirectories.some((host) => home.startsWith(`${host}/`)) ? [{ pid, sandboxId, state }] : [];
  });
}

/** Whether it is an agent-server, and not something that one has started. */
export const isAgentServer = ({ pid }: AgentProcess): boolean => {
  const words = (readText(`/proc/${pid}/cmdline`) ?? '').split('\0');
  return (
    words.includes('--port') && words.some((word) => /light-agent-server\/main\.js|agent_server/.test(word))
  );
};

function belongsTo(pid: number, directory: string): boolean {
  return (environmentOf(pid).get('OH_CONVERSATIONS_PATH') ?? '').startsWith(`${directory}/`);
}

function environmentOf(pid: number): Map<string, string> {
  const entries = (readText(`/proc/${pid}/environ`) ?? '').split('\0');
  return new Map(
    entries.map((entry): [string, string] => {
      const at = entry.indexOf('=');
      return [entry.slice(0, at), entry.slice(at + 1)];
    }),
  );
}

/** Null for a process that is not there, or is dead and waits for its parent. */
function stateOf(pid: number): AgentProcess['state'] | null {
  const stat = readText(`/proc/${pid}/stat`);
  const state = stat?.slice(stat.lastIndexOf(')') + 2).charAt(0);
  if (state === undefined || state === 'Z' || state === 'X') return null;
  return state === 'T' ? 'stopped' : 'running';
}

function readText(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : '';
    if (['ENOENT', 'ESRCH', 'ENOTDIR', 'EACCES'].includes(code)) return null; // it ended while we looked
    throw error;
  }
}
