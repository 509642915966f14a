/** PREPARING_REPOSITORY: the working directory, and the repository in it where one is selected. */
import { randomBytes } from 'node:crypto';
import type { CommandResult } from '../../agent-server/bash.js';
import { AgentServerError } from '../../agent-server/errors.js';
import { base62 } from '../../contract/ids.js';
import { isBranchName } from '../../contract/git-names.js';
import { GIT_PROVIDERS, type GitProvider } from '../../contract/primitives.js';
import { cloneSource, type CloneSource } from '../../git-providers/clone-url.js';
import { InvalidRepository } from '../../git-providers/host-address.js';
import { isCalledOff, whileBeating, type ActivityScope } from './activity-scope.js';
import { cloneFailure } from './clone-failure.js';
import {
  cloneProgressFile,
  cloneScript,
  emptyProjectScript,
  GIT_PASSWORD,
  GIT_USERNAME,
  readReport,
  type GitIdentity,
} from './clone-script.js';
import { agentServerFailure, lastLines, permanentFailure } from './failures.js';
import { loadSkillsAhead } from './skills.js';
import type { StartPreparationDeps } from './start-deps.js';
import type { Start, StartLoader } from './start-loader.js';

/** What the later phases have to do. */
export interface PreparedRepository {
  hasSetupScript: boolean;
  hasPreCommitHook: boolean;
}

const NOTHING_TO_DO: PreparedRepository = { hasSetupScript: false, hasPreCommitHook: false };
const EMPTY_PROJECT_SECONDS = 60;
/** How often git's progress is looked at while it clones, in milliseconds. */
const PROGRESS_MS = 2_000;

export async function prepareRepository(
  deps: StartPreparationDeps,
  load: StartLoader,
  scope: ActivityScope,
  taskId: string,
): Promise<PreparedRepository> {
  const start = await load(taskId);
  const { selected_repository: repository } = start.task.request;
  // Without a clone to wait for, the load that counts would only meet this one half-way.
  if (repository === null) return prepareDirectory(start, scope);
  if (scope.attempt === 1) loadSkillsAhead(deps, start, await start.project());
  return clone(deps, start, repository, scope);
}

/**
 * Without a repository there is nothing to do in a new directory: the agent-server makes it and its git repository when
 * the conversation starts. Only one that may hold something already is looked into.
 */
async function prepareDirectory(start: Start, scope: ActivityScope): Promise<PreparedRepository> {
  if (await needsNothing(start)) return NOTHING_TO_DO;
  const { projectDirectory } = await start.project();
  const identity = identityOf(start);
  const result = await whileBeating(scope, 'preparing the working directory', () =>
    start.client
      .runScript({
        script: emptyProjectScript({ directory: projectDirectory, identity }),
        timeoutSeconds: EMPTY_PROJECT_SECONDS,
        signal: scope.signal,
      })
      .catch((error: unknown) => {
        throw agentServerFailure(error, 'prepare the working directory', start.secretValues());
      }),
  );
  if (result.exitCode === 0) return found(result);
  throw permanentFailure(
    'WorkingDirectoryUnusable',
    `The working directory ${projectDirectory} could not be prepared in the sandbox (exit code ${result.exitCode}): ${lastLines(result.stderr)}. Make it writable for the sandbox.`,
    start.secretValues(),
  );
}

/** Whether a start without repository has nothing to prepare. */
export async function needsNothing(start: Start): Promise<boolean> {
  const { name, email } = identityOf(start);
  return name === null && email === null && (await start.project()).isNew;
}

async function clone(
  deps: StartPreparationDeps,
  start: Start,
  repository: string,
  scope: ActivityScope,
): Promise<PreparedRepository> {
  const { request, id: taskId } = start.task;
  const secrets = start.secretValues();
  const branch = request.selected_branch;
  if (branch !== null && !isBranchName(branch)) {
    throw permanentFailure(
      'InvalidBranchName',
      `invalid branch name: ${JSON.stringify(branch.slice(0, 100))} is not a name that git accepts; choose another branch.`,
      secrets,
    );
  }
  const provider = chooseProvider(request.git_provider, start.providerTokens);
  const source = sourceOf(start, provider, repository);
  const { projectDirectory, workingDirectory } = await start.project();
  const workplace = `${workingDirectory}/.callboard-clone-${taskId}`;
  const key = `clone:${taskId}`;
  const script = cloneScript({
    url: source.url,
    origin: source.origin,
    authenticated: source.credentials !== null,
    destination: projectDirectory,
    workplace,
    branch,
    freshBranch: `openhands-workspace-${base62(randomBytes(12))}`,
    shallow: !start.settings.git_full_clone,
    maySwitchBranch: request.parent_conversation_id === null,
    identity: identityOf(start),
  });

  let progress = '';
  const watch = watchProgress(start, cloneProgressFile(workplace), (line) => (progress = line));
  const result = await whileBeating(
    scope,
    `cloning ${repository}`,
    async () => {
      try {
        return await start.client.runScript({
          script,
          environment: source.credentials
            ? { [GIT_USERNAME]: source.credentials.username, [GIT_PASSWORD]: source.credentials.password }
            : undefined,
          timeoutSeconds: deps.limits.cloneSeconds,
          key,
          signal: scope.signal,
          onAbort: 'leave',
        });
      } catch (error) {
        if (isCalledOff(scope.signal)) await start.client.stopCommand(key);
        throw agentServerFailure(error, `clone ${repository}`, secrets);
      } finally {
        watch.stop();
      }
    },
    () => (progress === '' ? {} : { progress }),
  );
  if (result.exitCode === 0) return found(result);
  throw cloneFailure(result, {
    repository,
    branch,
    provider,
    origin: source.origin,
    destination: projectDirectory,
    authenticated: source.credentials !== null,
    limitSeconds: deps.limits.cloneSeconds,
    secrets: [...secrets, ...(source.credentials ? [source.credentials.password] : [])],
  });
}

/** The provider asked for, else the first one with a token, else GitHub. */
export const chooseProvider = (
  asked: GitProvider | null,
  tokens: ReadonlyMap<GitProvider, { token: string }>,
): GitProvider =>
  asked ??
  GIT_PROVIDERS.find((provider) => provider !== 'enterprise_sso' && Boolean(tokens.get(provider)?.token)) ??
  'github';

function sourceOf(start: Start, provider: GitProvider, repository: string): CloneSource {
  try {
    return cloneSource(provider, repository, start.providerTokens.get(provider) ?? null);
  } catch (error) {
    if (!(error instanceof InvalidRepository)) throw error;
    throw permanentFailure(
      'InvalidRepository',
      `Missing either Git token or valid repository: ${error.message}.`,
      start.secretValues(),
    );
  }
}

const identityOf = ({ settings }: Start): GitIdentity => ({
  name: settings.git_user_name,
  email: settings.git_user_email,
});

function found(result: CommandResult): PreparedRepository {
  const report = readReport(result.stdout);
  return { hasSetupScript: report.setup === 'yes', hasPreCommitHook: report.hook === 'yes' };
}

/** Reads what git says of its progress; a look that gets no answer is made up for by the next one. */
function watchProgress(start: Start, file: string, tell: (line: string) => void): { stop(): void } {
  const ended = new AbortController();
  const look = async (): Promise<void> => {
    const bytes = await start.client
      .downloadFile(file, { signal: ended.signal, timeoutMs: PROGRESS_MS })
      .catch((error: unknown) => {
        if (ended.signal.aborted || error instanceof AgentServerError) return null;
        throw error;
      });
    const line = bytes === null ? '' : lastLines(new TextDecoder().decode(bytes), 1);
    if (line !== '') tell(line);
  };
  const timer = setInterval(() => void look(), PROGRESS_MS);
  return {
    stop: () => {
      clearInterval(timer);
      ended.abort();
    },
  };
}
