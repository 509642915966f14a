import { z } from 'zod';
import { ConversationTrigger, GitProvider } from './primitives.js';
import { SandboxStatus } from './sandbox.js';

/** Status of the agent's run, as the agent-server names it (contract 3.1). */
export const EXECUTION_STATUSES = [
  'idle',
  'running',
  'paused',
  'waiting_for_confirmation',
  'finished',
  'error',
  'stuck',
  'deleting',
] as const;
export const ExecutionStatus = z.enum(EXECUTION_STATUSES);
export type ExecutionStatus = z.infer<typeof ExecutionStatus>;

/** Tokens used by one conversation; all counts are non-negative. */
export const TokenUsage = z.object({
  model: z.string(),
  prompt_tokens: z.int(),
  completion_tokens: z.int(),
  cache_read_tokens: z.int(),
  cache_write_tokens: z.int(),
  reasoning_tokens: z.int(),
  context_window: z.int(),
  per_turn_token: z.int(),
  response_id: z.string(),
});

/** What a conversation has cost, in US dollars and tokens. */
export const ConversationMetrics = z.object({
  model_name: z.string(),
  accumulated_cost: z.number(),
  max_budget_per_task: z.number().nullable(),
  accumulated_token_usage: TokenUsage,
});
export type ConversationMetrics = z.infer<typeof ConversationMetrics>;

/** The metrics of a conversation of which nothing is known yet. */
export const NO_METRICS: ConversationMetrics = {
  model_name: 'default',
  accumulated_cost: 0,
  max_budget_per_task: null,
  accumulated_token_usage: {
    model: '',
    prompt_tokens: 0,
    completion_tokens: 0,
    cache_read_tokens: 0,
    cache_write_tokens: 0,
    reasoning_tokens: 0,
    context_window: 0,
    per_turn_token: 0,
    response_id: '',
  },
};

/** A conversation as clients see it: stored metadata and live members together (contract 3.1). */
export const AppConversation = z.object({
  id: z.string(),
  created_by_user_id: z.string().nullable(),
  sandbox_id: z.string(),
  selected_repository: z.string().nullable(),
  selected_branch: z.string().nullable(),
  git_provider: GitProvider.nullable(),
  title: z.string().nullable(),
  trigger: ConversationTrigger.nullable(),
  pr_number: z.array(z.int()),
  llm_model: z.string().nullable(),
  agent_kind: z.enum(['openhands', 'acp']),
  metrics: ConversationMetrics.nullable(),
  parent_conversation_id: z.string().nullable(),
  sub_conversation_ids: z.array(z.string()),
  public: z.boolean().nullable(),
  tags: z.record(z.string(), z.string()),
  created_at: z.string(),
  updated_at: z.string(),
  sandbox_status: SandboxStatus,
  execution_status: ExecutionStatus.nullable(),
  conversation_url: z.string().nullable(),
  session_api_key: z.string().nullable(),
  acp_server: z.string().nullable(),
  launched_agent_profile: z.object({ agent_profile_id: z.string(), revision: z.int() }).nullable(),
});
export type AppConversation = z.infer<typeof AppConversation>;

/** A title that nobody chose: one of ours, or none; only such a title may be replaced by a generated one. */
export const isDefaultTitle = (title: string | null): boolean =>
  title === null || title === '' || /^Conversation [0-9a-f]{5,32}$/.test(title);

/** The title a conversation has until it gets a better one (contract 3.4). */
export const defaultTitle = (conversationId: string): string => `Conversation ${conversationId.slice(0, 5)}`;
