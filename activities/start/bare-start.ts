/** A start without repository: its phases are short, so that they are one step, with all of their statuses. */
import { START_STATUSES, type StartStatus } from '../../contract/start-task.js';
import type { ActivityScope } from './activity-scope.js';
import { createConversation } from './conversation.js';
import { withOwnTries } from './own-tries.js';
import { needsNothing, prepareRepository, type PreparedRepository } from './repository.js';
import { loadSkills } from './skills.js';
import type { StartPreparationDeps } from './start-deps.js';
import { remembered, type StartLoader } from './start-loader.js';

/** Passed in one go up to the loading of skills; what has been passed before is left out. */
const PHASES_WITHOUT_WORK = [
  'PREPARING_REPOSITORY',
  'RUNNING_SETUP_SCRIPT',
  'SETTING_UP_GIT_HOOKS',
  'SETTING_UP_SKILLS',
] as const;

/** The conversation of a start; or, before anything of it, what the directory turned out to hold. */
export type BareStart = { conversationId: string } | { found: PreparedRepository };

/**
 * Goes from PREPARING_REPOSITORY to the conversation on the agent-server. Each status is stored and announced before
 * its work begins, those without any together, but for the loading of skills for a new directory, which a repetition
 * does again. Tried again, it goes on where the statuses stand. What takes its time (a setup script, a hook) is left to
 * steps of their own.
 */
export async function startBare(
  deps: StartPreparationDeps,
  load: StartLoader,
  scope: ActivityScope,
  taskId: string,
): Promise<BareStart> {
  const { startTasks } = deps;
  const loadOnce = remembered(() => load(taskId));
  const start = await loadOnce();
  const { task, sandbox } = start;
  const isFresh = isBefore(task.status, 'RUNNING_SETUP_SCRIPT');
  // In a new directory there are neither skills nor hooks, so that those from elsewhere need not wait for it.
  const ahead =
    isFresh && (await start.project()).isNew ? begun(loadSkills(deps, loadOnce, scope, taskId)) : null;
  // Once the conversation may have begun, what lies in its directory is its own.
  if (isFresh && !(await needsNothing(start))) {
    await startTasks.passThrough(taskId, ['PREPARING_REPOSITORY']);
    const found = await withOwnTries(scope, (attempt) => prepareRepository(deps, loadOnce, attempt, taskId));
    if (found.hasSetupScript || found.hasPreCommitHook) return { found };
  }
  await startTasks.passThrough(taskId, PHASES_WITHOUT_WORK);
  const skills = await (ahead ?? loadSkills(deps, loadOnce, scope, taskId));
  scope.signal.throwIfAborted();
  const { agentServerUrl } = sandbox;
  await startTasks.passThrough(taskId, ['STARTING_CONVERSATION'], { agentServerUrl });
  const before = { skills, mayHaveRunSetup: !isFresh };
  const { conversationId } = await createConversation(deps, loadOnce, scope, taskId, before);
  return { conversationId };
}

/** Work that is waited for later: should it fail meanwhile, or never be waited for, nobody is to be told before. */
function begun<Result>(work: Promise<Result>): Promise<Result> {
  work.catch(() => undefined);
  return work;
}

const isBefore = (status: StartStatus, other: StartStatus): boolean =>
  START_STATUSES.indexOf(status) < START_STATUSES.indexOf(other);
