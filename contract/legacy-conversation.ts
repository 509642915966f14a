/** Conversations as the clients of the 2025-11 release see them (contract 16.2). */
import { z } from 'zod';
import { type AppConversation, defaultTitle } from './conversation.js';
import { base62 } from './ids.js';
import { ConversationTrigger, GitProvider } from './primitives.js';
import type { SandboxStatus } from './sandbox.js';
import type { StartTask } from './start-task.js';

export const LegacyConversationStatus = z.enum(['STARTING', 'RUNNING', 'STOPPED', 'ARCHIVED', 'ERROR']);
export type LegacyConversationStatus = z.infer<typeof LegacyConversationStatus>;

export const LegacyConversation = z.object({
  /** Hex: clients compare it with the id in the address of their page. */
  conversation_id: z.string(),
  title: z.string(),
  last_updated_at: z.string(),
  created_at: z.string(),
  status: LegacyConversationStatus,
  /** What its agent is doing; null unless it runs. */
  runtime_status: z.enum(['STATUS$READY', 'STATUS$ERROR']).nullable(),
  selected_repository: z.string().nullable(),
  selected_branch: z.string().nullable(),
  git_provider: GitProvider.nullable(),
  trigger: ConversationTrigger.nullable(),
  num_connections: z.literal(0),
  url: z.string().nullable(),
  session_api_key: z.string().nullable(),
  pr_number: z.array(z.int()),
  conversation_version: z.literal('V1'),
  sub_conversation_ids: z.array(z.string()),
});
export type LegacyConversation = z.infer<typeof LegacyConversation>;

const STATUS: Record<SandboxStatus, LegacyConversationStatus> = {
  STARTING: 'STARTING',
  RUNNING: 'RUNNING',
  PAUSED: 'STOPPED',
  ERROR: 'ERROR',
  MISSING: 'ARCHIVED',
};

/** The state of a conversation in the older words, by that of its sandbox. */
export const legacyStatus = (sandbox: SandboxStatus): LegacyConversationStatus => STATUS[sandbox];

const HEALTHY: ReadonlySet<string | null> = new Set([
  'idle',
  'running',
  'paused',
  'waiting_for_confirmation',
  'finished',
]);

/** The older form of a conversation. */
export function legacyConversation(conversation: AppConversation): LegacyConversation {
  const { id, sandbox_status, execution_status } = conversation;
  return {
    conversation_id: id,
    title: conversation.title ?? `Conversation ${base62(Buffer.from(id, 'hex'))}`,
    last_updated_at: conversation.updated_at,
    created_at: conversation.created_at,
    status: legacyStatus(sandbox_status),
    runtime_status:
      sandbox_status === 'RUNNING' ? (HEALTHY.has(execution_status) ? 'STATUS$READY' : 'STATUS$ERROR') : null,
    selected_repository: conversation.selected_repository,
    selected_branch: conversation.selected_branch,
    git_provider: conversation.git_provider,
    trigger: conversation.trigger,
    num_connections: 0,
    url: conversation.conversation_url,
    session_api_key: conversation.session_api_key,
    pr_number: conversation.pr_number,
    conversation_version: 'V1',
    sub_conversation_ids: conversation.sub_conversation_ids,
  };
}

/**
 * The conversation that a start is about to lead to. The older clients open its page at once and take an unknown
 * conversation for a deleted one.
 */
export function startingConversation(conversationId: string, task: StartTask): LegacyConversation {
  const { request } = task;
  return {
    conversation_id: conversationId,
    title: defaultTitle(conversationId),
    last_updated_at: task.updated_at,
    created_at: task.created_at,
    status: task.status === 'ERROR' ? 'ERROR' : 'STARTING',
    runtime_status: null,
    selected_repository: request.selected_repository,
    selected_branch: request.selected_branch,
    git_provider: request.git_provider,
    trigger: request.trigger,
    num_connections: 0,
    url: null,
    session_api_key: null,
    pr_number: request.pr_number,
    conversation_version: 'V1',
    sub_conversation_ids: [],
  };
}
