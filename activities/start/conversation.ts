/** STARTING_CONVERSATION: the conversation on the agent-server, then its row and its callbacks. */
import { z } from 'zod';
import type { AgentServerClient } from '../../agent-server/client.js';
import type { StartConversationBody } from '../../agent-server/conversations.js';
import { AgentServerError } from '../../agent-server/errors.js';
import { dashedId } from '../../contract/ids.js';
import type { InitialMessage } from '../../contract/content.js';
import type { CallbackProcessor } from '../../contract/start-task.js';
import { openAuthority } from '../../identity/start-authority.js';
import { whileBeating, type ActivityScope } from './activity-scope.js';
import { agentServerFailure, passingFailure, permanentFailure } from './failures.js';
import { deliverInitialMessage } from './message-delivery.js';
import { chooseProvider } from './repository.js';
import { buildStartRequest, type StartRequestPlan } from './request-builder.js';
import { allSecrets, providerSecrets } from './secret-sources.js';
import { SETUP_ARTIFACT, type SetupOutcome } from './setup-script.js';
import { SKILLS_ARTIFACT, type PreparedSkills } from './skills.js';
import type { StartPreparationDeps } from './start-deps.js';
import type { Start, StartLoader } from './start-loader.js';

const StoredSkills = z.object({
  skills: z.array(z.custom<PreparedSkills['skills'][number]>()),
  hookConfig: z.record(z.string(), z.unknown()).nullable(),
});
const StoredSetup = z.object({ exitCode: z.number(), timedOut: z.boolean(), tail: z.string() });

/** What whoever creates the conversation knows of the phases before. */
export interface BeforeConversation {
  skills: PreparedSkills;
  mayHaveRunSetup: boolean;
}

/**
 * Creates the conversation, or finds the one that an earlier attempt has created: its id was chosen with the start.
 * Rows and callbacks are written afterwards, each so that a repetition changes nothing.
 * @param before read from where the phases before keep it, if left out
 */
export async function createConversation(
  deps: StartPreparationDeps,
  load: StartLoader,
  scope: ActivityScope,
  taskId: string,
  before?: BeforeConversation,
): Promise<{ agentServerUrl: string; conversationId: string }> {
  const start = await load(taskId);
  const { task, sandbox } = start;
  const plan = await whileBeating(scope, 'starting the conversation', async () => {
    const request = await planRequest(deps, start, before);
    await post(start, request.body, task.request.initial_message, scope);
    return request;
  });
  await store(deps, start, plan);
  const exposed = sandbox.exposedUrls?.find(({ name }) => name === 'AGENT_SERVER');
  return { agentServerUrl: exposed?.url ?? sandbox.agentServerUrl, conversationId: task.conversationId };
}

async function planRequest(
  deps: StartPreparationDeps,
  start: Start,
  before: BeforeConversation | undefined,
): Promise<StartRequestPlan> {
  const { task, settings, providerTokens } = start;
  const isAcp = settings.agent_settings.agent_kind === 'acp';
  const { publicUrl, accessTokens } = deps;
  // An ACP agent gets its variables when it starts, so there is nobody who could look one up later.
  const lookup =
    publicUrl === null || isAcp
      ? null
      : {
          publicUrl,
          accessTokens,
          userId: task.createdByUserId,
          organizationId: await openAuthority(deps.vault, task.id, task.authority),
        };
  const [project, skills, setup, provider] = await Promise.all([
    start.project(),
    before?.skills ?? storedSkills(deps, task.id),
    before?.mayHaveRunSetup === false ? null : deps.startTasks.artifact(task.id, SETUP_ARTIFACT),
    providerSecrets(providerTokens, lookup),
  ]);
  const outcome: SetupOutcome | null = StoredSetup.nullable().parse(setup);
  return buildStartRequest({
    conversationId: task.conversationId,
    userId: task.createdByUserId,
    request: task.request,
    settings,
    projectDirectory: project.projectDirectory,
    gitProvider: chosenProvider(start),
    usableTools: start.sandbox.usableTools,
    skills: skills.skills,
    hookConfig: skills.hookConfig,
    secrets: allSecrets(start.customSecrets, provider, start.requestSecrets),
    setup: outcome,
    publicUrl,
    now: new Date(),
  });
}

const storedSkills = async (
  deps: Pick<StartPreparationDeps, 'startTasks'>,
  taskId: string,
): Promise<PreparedSkills> =>
  StoredSkills.nullable().parse(await deps.startTasks.artifact(taskId, SKILLS_ARTIFACT)) ?? {
    skills: [],
    hookConfig: null,
  };

const chosenProvider = ({ task: { request }, providerTokens }: Start) =>
  request.selected_repository === null
    ? request.git_provider
    : chooseProvider(request.git_provider, providerTokens);

/** Asks before it tells again: a repeated attempt, or a new start of an old conversation, may find it there. */
async function post(
  start: Start,
  body: StartConversationBody,
  message: InitialMessage | null,
  scope: ActivityScope,
): Promise<void> {
  const { client } = start;
  const { signal } = scope;
  const secrets = start.secretValues();
  try {
    const there = scope.attempt > 1 ? await client.conversation(body.conversation_id, { signal }) : null;
    const created = there === null && (await client.startConversation(body, { signal })).created;
    if (!created && message !== null)
      await deliverInitialMessage(client, body.conversation_id, message, scope);
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof AgentServerError)) throw error;
    if (error.kind === 'http') await removeFailed(client, body.conversation_id);
    throw startFailure(error, scope.attempt, secrets);
  }
}

/** Within the activity's time limit even after a start that used up its own. */
const REMOVE_MS = 30_000;

/** The agent-server keeps what it failed to start, lists it, and would answer a repetition with it. */
async function removeFailed(client: AgentServerClient, conversationId: string): Promise<void> {
  try {
    await client.deleteConversation(conversationId, { timeoutMs: REMOVE_MS });
  } catch (error) {
    // What the start failed of is worth telling; that this failed too is met by the check of the next attempt.
    if (!(error instanceof AgentServerError)) throw error;
  }
}

/** A 5xx is tried once more, because a slow MCP server looks like a wrong tool; the second one is believed. */
function startFailure(error: AgentServerError, attempt: number, secrets: readonly string[]): unknown {
  if (error.kind !== 'http' || error.status === null) {
    return agentServerFailure(error, 'start the conversation', secrets);
  }
  const text = `${error.status}: The agent-server of the sandbox could not start the conversation: ${error.detail}. Check the model, the tools and the MCP servers in the settings.`;
  return error.status >= 500 && attempt < 2
    ? passingFailure('ConversationNotStarted', text, secrets)
    : permanentFailure('ConversationNotStarted', text, secrets);
}

async function store(deps: StartPreparationDeps, start: Start, plan: StartRequestPlan): Promise<void> {
  const { task, sandbox } = start;
  const { request } = task;
  const project = await start.project();
  const registered = await deps.conversations.createFromStart({
    id: task.conversationId,
    createdByUserId: task.createdByUserId,
    sandboxId: sandbox.id,
    selectedRepository: request.selected_repository,
    selectedBranch: request.selected_branch,
    gitProvider: chosenProvider(start),
    trigger: request.trigger,
    prNumber: request.pr_number,
    parentConversationId: request.parent_conversation_id,
    public: request.public,
    llmModel: plan.llmModel,
    tags: plan.tags,
    agentKind: plan.agentKind,
    workingDirectory: project.projectDirectory,
    createdAt: task.createdAt,
  });
  const asked = request.processors ?? [];
  const hasTitle = asked.some(({ kind }) => kind === 'SetTitleCallbackProcessor');
  const wanted: CallbackProcessor[] = hasTitle ? asked : [...asked, { kind: 'SetTitleCallbackProcessor' }];
  await deps.callbacks.register(
    task.conversationId,
    wanted.filter(({ kind }) => !registered.includes(kind)),
  );
}

/**
 * Compensation: the conversation of a start that ended in ERROR is taken out of its sandbox again, and what had arrived
 * of it is removed. Gone already is fine; one that another start has taken up is that one's.
 */
export async function discardConversation(
  deps: StartPreparationDeps,
  load: StartLoader,
  scope: ActivityScope,
  taskId: string,
): Promise<void> {
  const task = await deps.startTasks.read(taskId);
  if (!task || task.supersededAt) return;
  await whileBeating(scope, 'discarding the conversation', async () => {
    const sandbox = task.sandboxId === null ? null : await deps.sandboxes.read(task.sandboxId);
    // A sandbox that is going, or stands still, takes no order; what it keeps of the conversation nobody sees.
    if (sandbox && !sandbox.deletedAt && ['STARTING', 'RUNNING'].includes(sandbox.status)) {
      await discardAtAgentServer(await load(taskId), scope);
    }
    // Afterwards: ending there, it may have reported once more.
    const { forgotten } = await deps.startTasks.forgetConversation(taskId);
    if (forgotten) await deps.events.deleteConversation(task.conversationId);
  });
}

async function discardAtAgentServer(start: Start, scope: ActivityScope): Promise<void> {
  const { client, task } = start;
  try {
    await client.deleteConversation(dashedId(task.conversationId), { signal: scope.signal });
  } catch (error) {
    throw agentServerFailure(error, 'discard the conversation', start.secretValues());
  }
}
