/** Everything a step needs to know of its start, read from SQL: activities are given ids only. */
import { z } from 'zod';
import type { AgentServerClient } from '../../agent-server/client.js';
import type { GitProvider } from '../../contract/primitives.js';
import type { SandboxRecord } from '../../db/sandbox-repository.js';
import { readStartSecrets, secretsOfStart, type StartSecrets } from '../../contract/start-secrets.js';
import type { PluginSpec } from '../../contract/start-task.js';
import type { StartTaskRecord } from '../../db/start-task-repository.js';
import type { ProviderToken } from '../../identity/user-context.js';
import type { Settings } from '../../contract/settings.js';
import { purposes } from '../../identity/vault.js';
import { permanentFailure } from './failures.js';
import { withPluginParameters } from './plugin-parameters.js';
import { projectDirectory, workingDirectory } from './project-directory.js';
import { secretTexts } from '../../contract/secret-texts.js';
import type { StartPreparationDeps } from './start-deps.js';

/** Where this start works; decided once, so that settings changed meanwhile do not move it. */
export interface Project {
  /** Directory that clones go into. */
  workingDirectory: string;
  /** The agent's own. */
  projectDirectory: string;
  /** Nothing can be in it before the conversation begins, so nothing needs to be looked for. */
  isNew: boolean;
}

/** Name under which the decision is kept for the later phases. */
export const PROJECT_ARTIFACT = 'project';
const StoredProject = z.object({
  workingDirectory: z.string(),
  projectDirectory: z.string(),
  isNew: z.boolean(),
});

/** Environment variables that a user keeps for the agent, by name. */
export type CustomSecrets = ReadonlyMap<string, { value: string; description: string | null }>;

export interface Start {
  task: StartTaskRecord;
  sandbox: SandboxRecord & { agentServerUrl: string };
  settings: Settings;
  providerTokens: ReadonlyMap<GitProvider, ProviderToken>;
  customSecrets: CustomSecrets;
  /** Secrets given with the request. */
  requestSecrets: Record<string, string>;
  client: AgentServerClient;
  /** All values that no message may show. */
  secretValues(): readonly string[];
  /** Where the start works, decided by the first phase that asks. */
  project(): Promise<Project>;
}

export type StartLoader = (taskId: string) => Promise<Start>;

export function createStartLoader(deps: StartPreparationDeps): StartLoader {
  const sandboxOf = async (task: StartTaskRecord): Promise<Start['sandbox']> => {
    const row = task.sandboxId === null ? null : await deps.sandboxes.read(task.sandboxId);
    if (!row || row.deletedAt) {
      throw permanentFailure('SandboxNotFound', `500: Sandbox not found: ${task.sandboxId ?? 'none'}`);
    }
    const { agentServerUrl } = row;
    if (agentServerUrl === null) {
      throw permanentFailure('SandboxWithoutUrl', `No agent server URL found for sandbox ${row.id}.`);
    }
    return { ...row, agentServerUrl };
  };

  return async (taskId) => {
    const task = await deps.startTasks.read(taskId);
    if (!task) throw permanentFailure('StartTaskMissing', `start task ${taskId} does not exist`);
    const [sandbox, settings, providerTokens, customSecrets, given] = await Promise.all([
      sandboxOf(task),
      deps.settings.read(task.createdByUserId),
      deps.secrets.providerTokens(task.createdByUserId),
      deps.secrets.readCustom(task.createdByUserId),
      openGiven(deps, task),
    ]);
    const sessionApiKey = await deps.vault.open(purposes.sessionKey(sandbox.id), sandbox.sessionApiKey);
    const secrets = [
      sessionApiKey,
      ...[...providerTokens.values()].map(({ token }) => token),
      ...[...customSecrets.values()].map(({ value }) => value),
      ...secretsOfStart(given),
      ...secretTexts(settings),
    ].filter((value) => value !== '');
    return {
      task: { ...task, request: withPlugins(task.request, given.plugins) },
      sandbox,
      settings,
      providerTokens,
      customSecrets,
      requestSecrets: given.secrets,
      client: deps.createClient({ baseUrl: sandbox.agentServerUrl, sessionApiKey, secrets }),
      secretValues: () => secrets,
      project: remembered(() => projectOf(deps, task, sandbox, settings)),
    };
  };
}

/** Asks once, and again only after a failure. */
export function remembered<Value>(ask: () => Promise<Value>): () => Promise<Value> {
  let answer: Promise<Value> | null = null;
  return () => {
    answer ??= ask().catch((error: unknown) => {
      answer = null;
      throw error;
    });
    return answer;
  };
}

async function projectOf(
  deps: Pick<StartPreparationDeps, 'startTasks' | 'workspaceMayHoldFiles'>,
  task: StartTaskRecord,
  sandbox: SandboxRecord,
  settings: Settings,
): Promise<Project> {
  const { startTasks } = deps;
  // Before its first phase hardly a start has decided: keeping it then tells what, and needs no reading before.
  const isUndecided = task.status === 'WAITING_FOR_SANDBOX' && sandbox.workingDirectory !== null;
  const earlier = StoredProject.safeParse(
    isUndecided ? null : await startTasks.artifact(task.id, PROJECT_ARTIFACT),
  );
  if (earlier.success) return earlier.data;
  if (sandbox.workingDirectory === null) {
    throw permanentFailure(
      'SandboxWithoutDirectory',
      `Sandbox ${sandbox.id} has no working directory: delete it and start again.`,
    );
  }
  const grouped = settings.sandbox_grouping_strategy !== 'NO_GROUPING';
  const directory = workingDirectory(sandbox.workingDirectory, task.conversationId, grouped);
  const { sandbox_id: given, selected_repository: repository } = task.request;
  const project: Project = {
    workingDirectory: directory,
    projectDirectory: projectDirectory(directory, repository),
    isNew: repository === null && (grouped || (given === null && !deps.workspaceMayHoldFiles)),
  };
  const kept = StoredProject.safeParse(await startTasks.keepArtifact(task.id, PROJECT_ARTIFACT, project));
  if (kept.success) return kept.data;
  await startTasks.putArtifact(task.id, PROJECT_ARTIFACT, project); // in the place of what nobody can read
  return project;
}

/** What was kept apart from the request, decrypted. */
async function openGiven(
  deps: Pick<StartPreparationDeps, 'vault'>,
  task: StartTaskRecord,
): Promise<StartSecrets> {
  if (task.secrets === null) return { secrets: {}, plugins: null };
  return readStartSecrets(await deps.vault.open(purposes.startSecrets(task.id), task.secrets));
}

/** The request with its plugins as they were sent, and the message that tells the agent their parameters. */
const withPlugins = (
  request: StartTaskRecord['request'],
  plugins: PluginSpec[] | null,
): StartTaskRecord['request'] =>
  plugins === null
    ? request // nothing of them is hidden; or it is from before 0.3.0, and its message has them in it
    : { ...request, plugins, initial_message: withPluginParameters(request.initial_message, plugins) };
