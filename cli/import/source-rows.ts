/** Rows of a Python server's tables, of any release, as what is stored here. */
import { z } from 'zod';
import { ExecutionStatus, NO_METRICS, type ConversationMetrics } from '../../contract/conversation.js';
import { dashedId } from '../../contract/ids.js';
import { ConversationTrigger, GitProvider } from '../../contract/primitives.js';
import { StartRequest, StartStatus, isTerminal } from '../../contract/start-task.js';
import type { TakenConversation, TakenStart } from '../../db/import-repository.js';
import { salvage } from './salvage.js';
import {
  flagOf,
  idOf,
  jsonOf,
  numberOf,
  textOf,
  timeOf,
  Undecodable,
  type SourceRow,
} from './source-database.js';

/** A conversation as a server had it. */
export interface SourceConversation extends TakenConversation {
  /** Members whose values mean nothing here. */
  dropped: string[];
}

/** Whether it is a conversation of the first generation (V0), which shares the table. */
export const isFirstGeneration = (row: SourceRow): boolean => textOf(row, 'conversation_version') !== 'V1';

/**
 * A row of `conversation_metadata`.
 * @throws {Undecodable}
 */
export function decodeConversation(row: SourceRow): SourceConversation {
  const id = idOf(row, 'conversation_id');
  if (id === null) throw new Undecodable('it has no id');
  const dropped: string[] = [];
  const known = <Value>(schema: z.ZodType<Value>, column: string): Value | null => {
    const text = textOf(row, column);
    if (text === null) return null;
    const value = schema.safeParse(text);
    if (!value.success) dropped.push(column);
    return value.data ?? null;
  };
  const llmModel = textOf(row, 'llm_model');
  const createdAt = timeOf(row, 'created_at') ?? timeOf(row, 'last_updated_at') ?? new Date(0);
  const status = known(ExecutionStatus, 'execution_status');
  return {
    id,
    createdByUserId: textOf(row, 'user_id'),
    sandboxId: textOf(row, 'sandbox_id') ?? `imported-${id}`,
    selectedRepository: textOf(row, 'selected_repository'),
    selectedBranch: textOf(row, 'selected_branch'),
    gitProvider: known(GitProvider, 'git_provider'),
    title: textOf(row, 'title'),
    trigger: known(ConversationTrigger, 'trigger'),
    prNumber: z.array(z.int()).catch([]).parse(jsonOf(row, 'pr_number')),
    llmModel,
    agentKind: textOf(row, 'agent_kind') === 'acp' ? 'acp' : 'openhands',
    metrics: decodeMetrics(row, llmModel),
    parentConversationId: idOf(row, 'parent_conversation_id'),
    public: flagOf(row, 'public'),
    tags: z.record(z.string(), z.string()).catch({}).parse(jsonOf(row, 'tags')),
    // No agent runs in a sandbox that is not there.
    executionStatus: status === 'running' ? 'paused' : status,
    createdAt,
    updatedAt: timeOf(row, 'last_updated_at') ?? createdAt,
    dropped,
  };
}

function decodeMetrics(row: SourceRow, llmModel: string | null): ConversationMetrics {
  const count = (column: string): number => Math.max(0, Math.trunc(numberOf(row, column) ?? 0));
  return {
    model_name: llmModel ?? NO_METRICS.model_name,
    accumulated_cost: numberOf(row, 'accumulated_cost') ?? 0,
    max_budget_per_task: numberOf(row, 'max_budget_per_task'),
    accumulated_token_usage: {
      ...NO_METRICS.accumulated_token_usage,
      model: llmModel ?? '',
      prompt_tokens: count('prompt_tokens'),
      completion_tokens: count('completion_tokens'),
      cache_read_tokens: count('cache_read_tokens'),
      cache_write_tokens: count('cache_write_tokens'),
      reasoning_tokens: count('reasoning_tokens'),
      context_window: count('context_window'),
      per_turn_token: count('per_turn_token'),
    },
  };
}

const CUT_OFF = 'The server from which this start was taken over had not finished it: start it again.';

/**
 * A row of `app_conversation_start_task`. One that had not ended is an ERROR here: nobody works on it any more.
 * @throws {Undecodable}
 */
export function decodeStart(row: SourceRow): TakenStart & { dropped: string[] } {
  const id = idOf(row, 'id');
  if (id === null) throw new Undecodable('it has no id');
  const status = StartStatus.safeParse(textOf(row, 'status'));
  if (!status.success) throw new Undecodable('its status is unknown');
  const given = salvage(StartRequest, jsonOf(row, 'request') ?? {});
  if (given === null) throw new Undecodable('request cannot be read');
  const appConversationId = idOf(row, 'app_conversation_id');
  const requested = given.value.conversation_id;
  const createdAt = timeOf(row, 'created_at') ?? new Date(0);
  const ended = isTerminal(status.data);
  return {
    id,
    conversationId: appConversationId ?? requested ?? id,
    createdByUserId: textOf(row, 'created_by_user_id'),
    request: { ...given.value, conversation_id: requested === null ? null : dashedId(requested) },
    status: ended ? status.data : 'ERROR',
    detail: ended ? textOf(row, 'detail') : CUT_OFF,
    appConversationId,
    sandboxId: textOf(row, 'sandbox_id'),
    createdAt,
    updatedAt: timeOf(row, 'updated_at') ?? createdAt,
    dropped: given.dropped.map((member) => `request.${member}`),
  };
}
