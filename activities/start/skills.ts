/** SETTING_UP_SKILLS: what the agent is told about project, user and instance, and the project's hooks. */
import { AgentServerError } from '../../agent-server/errors.js';
import type { SkillsRequest } from '../../agent-server/workspace.js';
import { marketplacesOf } from '../../contract/marketplaces.js';
import { maskText } from '../../contract/masking.js';
import { whileBeating, type ActivityScope } from './activity-scope.js';
import { mirrorLlmProfiles } from './llm-profiles.js';
import { readServerSkills } from '../../config/server-skills.js';
import { mergeSkills, skillPayload, type SkillPayload } from '../../contract/skill.js';
import type { StartPreparationDeps } from './start-deps.js';
import type { Project, Start, StartLoader } from './start-loader.js';

/** Name under which the start request finds {@link PreparedSkills}. */
export const SKILLS_ARTIFACT = 'skills';

export interface PreparedSkills {
  skills: SkillPayload[];
  hookConfig: Record<string, unknown> | null;
}

/** The public registry is a git clone: where the network swallows packets, a start must not wait for it. */
const WITH_PUBLIC_MS = 20_000;
const WITHOUT_PUBLIC_MS = 30_000;

/** Loads skills and hooks and keeps them for the start request. */
export async function prepareSkills(
  deps: StartPreparationDeps,
  load: StartLoader,
  scope: ActivityScope,
  taskId: string,
): Promise<void> {
  await deps.startTasks.putArtifact(taskId, SKILLS_ARTIFACT, await loadSkills(deps, load, scope, taskId));
}

/**
 * Loads skills and hooks side by side. What cannot be loaded is left out and logged: a conversation without it is better
 * than none.
 */
export async function loadSkills(
  deps: StartPreparationDeps,
  load: StartLoader,
  scope: ActivityScope,
  taskId: string,
): Promise<PreparedSkills> {
  const start = await load(taskId);
  const project = await start.project();
  const userDirectories = start.task.createdByUserId === null ? deps.userSkillsDirectories : [];
  const leaveOut = <Value>(what: string, instead: Value) => {
    return (error: unknown): Value => {
      scope.signal.throwIfAborted();
      if (!(error instanceof AgentServerError)) throw error;
      deps.log.warn(
        { taskId, reason: maskText(error.message, start.secretValues()) },
        `${what} could not be loaded`,
      );
      return instead;
    };
  };
  return whileBeating(scope, 'loading skills and hooks', async () => {
    const registered = marketplacesOf(start.settings);
    // Marketplaces stand in the place of the public registry.
    const kept = registered === null ? deps.publicSkills.take(start.sandbox.id) : null;
    const withPublic = kept === null && (registered !== null || !deps.publicSkills.areOutOfReach());
    const withoutPublic = (): void => {
      deps.log.warn(
        { taskId },
        'the public skills, or marketplaces, did not come in time: they are left out',
      );
      if (registered === null) deps.publicSkills.missed();
    };
    const [server, sandbox, hookConfig] = await Promise.all([
      localSkills(deps, taskId, [deps.skillsDirectory, ...userDirectories]),
      sandboxSkills(start, project, { registered, withPublic, withoutPublic }, scope.signal).catch(
        leaveOut('skills', []),
      ),
      projectHooks(start, project, scope.signal).catch(leaveOut('hooks', null)),
      mirrorLlmProfiles(start, scope.signal).catch(leaveOut('LLM profiles', undefined)),
    ]);
    return {
      skills: mergeSkills([server, kept ?? [], sandbox], start.settings.disabled_skills ?? []),
      hookConfig,
    };
  });
}

/**
 * Lets the agent-server get hold of the public skills while the repository is prepared: its first load takes it a tenth
 * of a second of its own, and a clone where there is a network; later ones find both done. Asked, not waited for.
 */
export function loadSkillsAhead(
  deps: Pick<StartPreparationDeps, 'log' | 'publicSkills'>,
  start: Start,
  { workingDirectory }: Project,
): void {
  if (deps.publicSkills.has(start.sandbox.id) || deps.publicSkills.areOutOfReach()) return;
  const request: SkillsRequest = {
    load_public: true,
    load_user: true,
    load_project: false,
    load_org: false,
    project_dir: workingDirectory,
  };
  start.client.skills(request, { timeoutMs: WITH_PUBLIC_MS }).catch((error: unknown) => {
    if (error instanceof AgentServerError) return; // whatever it is, the load that counts meets it again
    const reason = maskText(String(error), start.secretValues());
    deps.log.warn({ taskId: start.task.id, reason }, 'skills could not be loaded ahead');
  });
}

/** Skills in directories of this server: those of everybody first, then the user's own. */
async function localSkills(
  deps: Pick<StartPreparationDeps, 'log'>,
  taskId: string,
  directories: readonly string[],
): Promise<SkillPayload[]> {
  const found = await Promise.all(directories.map(readServerSkills));
  for (const { file, reason } of found.flatMap(({ refused }) => refused))
    deps.log.warn({ taskId, file, reason }, 'a skill of this server cannot be used');
  return found.flatMap(({ skills }) => skills);
}

const projectHooks = async (
  start: Start,
  { projectDirectory, isNew }: Project,
  signal: AbortSignal,
): Promise<Record<string, unknown> | null> =>
  isNew ? null : start.client.hooks(projectDirectory, { signal });

interface PublicPart {
  registered: ReturnType<typeof marketplacesOf>;
  /** Whether the public skills are asked for, or the marketplaces in their place. */
  withPublic: boolean;
  /** Told when they did not come in time. */
  withoutPublic: () => void;
}

async function sandboxSkills(
  start: Start,
  { projectDirectory, isNew }: Project,
  { registered, withPublic, withoutPublic }: PublicPart,
  signal: AbortSignal,
): Promise<SkillPayload[]> {
  const request: SkillsRequest = {
    load_public: withPublic,
    load_user: true,
    load_project: !isNew,
    load_org: true,
    project_dir: projectDirectory,
    sandbox_config: { exposed_urls: start.sandbox.exposedUrls ?? [] },
    registered_marketplaces: registered,
  };
  const answer = await start.client
    .skills(request, { signal, timeoutMs: withPublic ? WITH_PUBLIC_MS : WITHOUT_PUBLIC_MS })
    .catch((error: unknown) => {
      if (!withPublic || !(error instanceof AgentServerError) || error.kind !== 'timeout') throw error;
      withoutPublic();
      return start.client.skills(
        { ...request, load_public: false },
        { signal, timeoutMs: WITHOUT_PUBLIC_MS },
      );
    });
  return answer.skills.map((skill) => skillPayload(skill));
}
