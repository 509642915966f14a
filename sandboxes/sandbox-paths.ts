/** Where a process sandbox keeps what. */
import { createHash } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { SandboxRefusal } from './backend.js';

export interface SandboxPaths {
  /** Everything of the sandbox but its sockets; removed with it. Also the server's working directory. */
  directory: string;
  home: string;
  /** Projects live here; the default workspace. */
  project: string;
  conversations: string;
  bashEvents: string;
  /** Settings and LLM profiles of the agent-server. */
  persistence: string;
  /** Sockets of its terminals, outside of `directory` because their paths may have about 100 characters. */
  terminals: string;
  log: string;
  /** The log before the last rotation. */
  oldLog: string;
  /** Held by the agent-server for as long as it lives. */
  lock: string;
  /** The handle of the last launch; without secrets. */
  record: string;
  /** How the last agent-server ended, where that became known. */
  exit: string;
}

/** Longest path of a socket that every system accepts, less `/tmux-<uid>/openhands`. */
const LONGEST_TERMINALS_PATH = 75;

const ID_PATTERN = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/;

/** True for a text that can be the name of a sandbox's directory. */
export const isSandboxId = (text: string): boolean => ID_PATTERN.test(text);

/** @throws {SandboxRefusal} for an id that could lead out of the root directory */
export function sandboxPaths(rootDirectory: string, sandboxId: string): SandboxPaths {
  if (!isSandboxId(sandboxId)) {
    throw new SandboxRefusal(
      'SandboxIdInvalid',
      'A sandbox id has 1 to 128 letters, digits and ._- and does not begin with . or -.',
    );
  }
  return pathsBelow(join(resolve(rootDirectory), sandboxId));
}

/** Where a sandbox in that directory has what. */
export const pathsBelow = (directory: string): SandboxPaths => ({
  directory,
  home: join(directory, 'home'),
  project: join(directory, 'workspace', 'project'),
  conversations: join(directory, 'conversations'),
  bashEvents: join(directory, 'bash_events'),
  persistence: join(directory, 'persistence'),
  terminals: terminalsDirectory(directory),
  log: join(directory, 'agent-server.log'),
  oldLog: join(directory, 'agent-server.log.1'),
  lock: join(directory, 'lock'),
  record: join(directory, 'sandbox.json'),
  exit: join(directory, 'exit.json'),
});

/** Short, and unique for the sandbox's directory rather than its id: two roots may know the same id. */
function terminalsDirectory(directory: string): string {
  const name = `callboard-${createHash('sha256').update(directory).digest('hex').slice(0, 16)}`;
  const below = join(tmpdir(), name);
  return below.length <= LONGEST_TERMINALS_PATH ? below : join('/tmp', name);
}
