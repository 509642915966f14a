import { z } from 'zod';
import { InitialMessage } from './content.js';
import { ConversationTrigger, GitProvider, HexUuid } from './primitives.js';

/** States of a start, in the order in which they are passed (contract 3.4). */
export const START_STATUSES = [
  'WORKING',
  'WAITING_FOR_SANDBOX',
  'PREPARING_REPOSITORY',
  'RUNNING_SETUP_SCRIPT',
  'SETTING_UP_GIT_HOOKS',
  'SETTING_UP_SKILLS',
  'STARTING_CONVERSATION',
  'READY',
  'ERROR',
] as const;
export const StartStatus = z.enum(START_STATUSES);
export type StartStatus = z.infer<typeof StartStatus>;

/** READY and ERROR end a start; nothing follows them. */
export const isTerminal = (status: StartStatus): boolean => status === 'READY' || status === 'ERROR';

/** Event callbacks a start may ask for; unknown kinds are refused (contract 3.3). */
export const CallbackProcessor = z.looseObject({
  kind: z.enum(['SetTitleCallbackProcessor', 'LoggingCallbackProcessor', 'GithubV1CallbackProcessor']),
});
export type CallbackProcessor = z.infer<typeof CallbackProcessor>;

export const SuggestedTaskType = z.enum([
  'MERGE_CONFLICTS',
  'FAILING_CHECKS',
  'UNRESOLVED_COMMENTS',
  'OPEN_ISSUE',
  'OPEN_PR',
]);

export const SuggestedTask = z.object({
  git_provider: GitProvider,
  task_type: SuggestedTaskType,
  repo: z.string(),
  issue_number: z.int(),
  title: z.string(),
});
export type SuggestedTask = z.infer<typeof SuggestedTask>;

export const PluginSpec = z.object({
  source: z.string(),
  ref: z.string().nullable().default(null),
  repo_path: z
    .string()
    .refine((path) => !path.startsWith('/') && !path.split('/').includes('..'), {
      error: 'repo_path must be relative and must not contain ".."',
      params: { type: 'value_error' },
    })
    .nullable()
    .default(null),
  parameters: z.record(z.string(), z.unknown()).nullable().default(null),
});
export type PluginSpec = z.infer<typeof PluginSpec>;

/** The environment variables a start may never set, compared without case (contract 8.4). */
const REFUSED_SECRET_NAMES = new Set([
  'OPENVSCODE_SERVER_ROOT',
  'OH_ENABLE_VNC',
  'LOG_JSON',
  'OH_CONVERSATIONS_PATH',
  'OH_BASH_EVENTS_DIR',
  'PYTHONUNBUFFERED',
  'ENV_LOG_LEVEL',
  'OH_WEBHOOKS_0_BASE_URL',
  'OH_ALLOW_CORS_ORIGINS_0',
  'WORKER_1',
  'WORKER_2',
]);

/** Limits of the secrets that come with a start: count, characters of a name, bytes of a value. */
export const REQUEST_SECRET_LIMITS = { count: 50, nameLength: 256, valueBytes: 65_536 } as const;

/** Secrets given at start (contract 8.4). No message repeats a value. */
export const RequestSecrets = z.record(z.string(), z.string()).superRefine((secrets, context) => {
  const refuse = (message: string, path: string[] = []) =>
    context.addIssue({ code: 'custom', message, path, params: { type: 'value_error' } });
  const names = Object.keys(secrets);
  if (names.length > REQUEST_SECRET_LIMITS.count)
    refuse(`at most ${REQUEST_SECRET_LIMITS.count} secrets are accepted`);
  for (const name of names) {
    const upper = name.toUpperCase();
    if (name.length > REQUEST_SECRET_LIMITS.nameLength) {
      refuse(`a secret name has at most ${REQUEST_SECRET_LIMITS.nameLength} characters`);
    } else if (REFUSED_SECRET_NAMES.has(upper) || upper.startsWith('LLM_')) {
      refuse(`the name ${name} is reserved`, [name]);
    }
    if (new TextEncoder().encode(secrets[name]).byteLength > REQUEST_SECRET_LIMITS.valueBytes) {
      refuse(`the value of a secret has at most ${REQUEST_SECRET_LIMITS.valueBytes} bytes`, [name]);
    }
  }
});

/** Body of `POST /api/v1/app-conversations` and `stream-start`; every member optional (contract 3.3). */
export const StartRequest = z.object({
  sandbox_id: z.string().nullable().default(null),
  conversation_id: HexUuid.nullable().default(null),
  initial_message: InitialMessage.nullable().default(null),
  system_message_suffix: z.string().nullable().default(null),
  processors: z.array(CallbackProcessor).nullable().default(null),
  llm_model: z.string().nullable().default(null),
  selected_repository: z.string().nullable().default(null),
  selected_branch: z.string().nullable().default(null),
  git_provider: GitProvider.nullable().default(null),
  suggested_task: SuggestedTask.nullable().default(null),
  title: z.string().nullable().default(null),
  trigger: ConversationTrigger.nullable().default(null),
  pr_number: z.array(z.int()).default([]),
  parent_conversation_id: HexUuid.nullable().default(null),
  agent_type: z.enum(['default', 'plan']).default('default'),
  public: z.boolean().nullable().default(null),
  agent_profile_id: z.string().nullable().default(null),
  plugins: z.array(PluginSpec).nullable().default(null),
  secrets: RequestSecrets.nullable().default(null),
});
export type StartRequest = z.infer<typeof StartRequest>;

/**
 * The request as it is stored and shown: inherited values filled in, ids as the contract spells them
 * (`conversation_id` dashed, the parent hex), values of secrets masked.
 */
export type EffectiveStartRequest = StartRequest;

export { MASK } from './masking.js';

/** A start as clients see it; members in the order in which the stream writes them (contract 3.4, 3.5). */
export interface StartTask {
  id: string;
  created_by_user_id: string | null;
  status: StartStatus;
  detail: string | null;
  app_conversation_id: string | null;
  sandbox_id: string | null;
  agent_server_url: string | null;
  request: EffectiveStartRequest;
  created_at: string;
  updated_at: string;
}

/** Schema of {@link StartTask} for the OpenAPI document and for contract tests. */
export const StartTaskSchema = z.object({
  id: z.string(),
  created_by_user_id: z.string().nullable(),
  status: StartStatus,
  detail: z.string().nullable(),
  app_conversation_id: z.string().nullable(),
  sandbox_id: z.string().nullable(),
  agent_server_url: z.string().nullable(),
  request: z.looseObject({}),
  created_at: z.string(),
  updated_at: z.string(),
});
