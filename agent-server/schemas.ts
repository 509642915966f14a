/**
 * Answers of the agent-server. Read leniently: only what Callboard uses is checked, everything else is kept,
 * because unknown fields and kinds appear with every release.
 */
import { z } from 'zod';

/** `GET /server_info`. */
export const ServerInfo = z.looseObject({
  version: z.string(),
  sdk_version: z.string().nullish(),
  tools_version: z.string().nullish(),
  /** Seconds since the process started serving. */
  uptime: z.number(),
  /** Seconds since the last event or command. */
  idle_time: z.number(),
  /** Tools whose requirements are met on that machine; missing in old servers. */
  usable_tools: z.array(z.string()).default([]),
});
export type ServerInfo = z.infer<typeof ServerInfo>;

/** Statuses of a conversation, open for kinds that newer servers may add. */
export type ExecutionStatus =
  | 'idle'
  | 'running'
  | 'paused'
  | 'waiting_for_confirmation'
  | 'finished'
  | 'error'
  | 'stuck'
  | 'deleting'
  | (string & {});

/** A conversation as start, get and the conversations webhook show it. */
export const ConversationInfo = z.looseObject({
  /** With dashes. */
  id: z.string(),
  execution_status: z.string().transform((status): ExecutionStatus => status),
  title: z.string().nullish(),
  tags: z.record(z.string(), z.string()).nullish(),
  created_at: z.string().nullish(),
  updated_at: z.string().nullish(),
  workspace: z.looseObject({ working_dir: z.string().nullish() }).nullish(),
  agent: z.looseObject({ kind: z.string().nullish() }).nullish(),
  /** `usage_to_metrics`: usage id to cost and tokens. */
  stats: z.looseObject({ usage_to_metrics: z.record(z.string(), z.unknown()).nullish() }).nullish(),
});
export type ConversationInfo = z.infer<typeof ConversationInfo>;

export const ConversationPage = z.looseObject({
  items: z.array(ConversationInfo),
  /** Id of the first conversation of the next page. */
  next_page_id: z.string().nullish(),
});

/** An event as REST and sockets show it. `timestamp` is naive UTC (the servers run with `TZ=UTC`). */
export const AgentEvent = z.looseObject({
  id: z.string(),
  kind: z.string(),
  timestamp: z.string(),
  source: z.string().nullish(),
});
export type AgentEvent = z.infer<typeof AgentEvent>;

export const AgentEventPage = z.looseObject({
  items: z.array(AgentEvent),
  /** Id of the first event of the next page. */
  next_page_id: z.string().nullish(),
});
export type AgentEventPage = z.infer<typeof AgentEventPage>;

export const Success = z.looseObject({ success: z.boolean() });

/** `POST /api/bash/start_bash_command`, and items of the bash event search. */
export const BashCommandEvent = z.looseObject({
  id: z.string(),
  timestamp: z.string(),
  command: z.string(),
  timeout: z.number(),
});
export type BashCommandEvent = z.infer<typeof BashCommandEvent>;

/** A piece of output; the one with an exit code is the last. */
export const BashOutputEvent = z.looseObject({
  id: z.string(),
  timestamp: z.string(),
  command_id: z.string(),
  order: z.number(),
  exit_code: z.number().nullish(),
  stdout: z.string().nullish(),
  stderr: z.string().nullish(),
});
export type BashOutputEvent = z.infer<typeof BashOutputEvent>;

export const bashEventPage = <S extends z.ZodType>(item: S) =>
  z.looseObject({ items: z.array(item), next_page_id: z.string().nullish() });

export const Skill = z.looseObject({
  name: z.string(),
  /** `repo`, `knowledge` or `agentskills`. */
  type: z.string(),
  content: z.string(),
  triggers: z.array(z.string()).default([]),
  source: z.string().nullish(),
  description: z.string().nullish(),
  is_agentskills_format: z.boolean().default(false),
  disable_model_invocation: z.boolean().default(false),
});
export type Skill = z.infer<typeof Skill>;

export const SkillsAnswer = z.looseObject({
  skills: z.array(Skill),
  /** How many came from each source. */
  sources: z.record(z.string(), z.number()).default({}),
});
export type SkillsAnswer = z.infer<typeof SkillsAnswer>;

/** Hook lists by occasion (`pre_tool_use`, …), given back unread in the start request. */
export const HookConfig = z.record(z.string(), z.unknown());
export type HookConfig = z.infer<typeof HookConfig>;
export const HooksAnswer = z.looseObject({ hook_config: HookConfig.nullish() });

export const GitChange = z.looseObject({
  /** `ADDED`, `UPDATED`, `DELETED` or `MOVED`. */
  status: z.string(),
  path: z.string(),
});
export type GitChange = z.infer<typeof GitChange>;

export const GitDiff = z.looseObject({
  modified: z.string().nullish(),
  original: z.string().nullish(),
});
export type GitDiff = z.infer<typeof GitDiff>;

export const ProfileSummary = z.looseObject({
  name: z.string(),
  model: z.string().nullish(),
  base_url: z.string().nullish(),
  api_key_set: z.boolean().nullish(),
});
export type ProfileSummary = z.infer<typeof ProfileSummary>;
export const ProfilesAnswer = z.looseObject({ profiles: z.array(ProfileSummary) });
