/** RUNNING_SETUP_SCRIPT: the project's own `.openhands/setup.sh`. */
import { shellQuote } from '../../agent-server/shell.js';
import { maskText } from '../../contract/masking.js';
import { isCalledOff, whileBeating, type ActivityScope } from './activity-scope.js';
import { agentServerFailure, lastLines } from './failures.js';
import type { StartLoader } from './start-loader.js';
import type { StartPreparationDeps } from './start-deps.js';

/** Name under which a later phase finds {@link SetupOutcome}. */
export const SETUP_ARTIFACT = 'setup';

/** How the script ended, for the agent and for the conversation's tags. */
export interface SetupOutcome {
  /** 0 is success; negative when it was ended by a signal or by its time limit. */
  exitCode: number;
  timedOut: boolean;
  /** Its last lines, secrets masked. */
  tail: string;
}

/**
 * The script is sourced by bash with the project as its directory, in a shell of its own, so that its `exit` and its
 * options end there. What it leaves running in the background keeps no pipe of ours open: its output goes to a file.
 */
export const setupScript = (projectDirectory: string): string => `
directory=${shellQuote(projectDirectory)}
cd -- "$directory" || exit 125
log="$(git rev-parse --absolute-git-dir 2>/dev/null || echo "$directory/.openhands")/callboard-setup.log"
trap 'tail -n 40 -- "$log"; exit 143' TERM INT HUP
(
  exec </dev/null >"$log" 2>&1
  trap - TERM INT HUP
  source ./.openhands/setup.sh
)
code=$?
tail -n 40 -- "$log"
exit "$code"
`;

/**
 * Runs the script once: an attempt that lost its worker is continued by the next one, not repeated. A failing script
 * does not fail the start; it is logged, and the agent is told of it.
 */
export async function runSetupScript(
  deps: StartPreparationDeps,
  load: StartLoader,
  scope: ActivityScope,
  taskId: string,
): Promise<{ exitCode: number }> {
  const start = await load(taskId);
  const seconds = deps.limits.setupScriptSeconds;
  const key = `setup:${taskId}`;
  const { projectDirectory } = await start.project();
  const secrets = start.secretValues();
  const result = await whileBeating(scope, 'running .openhands/setup.sh', async () => {
    try {
      return await start.client.runScript({
        script: setupScript(projectDirectory),
        timeoutSeconds: seconds,
        key,
        signal: scope.signal,
        onAbort: 'leave',
      });
    } catch (error) {
      if (isCalledOff(scope.signal)) await start.client.stopCommand(key);
      throw agentServerFailure(error, 'run .openhands/setup.sh', secrets);
    }
  });
  const outcome: SetupOutcome = {
    exitCode: result.exitCode,
    timedOut: result.timedOut,
    tail: maskText(lastLines(`${result.stdout}\n${result.stderr}`, 40), secrets),
  };
  await deps.startTasks.putArtifact(taskId, SETUP_ARTIFACT, outcome);
  if (outcome.exitCode !== 0) {
    deps.log.warn(
      { taskId, exitCode: outcome.exitCode, timedOut: outcome.timedOut, tail: outcome.tail },
      'the setup script of the project failed',
    );
  }
  return { exitCode: outcome.exitCode };
}
