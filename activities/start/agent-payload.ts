/** The agent of a start request: model, tools, condenser, critic (agent-server contract 7.3). */
import { z } from 'zod';
import { PROFILES_TO_SWITCH } from './llm-profiles.js';
import { PLANNING_CONDENSER, PLANNING_PROMPT, PLAN_STRUCTURE, planningTools } from './plan-agent.js';
import type { DefaultLlm } from './start-deps.js';

export type Members = Record<string, unknown>;

/** The model of users and instances that have chosen none: the SDK's own. */
const SDK_MODEL = 'gpt-5.5';

/** Members of `agent_settings` that shape the agent; odd ones count as not set. */
const AgentSettings = z.object({
  llm: z.record(z.string(), z.unknown()).nullish().catch(null),
  tools: z
    .array(z.looseObject({ name: z.string() }))
    .nullish()
    .catch(null),
  enable_sub_agents: z.boolean().nullish().catch(null),
  enable_switch_llm_tool: z.boolean().nullish().catch(null),
  tool_concurrency_limit: z.int().min(1).nullish().catch(null),
  condenser: z
    .looseObject({ enabled: z.boolean().nullish(), condenser_kind: z.string().nullish() })
    .nullish()
    .catch(null),
  verification: z.looseObject({ critic_enabled: z.boolean().nullish() }).nullish().catch(null),
});

const EXECUTION_TOOLS = ['terminal', 'file_editor', 'task_tracker'];
const BROWSER_TOOL = 'browser_tool_set';
const SUB_AGENT_TOOL = 'task_tool_set';

const text = (value: unknown): string | null =>
  typeof value === 'string' && value.trim() !== '' ? value : null;

/** Without the members that are null: the agent-server has its own defaults for them. */
const given = (members: Members): Members =>
  Object.fromEntries(Object.entries(members).filter(([, value]) => value !== null && value !== undefined));

/**
 * The user's model, or that of the instance. The key of the instance goes to the instance's address only: a user who
 * names an address of their own must bring a key of their own.
 */
export function resolveLlm(
  settings: unknown,
  defaults: DefaultLlm,
  requested: string | null,
): Members & { model: string } {
  const own = given(AgentSettings.shape.llm.parse(settings) ?? {});
  const ownModel = text(own['model']);
  const ownBase = text(own['base_url']);
  const usesInstance =
    text(own['api_key']) === null &&
    (ownModel === null || ownModel === defaults.model) &&
    (ownBase === null || ownBase === defaults.baseUrl);
  return {
    ...own,
    ...(usesInstance ? given({ api_key: defaults.apiKey, base_url: defaults.baseUrl }) : {}),
    model: requested ?? ownModel ?? defaults.model ?? SDK_MODEL,
  };
}

export interface AgentInputs {
  agentSettings: Members;
  llm: Members;
  /** What the agent-server said it can use; null or empty when it did not say. */
  usableTools: readonly string[] | null;
  savedProfiles: number;
  mcpConfig: Members;
  agentContext: Members;
  /** Path of the plan for the plan agent, null for the normal one. */
  planPath: string | null;
}

export function agentPayload(inputs: AgentInputs): Members {
  const settings = AgentSettings.parse(inputs.agentSettings);
  const planning = inputs.planPath !== null;
  const switchesLlm = inputs.savedProfiles >= PROFILES_TO_SWITCH && settings.enable_switch_llm_tool !== false;
  return {
    kind: 'Agent',
    llm: { ...inputs.llm, stream: true, usage_id: 'agent' },
    tools: inputs.planPath === null ? tools(settings, inputs.usableTools) : planningTools(inputs.planPath),
    mcp_config: inputs.mcpConfig,
    include_default_tools: ['FinishTool', 'ThinkTool', ...(switchesLlm ? ['SwitchLLMTool'] : [])],
    agent_context: inputs.agentContext,
    system_prompt_filename: planning ? PLANNING_PROMPT : 'system_prompt.j2',
    system_prompt_kwargs: planning ? { plan_structure: PLAN_STRUCTURE } : { cli_mode: false },
    condenser: condenser(settings.condenser ?? {}, inputs.llm, planning),
    critic: critic(settings.verification ?? {}, inputs.llm),
    tool_concurrency_limit: settings.tool_concurrency_limit ?? 1,
  };
}

/** A browser that is not there makes the whole start fail, so it is asked for only where it is. */
function tools(settings: z.output<typeof AgentSettings>, usable: readonly string[] | null): Members[] {
  const isUsable = (name: string): boolean =>
    name === BROWSER_TOOL ? usable?.includes(name) === true : !usable?.length || usable.includes(name);
  if (settings.tools) {
    return settings.tools
      .filter(({ name }) => name !== BROWSER_TOOL || isUsable(name))
      .map((tool) => ({ ...tool, params: tool['params'] ?? {} }));
  }
  return [...EXECUTION_TOOLS, BROWSER_TOOL, ...(settings.enable_sub_agents === true ? [SUB_AGENT_TOOL] : [])]
    .filter(isUsable)
    .map((name) => ({ name, params: {} }));
}

function condenser(settings: Members, llm: Members, planning: boolean): Members | null {
  const { enabled, condenser_kind: kind, ...limits } = settings;
  if (enabled === false) return null;
  if (kind === 'no_op') return { kind: 'NoOpCondenser' };
  const { usage_id, ...planningLimits } = PLANNING_CONDENSER;
  return {
    kind: 'LLMSummarizingCondenser',
    llm: { ...llm, stream: false, usage_id: planning ? usage_id : 'condenser' },
    ...(planning ? planningLimits : { max_size: 240, keep_first: 2, ...given(limits) }),
  };
}

/** Needs a key: its own, or that of the model. */
function critic(verification: Members, llm: Members): Members | null {
  const key = text(verification['critic_api_key']) ?? text(llm['api_key']);
  if (verification['critic_enabled'] !== true || key === null) return null;
  return given({
    kind: 'APIBasedCritic',
    api_key: key,
    mode: verification['critic_mode'],
    server_url: verification['critic_server_url'],
    model_name: verification['critic_model_name'],
    iterative_refinement:
      verification['enable_iterative_refinement'] === true
        ? given({
            success_threshold: verification['critic_threshold'],
            max_iterations: verification['max_refinement_iterations'],
          })
        : null,
  });
}
