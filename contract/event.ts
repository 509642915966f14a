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

/** A text that the index can hold: PostgreSQL has neither NUL nor half of a surrogate pair in texts. */
const storable = () =>
  z
    .string()
    .min(1)
    .max(200)
    .refine((text) => !/\0|\p{Surrogate}/u.test(text), {
      error: 'Value error, only characters that can be stored are accepted',
      params: { type: 'value_error' },
    });

/**
 * An event as an agent-server sends it. Only what we need is named; everything else passes through untouched,
 * kinds of later releases included.
 */
export const AgentEvent = z.looseObject({
  id: storable(),
  kind: storable(),
  /** The agent-server's own string; one that cannot be read counts as none. */
  timestamp: z.string().optional().catch(undefined),
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
  /** `YYYY-MM-DDTHH:MM:SS.ffffffZ`, inclusive. */
  timestampGte?: string;
  /** The same, exclusive. */
  timestampLt?: string;
}
