/** The body of the agent-server's `POST /api/conversations`, made from everything a start has gathered. */
import type { StartConversationBody } from '../../agent-server/conversations.js';
import { dashedId } from '../../contract/ids.js';
import type { GitProvider } from '../../contract/primitives.js';
import type { EffectiveStartRequest } from '../../contract/start-task.js';
import type { Settings } from '../../contract/settings.js';
import { agentPayload, type Members } from './agent-payload.js';
import { planningBoundary, planPath } from './plan-agent.js';
import type { SecretSource } from './secret-sources.js';
import type { SetupOutcome } from './setup-script.js';
import type { SkillPayload } from '../../contract/skill.js';

export interface RequestInputs {
  /** Any spelling. */
  conversationId: string;
  userId: string | null;
  request: EffectiveStartRequest;
  settings: Settings;
  projectDirectory: string;
  /** The provider that the repository was cloned from. */
  gitProvider: GitProvider | null;
  usableTools: readonly string[] | null;
  skills: readonly SkillPayload[];
  hookConfig: Members | null;
  /** Precedence resolved already. */
  secrets: Record<string, SecretSource>;
  /** Null when no setup script was run. */
  setup: SetupOutcome | null;
  publicUrl: string | null;
  now: Date;
}

export interface StartRequestPlan {
  body: StartConversationBody;
  /** What the conversation's row says of it. */
  llmModel: string | null;
  agentKind: 'openhands' | 'acp';
  /** Tags of our row; the agent-server takes only some of the names. */
  tags: Record<string, string>;
}

/** Longest value of a tag that the agent-server takes. */
const TAG_CHARACTERS = 256;

export function buildStartRequest(inputs: RequestInputs): StartRequestPlan {
  const { request, settings } = inputs;
  const agent = agentOf(inputs);
  const tags = tagsOf(inputs);
  const body: StartConversationBody = {
    conversation_id: dashedId(inputs.conversationId),
    workspace: workspace(inputs.projectDirectory),
    worktree: false,
    ...agent.body,
    // Prompts of suggested tasks were put into it when the request came in, parameters of plugins when it was read.
    initial_message: request.initial_message,
    confirmation_policy: { kind: confirmationPolicy(settings) },
    security_analyzer: usesLlmAnalyzer(settings) ? { kind: 'LLMSecurityAnalyzer' } : null,
    max_iterations: settings.conversation_settings.max_iterations,
    stuck_detection: true,
    secrets: inputs.secrets,
    secrets_encrypted: false,
    plugins: pluginSources(request),
    hook_config: inputs.hookConfig,
    tags: Object.fromEntries(Object.entries(tags).filter(([name]) => /^[a-z0-9]+$/.test(name))),
    user_id: settings.email ?? inputs.userId,
    observability_metadata: {},
    observability_tags: ['app:openhands', `agent_kind:${agent.kind}`],
    observability_span_name: 'conversation',
    autotitle: true,
  };
  return { body, llmModel: agent.model, agentKind: agent.kind, tags };
}

const workspace = (directory: string): { kind: string; working_dir: string } => ({
  kind: 'LocalWorkspace',
  working_dir: directory,
});

/** The agent as the agent-server takes it: built here, or for ACP as settings that it builds one from. */
function agentOf(inputs: RequestInputs): {
  body: Members;
  model: string | null;
  kind: StartRequestPlan['agentKind'];
} {
  const { request, settings, projectDirectory, gitProvider } = inputs;
  const { agent_settings: agentSettings } = settings;
  const plan = request.agent_type === 'plan' ? planPath(projectDirectory, gitProvider) : null;
  const mcpConfig = mcpServers(inputs);
  const agentContext = contextOf(inputs, plan);
  if (agentSettings.agent_kind === 'acp') {
    const model = request.llm_model ?? agentSettings.acp_model;
    const body = { ...agentSettings, acp_model: model, agent_context: agentContext, mcp_config: mcpConfig };
    return { body: { agent_settings: body }, model, kind: 'acp' };
  }
  const llm = { ...agentSettings.llm, model: request.llm_model ?? agentSettings.llm.model };
  const agent = agentPayload({
    settings: agentSettings,
    llm,
    usableTools: inputs.usableTools,
    savedProfiles: Object.keys(settings.llm_profiles.profiles).length,
    mcpConfig,
    agentContext,
    planPath: plan,
  });
  return { body: { agent }, model: llm.model, kind: 'openhands' };
}

const usesLlmAnalyzer = ({ conversation_settings }: Settings): boolean =>
  conversation_settings.security_analyzer === 'llm';

/** With an analyzer only what it finds risky is asked about, without one everything. */
function confirmationPolicy(settings: Settings): 'NeverConfirm' | 'ConfirmRisky' | 'AlwaysConfirm' {
  if (!settings.conversation_settings.confirmation_mode) return 'NeverConfirm';
  return usesLlmAnalyzer(settings) ? 'ConfirmRisky' : 'AlwaysConfirm';
}

/** Our own server first, so that the user's of the same name takes its place. */
function mcpServers({ settings, publicUrl, conversationId }: RequestInputs): Members {
  const own: Members = settings.agent_settings.mcp_config;
  if (publicUrl === null) return own;
  return {
    default: {
      url: `${publicUrl}/mcp/mcp`,
      headers: { 'X-OpenHands-ServerConversation-ID': dashedId(conversationId) },
    },
    ...own,
  };
}

/** `registered_marketplaces` is left out on purpose: null is refused, and the skills are loaded already. */
const contextOf = (inputs: RequestInputs, plan: string | null): Members => ({
  skills: inputs.skills,
  system_message_suffix: systemMessageSuffix(inputs, plan),
  load_user_skills: false,
  load_public_skills: false,
  load_project_skills: false,
  disabled_skills: inputs.settings.disabled_skills ?? [],
  secrets: inputs.secrets,
  current_datetime: inputs.now.toISOString(),
});

function systemMessageSuffix(inputs: RequestInputs, plan: string | null): string | null {
  const { request, publicUrl, settings, setup } = inputs;
  const shallow = request.selected_repository !== null && !settings.git_full_clone;
  const parts = [
    plan === null ? null : planningBoundary(plan),
    request.system_message_suffix,
    publicUrl === null ? null : `<HOST>\n${publicUrl}\n</HOST>`,
    shallow ? SHALLOW_CLONE : null,
    setup === null || setup.exitCode === 0 ? null : setupNote(setup),
  ];
  return parts.filter((part) => part !== null && part !== '').join('\n\n') || null;
}

const SHALLOW_CLONE = `<REPOSITORY_HISTORY>
The repository was cloned without its history (one commit). If you need more of it, run
\`git fetch --deepen=<number>\`, or \`git fetch --unshallow\` for all of it.
</REPOSITORY_HISTORY>`;

const setupNote = ({ exitCode, timedOut, tail }: SetupOutcome): string => `<SETUP_SCRIPT>
.openhands/setup.sh ${timedOut ? 'did not end in time' : `failed with exit code ${exitCode}`}, so the project may not be set up. Its last output:
${tail}
</SETUP_SCRIPT>`;

const pluginSources = ({ plugins }: EffectiveStartRequest): Members[] | null =>
  plugins === null || plugins.length === 0
    ? null
    : plugins.map(({ source, ref, repo_path }) => ({ source, ref, repo_path }));

function tagsOf({ request, gitProvider, setup, settings }: RequestInputs): Record<string, string> {
  const tags: Record<string, string | null> = {
    repo_name: request.selected_repository,
    git_provider: request.selected_repository === null ? null : gitProvider,
    selected_branch: request.selected_repository === null ? null : request.selected_branch,
    acpserver: settings.agent_settings.agent_kind === 'acp' ? settings.agent_settings.acp_server : null,
    setupexitcode: setup === null || setup.exitCode === 0 ? null : String(setup.exitCode),
  };
  return Object.fromEntries(
    Object.entries(tags).flatMap(([name, value]) =>
      value === null ? [] : [[name, value.slice(0, TAG_CHARACTERS)]],
    ),
  );
}
