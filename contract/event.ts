import { z } from 'zod';

/** Kinds that `kind__eq` accepts (contract 4). On ingest every kind is stored. */
export const EVENT_KINDS = [
  'ActionEvent',
  'MessageEvent',
  'AgentErrorEvent',
  'ObservationEvent',
  'UserRejectObservation',
  'SystemPromptEvent',
  'StreamingDeltaEvent',
  'TokenEvent',
  'InterruptEvent',
  'PauseEvent',
  'ServerErrorEvent',
  'ACPToolCallEvent',
  'Condensation',
  'CondensationRequest',
  'CondensationSummaryEvent',
  'ConversationErrorEvent',
  'ConversationStateUpdateEvent',
  'HookExecutionEvent',
  'LLMCompletionLogEvent',
] as const;
export const EventKind = z.enum(EVENT_KINDS);

export const EventSortOrder = z.enum(['TIMESTAMP', 'TIMESTAMP_DESC']);
export type EventSortOrder = z.infer<typeof EventSortOrder>;

/**
 * An event as an agent-server sends it. Only what we need is named; everything else passes through untouched,
 * kinds of later releases included.
 */
export const AgentEvent = z.looseObject({
  id: z.string().min(1).max(200),
  kind: z.string().min(1).max(200),
  timestamp: z.string().optional(),
});
export type AgentEvent = z.infer<typeof AgentEvent>;

/**
 * Events that the agent-server publishes but never keeps in its own log: snapshots of the whole state and
 * streaming deltas. We use them and do not store them, so that our count never exceeds what the agent-server
 * replays to a socket (contract 4).
 */
export const isTransient = (event: AgentEvent): boolean =>
  event.kind === 'StreamingDeltaEvent' ||
  (event.kind === 'ConversationStateUpdateEvent' && event['key'] === 'full_state');

/** Filters shared by search and count. */
export interface EventFilter {
  /** Hex ids; null means every conversation the caller may see. */
  conversationId: string | null;
  kind?: string;
  timestampGte?: Date;
  timestampLt?: Date;
}
