/** The agent of a start request: model, tools, condenser, critic (agent-server contract 7.3). */
import type { LlmSettings, OpenHandsAgentSettings } from '../../contract/agent-settings.js';
import { PROFILES_TO_SWITCH } from './llm-profiles.js';
import { PLANNING_CONDENSER, PLANNING_PROMPT, PLAN_STRUCTURE, planningTools } from './plan-agent.js';

export type Members = Record<string, unknown>;

const EXECUTION_TOOLS = ['terminal', 'file_editor', 'task_tracker'];
const BROWSER_TOOL = 'browser_tool_set';
const SUB_AGENT_TOOL = 'task_tool_set';

export interface AgentInputs {
  settings: OpenHandsAgentSettings;
  llm: LlmSettings;
  /** What the agent-server said it can use; null or empty when it did not say. */
  usableTools: readonly string[] | null;
  savedProfiles: number;
  mcpConfig: Members;
  agentContext: Members;
  /** Path of the plan for the plan agent, null for the normal one. */
  planPath: string | null;
}

export function agentPayload(inputs: AgentInputs): Members {
  const { settings, llm, planPath } = inputs;
  const planning = planPath !== null;
  const switchesLlm = inputs.savedProfiles >= PROFILES_TO_SWITCH && settings.enable_switch_llm_tool;
  return {
    kind: 'Agent',
    llm: { ...llm, stream: true, usage_id: 'agent' },
    tools: planning ? planningTools(planPath) : tools(settings, inputs.usableTools),
    mcp_config: inputs.mcpConfig,
    include_default_tools: ['FinishTool', 'ThinkTool', ...(switchesLlm ? ['SwitchLLMTool'] : [])],
    agent_context: inputs.agentContext,
    system_prompt_filename: planning ? PLANNING_PROMPT : 'system_prompt.j2',
    system_prompt_kwargs: planning ? { plan_structure: PLAN_STRUCTURE } : { cli_mode: false },
    condenser: condenser(settings, llm, planning),
    critic: critic(settings, llm),
    tool_concurrency_limit: settings.tool_concurrency_limit,
  };
}

/** A browser that is not there makes the whole start fail, so it is asked for only where it is. */
function tools(settings: OpenHandsAgentSettings, usable: readonly string[] | null): Members[] {
  const isUsable = (name: string): boolean =>
    name === BROWSER_TOOL ? usable?.includes(name) === true : !usable?.length || usable.includes(name);
  if (settings.tools) {
    return settings.tools
      .filter(({ name }) => name !== BROWSER_TOOL || isUsable(name))
      .map((tool) => ({ ...tool, params: tool['params'] ?? {} }));
  }
  return [...EXECUTION_TOOLS, BROWSER_TOOL, ...(settings.enable_sub_agents ? [SUB_AGENT_TOOL] : [])]
    .filter(isUsable)
    .map((name) => ({ name, params: {} }));
}

function condenser(settings: OpenHandsAgentSettings, llm: LlmSettings, planning: boolean): Members | null {
  const { enabled, condenser_kind: kind, ...limits } = settings.condenser;
  if (!enabled) return null;
  if (kind === 'no_op') return { kind: 'NoOpCondenser' };
  const { usage_id, ...planningLimits } = PLANNING_CONDENSER;
  return {
    kind: 'LLMSummarizingCondenser',
    ...limits,
    ...(planning ? planningLimits : {}),
    llm: { ...llm, stream: false, usage_id: planning ? usage_id : 'condenser' },
  };
}

/** Needs a key: its own, or that of the model. */
function critic({ verification }: OpenHandsAgentSettings, llm: LlmSettings): Members | null {
  const key = verification.critic_api_key ?? llm.api_key;
  if (!verification.critic_enabled || key === null) return null;
  const optional = { server_url: verification.critic_server_url, model_name: verification.critic_model_name };
  return {
    kind: 'APIBasedCritic',
    api_key: key,
    mode: verification.critic_mode,
    ...Object.fromEntries(Object.entries(optional).filter(([, value]) => value !== null)),
    iterative_refinement: verification.enable_iterative_refinement
      ? {
          success_threshold: verification.critic_threshold,
          max_iterations: verification.max_refinement_iterations,
        }
      : null,
  };
}
