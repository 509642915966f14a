/** SETTING_UP_GIT_HOOKS: the project's `.openhands/pre-commit.sh` becomes git's pre-commit hook. */
import { shellQuote } from '../../agent-server/shell.js';
import { whileBeating, type ActivityScope } from './activity-scope.js';
import { maskText } from '../../contract/masking.js';
import { agentServerFailure, lastLines } from './failures.js';
import type { StartPreparationDeps } from './start-deps.js';
import type { StartLoader } from './start-loader.js';

const HOOK_SECONDS = 30;

/** The line by which a hook of ours is recognised. */
const SIGNATURE = '# Installed by Callboard';

const HOOK = `#!/bin/bash
${SIGNATURE}: the project's own check first, then the hook that was here before.
top="$(git rev-parse --show-toplevel)" || exit 1
if [ -f "$top/.openhands/pre-commit.sh" ]; then
  (cd "$top" && bash .openhands/pre-commit.sh "$@") || exit $?
fi
before="$(dirname "$0")/pre-commit.local"
if [ -x "$before" ]; then exec "$before" "$@"; fi
exit 0
`;

/**
 * Installs the hook. One that is there already is kept as `pre-commit.local` and runs after it; if there is such a
 * file already as well, that is kept aside under a name of its own. Repeated, it changes nothing.
 */
export const hookScript = (projectDirectory: string): string => `
set -eu
cd -- ${shellQuote(projectDirectory)}
[ -f .openhands/pre-commit.sh ] || exit 0
hooks="$(cd -- "$(git rev-parse --git-common-dir)" && pwd)/hooks"
mkdir -p -- "$hooks"
hook="$hooks/pre-commit"
if [ -e "$hook" ] && ! grep -qF -- ${shellQuote(SIGNATURE)} "$hook"; then
  if [ -e "$hook.local" ]; then mv -- "$hook.local" "$hook.local.$(date +%s)"; fi
  mv -- "$hook" "$hook.local"
fi
printf '%s' ${shellQuote(HOOK)} >"$hook.new"
chmod 755 "$hook.new"
mv -- "$hook.new" "$hook"
`;

/** Installs the hook; where that is not possible the conversation is worth having without it, and the log says so. */
export async function installGitHooks(
  deps: Pick<StartPreparationDeps, 'log'>,
  load: StartLoader,
  scope: ActivityScope,
  taskId: string,
): Promise<void> {
  const start = await load(taskId);
  const { projectDirectory } = await start.project();
  const secrets = start.secretValues();
  const result = await whileBeating(scope, 'installing the pre-commit hook', () =>
    start.client
      .runScript({ script: hookScript(projectDirectory), timeoutSeconds: HOOK_SECONDS, signal: scope.signal })
      .catch((error: unknown) => {
        throw agentServerFailure(error, 'install the pre-commit hook', secrets);
      }),
  );
  if (result.exitCode === 0) return;
  const tail = maskText(lastLines(result.stderr), secrets);
  deps.log.warn({ taskId, exitCode: result.exitCode, tail }, 'the pre-commit hook could not be installed');
}
