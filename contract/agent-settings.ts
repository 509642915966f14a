/**
 * Settings of the agent as the agent-server's SDK names them (contract 10.1): every member with the SDK's type, bounds
 * and default. Members that a later SDK adds pass through.
 */
import { z } from 'zod';

/** The model of a user who chose none, on an instance that names none: the SDK's own default. */
export const DEFAULT_MODEL = 'gpt-5.5';

const optionalText = () => z.string().nullable().default(null);
/** An empty text is how clients clear a key or an address. */
const clearableText = () =>
  z
    .string()
    .nullable()
    .default(null)
    .transform((value) => (value === '' ? null : value));
const optionalNumber = (min: number) => z.number().min(min).nullable().default(null);
const optionalCount = (min: number) => z.int().min(min).nullable().default(null);
const optionalFlag = () => z.boolean().nullable().default(null);

/** The language model and how it is called. */
export const LlmSettings = z.looseObject({
  model: z.string().min(1).default(DEFAULT_MODEL),
  api_key: clearableText(),
  auth_type: z.enum(['api_key', 'subscription']).default('api_key'),
  subscription_vendor: z.enum(['openai']).nullable().default(null),
  base_url: clearableText(),
  api_version: optionalText(),
  aws_access_key_id: clearableText(),
  aws_secret_access_key: clearableText(),
  aws_session_token: clearableText(),
  aws_region_name: optionalText(),
  aws_profile_name: optionalText(),
  aws_role_name: optionalText(),
  aws_session_name: optionalText(),
  aws_bedrock_runtime_endpoint: optionalText(),
  openrouter_site_url: z.string().default('https://docs.all-hands.dev/'),
  openrouter_app_name: z.string().default('OpenHands'),
  num_retries: z.int().min(0).default(5),
  retry_multiplier: z.number().min(0).default(8),
  retry_min_wait: z.int().min(0).default(8),
  retry_max_wait: z.int().min(0).default(64),
  timeout: z.int().min(0).nullable().default(300),
  max_message_chars: z.int().min(1).default(30_000),
  temperature: optionalNumber(0),
  top_p: z.number().min(0).max(1).nullable().default(null),
  top_k: optionalNumber(0),
  max_input_tokens: optionalCount(1),
  max_output_tokens: optionalCount(1),
  model_canonical_name: optionalText(),
  extra_headers: z.record(z.string(), z.string()).nullable().default(null),
  input_cost_per_token: optionalNumber(0),
  output_cost_per_token: optionalNumber(0),
  ollama_base_url: optionalText(),
  stream: z.boolean().default(false),
  drop_params: z.boolean().default(true),
  modify_params: z.boolean().default(true),
  disable_vision: optionalFlag(),
  disable_stop_word: z.boolean().nullable().default(false),
  caching_prompt: z.boolean().default(true),
  log_completions: z.boolean().default(false),
  log_completions_folder: z.string().default('logs/completions'),
  custom_tokenizer: optionalText(),
  native_tool_calling: z.boolean().default(true),
  force_string_serializer: optionalFlag(),
  inline_image_urls: optionalFlag(),
  reasoning_effort: z.enum(['low', 'medium', 'high', 'xhigh', 'none']).nullable().default('high'),
  reasoning_summary: z.enum(['auto', 'concise', 'detailed']).nullable().default(null),
  enable_encrypted_reasoning: z.boolean().default(true),
  prompt_cache_retention: z.string().nullable().default('24h'),
  extended_thinking_budget: z.int().nullable().default(200_000),
  seed: z.int().nullable().default(null),
  usage_id: z.string().default('default'),
  litellm_extra_body: z.record(z.string(), z.unknown()).default({}),
});
export type LlmSettings = z.output<typeof LlmSettings>;

const CondenserSettings = z.looseObject({
  enabled: z.boolean().default(true),
  max_size: z.int().min(20).default(240),
  condenser_kind: z.enum(['llm_summarizing', 'no_op']).default('llm_summarizing'),
  max_tokens: optionalCount(1),
  keep_first: z.int().min(0).default(2),
  minimum_progress: z.number().gt(0).lt(1).default(0.1),
  hard_context_reset_max_retries: z.int().min(1).default(5),
  hard_context_reset_context_scaling: z.number().gt(0).lt(1).default(0.8),
});

const VerificationSettings = z.looseObject({
  critic_enabled: z.boolean().default(false),
  critic_mode: z.enum(['finish_and_message', 'all_actions']).default('finish_and_message'),
  enable_iterative_refinement: z.boolean().default(false),
  critic_threshold: z.number().min(0).max(1).default(0.6),
  max_refinement_iterations: z.int().min(1).default(3),
  critic_server_url: optionalText(),
  critic_model_name: optionalText(),
  critic_api_key: clearableText(),
});

/** One MCP server; members that the SDK does not know are dropped, as it would refuse them. */
export const McpServer = z
  .object({
    url: z.string().min(1).nullable().optional(),
    transport: z.enum(['stdio', 'http', 'streamable-http', 'sse']).nullable().optional(),
    command: z.string().min(1).nullable().optional(),
    args: z.array(z.string()).nullable().optional(),
    env: z.record(z.string(), z.string()).nullable().optional(),
    cwd: z.string().nullable().optional(),
    description: z.string().nullable().optional(),
    icon: z.string().nullable().optional(),
    timeout: z.number().nullable().optional(),
    sse_read_timeout: z.number().nullable().optional(),
    keep_alive: z.boolean().nullable().optional(),
    headers: z.record(z.string(), z.string()).nullable().optional(),
    auth: z
      .looseObject({ strategy: z.enum(['none', 'api_key', 'bearer', 'basic', 'header', 'oauth2']) })
      .nullable()
      .optional(),
  })
  .refine(({ url, command }) => Boolean(url) !== Boolean(command), {
    error: 'an MCP server has either a url or a command',
    params: { type: 'value_error' },
  });
export type McpServer = z.output<typeof McpServer>;

/** MCP servers by name; the older form wraps them in `mcpServers`. */
export const McpConfig = z.preprocess(
  (value) =>
    typeof value === 'object' && value !== null && 'mcpServers' in value ? value.mcpServers : (value ?? {}),
  z.record(z.string().min(1), McpServer),
);

const OpenHandsAgentSettings = z.looseObject({
  schema_version: z.int().min(1).default(4),
  agent_kind: z.literal('openhands'),
  agent: z.string().min(1).default('CodeActAgent'),
  llm: LlmSettings.prefault({}),
  tools: z
    .array(z.looseObject({ name: z.string().min(1) }))
    .nullable()
    .default(null),
  enable_sub_agents: z.boolean().default(false),
  enable_switch_llm_tool: z.boolean().default(true),
  tool_concurrency_limit: z.int().min(1).default(1),
  mcp_config: McpConfig.prefault({}),
  condenser: CondenserSettings.prefault({}),
  verification: VerificationSettings.prefault({}),
});

const AcpAgentSettings = z.looseObject({
  schema_version: z.int().min(1).default(4),
  agent_kind: z.literal('acp'),
  acp_server: z.enum(['claude-code', 'codex', 'gemini-cli', 'custom']).default('claude-code'),
  acp_command: z.array(z.string()).default([]),
  acp_args: z.array(z.string()).default([]),
  acp_model: optionalText(),
  acp_session_mode: optionalText(),
  acp_prompt_timeout: z.number().gt(0).default(1800),
  acp_isolate_data_dir: z.boolean().default(false),
  mcp_config: McpConfig.prefault({}),
  llm: LlmSettings.prefault({}),
});

/** The agent's settings with every default filled in; `agent_kind` tells the variants apart. */
export const AgentSettings = z.preprocess(
  canonicalKind,
  z.discriminatedUnion('agent_kind', [OpenHandsAgentSettings, AcpAgentSettings]),
);
export type AgentSettings = z.output<typeof AgentSettings>;
export type OpenHandsAgentSettings = Extract<AgentSettings, { agent_kind: 'openhands' }>;
export type AcpAgentSettings = Extract<AgentSettings, { agent_kind: 'acp' }>;

/** Settings stored before there were variants carry no kind, or the kind's former name. */
function canonicalKind(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  const kind = 'agent_kind' in value ? value.agent_kind : undefined;
  return kind === undefined || kind === null || kind === 'llm'
    ? { ...value, agent_kind: 'openhands' }
    : value;
}
