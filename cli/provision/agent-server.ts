import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { projectRoot } from '../project-root.js';
import { UserError } from '../user-error.js';
import { cacheDirectory } from './cache.js';
import { runProgram } from './run-program.js';

export interface AgentServerOptions {
  env: NodeJS.ProcessEnv;
  /** Version of the agent-server and its libraries. */
  version: string;
  /** A command that was configured; it is used as it is. */
  command?: readonly string[] | null;
  /** Takes what is being done at the moment. */
  note: (detail: string) => void;
  /** Ends an installation that has begun. */
  signal?: AbortSignal;
  /** For tests: another installer. */
  script?: string;
}

/** Whether the installer has brought a version of the agent-server to its end for this user. */
export const isAgentServerInstalled = (env: NodeJS.ProcessEnv, version: string): boolean =>
  existsSync(join(cacheDirectory(env), 'agent-server', version, 'complete'));

const INSTALL_TIMEOUT_MS = 30 * 60_000;

/**
 * The command (program and arguments) that starts an agent-server; its own flags are appended.
 * Installs the server the first time. Throws `UserError` when that is not possible.
 */
export async function ensureAgentServer(options: AgentServerOptions): Promise<string[]> {
  if (options.command && options.command.length > 0) return [...options.command];
  const script = options.script ?? join(projectRoot(), 'scripts', 'agent-server.sh');
  const said: string[] = [];
  const result = await runProgram('bash', [script, '--version', options.version], {
    env: options.env,
    timeoutMs: INSTALL_TIMEOUT_MS,
    signal: options.signal,
    onStderrLine: (line) => {
      const detail = line.replace(/^agent-server: /, '');
      said.push(detail);
      options.note(detail);
    },
  });
  const command = result.stdout.trim();
  if (result.status === 0 && command && !command.includes('\n')) return [command];
  options.signal?.throwIfAborted();
  throw new UserError(
    `The agent-server cannot be made available: ${said.slice(-4).join('; ') || result.stderr || 'its installer said nothing'}.`,
  );
}
