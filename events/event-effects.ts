/** What events, and an agent-server's record, change of the conversation's row (contract 6.2, 6.3). */
import { ExecutionStatus } from '../contract/conversation.js';
import type { AgentEvent } from '../contract/event.js';
import { parseWireDate } from '../contract/dates.js';
import type { WebhookConversation } from '../contract/webhook.js';
import type { Dated, ReportedConversation, ReportedRun, StatsSnapshot } from '../db/conversation-report.js';
import type { ConversationRepository } from '../db/conversation-repository.js';
import { dateOf } from './event-timestamp.js';
import { timestampOf } from './incoming-event.js';
import { statsSnapshot } from './statistics.js';

export type EffectTarget = Pick<ConversationRepository, 'applyRun'>;

type Timed<Value> = Dated<Value> & { at: Date };

/** Of two values the one with the later time; of the same time, the second. */
const newer = <Value>(
  known: Timed<Value> | undefined,
  value: Value | null,
  at: Date,
): Timed<Value> | undefined =>
  value !== null && (known === undefined || at >= known.at) ? { value, at } : known;

/**
 * Carries the effects of events to the row. Harmless to repeat, and right in any order of arrival: nothing older
 * overwrites something newer, here or in the repository.
 */
export async function applyEventEffects(
  conversations: EffectTarget,
  conversationId: string,
  events: readonly AgentEvent[],
): Promise<void> {
  const now = new Date();
  let stats: Timed<StatsSnapshot> | undefined;
  let status: Timed<ExecutionStatus> | undefined;
  for (const event of events) {
    if (event.kind !== 'ConversationStateUpdateEvent') continue;
    const state = stateIn(event);
    const timestamp = timestampOf(event);
    const at = timestamp === null ? now : dateOf(timestamp);
    stats = newer(stats, statsSnapshot(state.stats), at);
    status = newer(status, ExecutionStatus.safeParse(state.status).data ?? null, at);
  }
  const llmModel = events.map(switchedModel).findLast((switched) => switched !== null) ?? undefined;
  if (stats ?? status ?? llmModel) await conversations.applyRun(conversationId, { stats, status, llmModel });
}

/** Statistics and status of a record, as of its own time. */
export function reportedRun(record: WebhookConversation): ReportedRun {
  const at = record.updated_at ? parseWireDate(record.updated_at) : null;
  const snapshot = statsSnapshot(record.stats);
  const status = ExecutionStatus.safeParse(record.execution_status);
  return {
    ...(snapshot && { stats: { value: snapshot, at } }),
    ...(status.success && { status: { value: status.data, at } }),
  };
}

/** What a record says of its conversation. */
export function reportedConversation(record: WebhookConversation): ReportedConversation {
  const { agent } = record;
  const agentKind = agent.agent_kind === 'acp' || agent.kind === 'ACPAgent' ? 'acp' : 'openhands';
  const llmModel = agentKind === 'acp' ? record.current_model_id || agent.acp_model : agent.llm?.model;
  const tags = Object.fromEntries(
    Object.entries(record.tags ?? {}).flatMap(([name, value]): [string, string][] =>
      typeof value === 'string' ? [[stored(name), stored(value)]] : [],
    ),
  );
  const server = agentKind === 'acp' ? acpServerOf(agent.acp_command) : null;
  return {
    id: record.id,
    llmModel: llmModel ? stored(llmModel) : null,
    agentKind,
    tags,
    derivedTags: server === null ? {} : { acpserver: server },
    workingDirectory: record.workspace.working_dir ? stored(record.workspace.working_dir) : null,
    createdAt: record.created_at ? parseWireDate(record.created_at) : null,
  };
}

/** A state update names one changed member, or is a snapshot of all. */
function stateIn(event: AgentEvent): { stats?: unknown; status?: unknown } {
  const value = event['value'];
  switch (event['key']) {
    case 'stats':
      return { stats: value };
    case 'execution_status':
      return { status: value };
    case 'full_state':
      return { stats: member(value, 'stats'), status: member(value, 'execution_status') };
    default:
      return {};
  }
}

/** The model that the agent's switch tool has made active; null for every other event. */
function switchedModel(event: AgentEvent): string | null {
  if (event.kind !== 'ObservationEvent') return null;
  const observation = event['observation'];
  const isSwitch =
    event['tool_name'] === 'switch_llm' || member(observation, 'kind') === 'SwitchLLMObservation';
  const model = isSwitch ? member(observation, 'active_model') : null;
  return typeof model === 'string' && model !== '' ? stored(model) : null;
}

/** Agents that speak the Agent Client Protocol, recognised by a word of their launch command. */
const ACP_SERVERS = [
  ['claude', 'claude-code'],
  ['codex', 'codex'],
  ['gemini', 'gemini-cli'],
] as const;

function acpServerOf(command: string | string[] | null | undefined): string | null {
  const text = [command ?? ''].flat().join(' ').toLowerCase();
  return ACP_SERVERS.find(([word]) => text.includes(word))?.[1] ?? null;
}

const member = (value: unknown, name: string): unknown =>
  typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[name] : undefined;

/** PostgreSQL has neither NUL nor half of a surrogate pair in texts. */
const stored = (text: string): string => text.replaceAll('\0', '').replaceAll(/\p{Surrogate}/gu, '\u{fffd}');
