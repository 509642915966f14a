import type { Explanation } from '../failures.js';

/** Why a sandbox is MISSING. */
export const processEnded = (exitCode: number | null): Explanation => ({
  message:
    exitCode === null
      ? 'its process is gone; resume the sandbox to start it again in the same directory'
      : `its process exited with code ${exitCode}; resume the sandbox to start it again in the same directory`,
  type: 'SandboxProcessGone',
});

/** Why a sandbox whose process lives is in ERROR. */
export const noAnswer: Explanation = {
  message:
    'its process lives, but its agent-server has not answered for minutes: wait until it does, or resume the sandbox to restart it in the same directory',
  type: 'SandboxSilent',
};
