import { currentActivity, type ActivityScope } from './activity-scope.js';
import { startBare, type BareStart } from './bare-start.js';
import { withOwnTries } from './own-tries.js';
import { createConversation, discardConversation } from './conversation.js';
import { installGitHooks } from './git-hooks.js';
import { prepareRepository, type PreparedRepository } from './repository.js';
import { runSetupScript } from './setup-script.js';
import { prepareSkills } from './skills.js';
import type { StartPreparationDeps } from './start-deps.js';
import { createStartLoader } from './start-loader.js';

/** What a start does in its sandbox, one activity per status, or one for all that are short. Ids only: everything else is read from SQL. */
export interface StartPreparationActivities {
  /** PREPARING_REPOSITORY: working directory, clone and checkout; answers what the later phases have to do. */
  prepareRepository(taskId: string): Promise<PreparedRepository>;
  /** RUNNING_SETUP_SCRIPT: a failing script does not fail the start; the agent is told of it. */
  runSetupScript(taskId: string): Promise<{ exitCode: number }>;
  /** SETTING_UP_GIT_HOOKS. */
  installGitHooks(taskId: string): Promise<void>;
  /** SETTING_UP_SKILLS: loads skills and hooks and keeps them for the next phase. */
  prepareSkills(taskId: string): Promise<void>;
  /** STARTING_CONVERSATION: creates it on the agent-server, idempotent by its id, and stores what is known of it. */
  createConversation(taskId: string): Promise<{ agentServerUrl: string; conversationId: string }>;
  /** All of these for a start without repository, from PREPARING_REPOSITORY on. */
  startBare(taskId: string): Promise<BareStart>;
  /** Compensation in a sandbox that stays. */
  discardConversation(taskId: string): Promise<void>;
}

/** @param scope the activity that is running; tests without Temporal give one of their own. */
export function createStartPreparationActivities(
  deps: StartPreparationDeps,
  scope: () => ActivityScope = currentActivity,
): StartPreparationActivities {
  const load = createStartLoader(deps);
  return {
    prepareRepository: (taskId) =>
      withOwnTries(scope(), (attempt) => prepareRepository(deps, load, attempt, taskId)),
    runSetupScript: (taskId) =>
      withOwnTries(scope(), (attempt) => runSetupScript(deps, load, attempt, taskId)),
    installGitHooks: (taskId) => installGitHooks(deps, load, scope(), taskId),
    prepareSkills: (taskId) => prepareSkills(deps, load, scope(), taskId),
    createConversation: (taskId) => createConversation(deps, load, scope(), taskId),
    startBare: (taskId) => startBare(deps, load, scope(), taskId),
    discardConversation: (taskId) => discardConversation(deps, load, scope(), taskId),
  };
}
