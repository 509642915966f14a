/** Events on their way in: what we understand of them, together with their exact text. */
import type { AgentEvent } from '../contract/event.js';
import { eventFileName } from './event-file-name.js';
import { eventTimestampOf, parseEventTimestamp, type EventTimestamp } from './event-timestamp.js';

export interface IncomingEvent {
  event: AgentEvent;
  /**
   * The event's JSON as it was sent. Kept as text, because parsing and printing would change numbers beyond 2^53,
   * `1.0`, the order of members that look like numbers, and members named twice.
   */
  json: string;
}

/** An event of which only the value is at hand. */
export const incomingEvent = (event: AgentEvent): IncomingEvent => ({ event, json: JSON.stringify(event) });

/** An event with all that is decided at its arrival. */
export interface ArrivedEvent extends IncomingEvent {
  id: string;
  kind: string;
  /** Its own time, or that of its arrival where it has none that can be read. */
  timestamp: EventTimestamp;
  fileName: string;
}

/** The first of each id, with time and file name. */
export function arrivedEvents(incoming: readonly IncomingEvent[], now: Date): ArrivedEvent[] {
  const byId = new Map<string, ArrivedEvent>();
  for (const { event, json } of incoming) {
    const { id, kind } = event;
    if (byId.has(id)) continue;
    const timestamp = timestampOf(event) ?? eventTimestampOf(now);
    byId.set(id, { event, json, id, kind, timestamp, fileName: eventFileName({ id, kind, timestamp }) });
  }
  return [...byId.values()];
}

/** The event's own time; null where it has none that can be read. */
export const timestampOf = (event: AgentEvent): EventTimestamp | null =>
  event.timestamp === undefined ? null : parseEventTimestamp(event.timestamp);
