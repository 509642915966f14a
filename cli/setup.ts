import type { Config } from '../config/config.js';
import type { Progress } from './progress.js';
import { ensureAgentServer } from './provision/agent-server.js';
import { ensureTemporalCli } from './provision/temporal-cli.js';
import { UserError } from './user-error.js';

export interface SetupOptions {
  config: Config;
  env: NodeJS.ProcessEnv;
  progress: Progress;
  /** Ends what has begun. */
  signal?: AbortSignal;
}

/** Refuses what this version cannot do, before anything is started for it. */
export function requireProcessRuntime({ sandboxes }: Pick<Config, 'sandboxes'>): void {
  if (sandboxes.runtime === 'process') return;
  throw new UserError(
    `RUNTIME=${sandboxes.runtime} is not available in this version: use RUNTIME=process, in which sandboxes are processes of this machine.`,
  );
}

/** Makes the Temporal CLI available and returns its path. */
export function setUpTemporalCli({ config, env, progress, signal }: SetupOptions): Promise<string> {
  return progress.step(
    'Temporal CLI',
    (note) =>
      ensureTemporalCli({ env: { ...env, TEMPORAL_CLI: config.temporal.cli ?? undefined }, note, signal }),
    (path) => path,
  );
}

/** Makes the agent-server available and returns the command that starts it. */
export function setUpAgentServer({ config, env, progress, signal }: SetupOptions): Promise<string[]> {
  return progress.step(
    `agent-server ${config.agentServer.command ? '(given)' : config.agentServer.version}`,
    (note) =>
      ensureAgentServer({
        env,
        version: config.agentServer.version,
        command: config.agentServer.command,
        note,
        signal,
      }),
    (command) => command.join(' '),
  );
}

/** `callboard setup`: everything that later commands would otherwise fetch or build when they need it. */
export async function runSetup(options: SetupOptions): Promise<void> {
  const { config } = options;
  const results = await Promise.allSettled([
    setUpTemporalCli(options),
    config.sandboxes.runtime === 'process' ? setUpAgentServer(options) : undefined,
  ]);
  for (const result of results) if (result.status === 'rejected') throw result.reason;
}
