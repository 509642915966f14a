/** A conversation's log on disk: what stands in it survives the process. */
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { randomUUID } from 'node:crypto';
import type { LightEvent } from './webhooks.js';

/** `2026-11-21T23:32:27.824563`: naive, with microseconds, as the real server writes them. */
export function naiveTimestamp(): string {
  const micros = String(Math.floor((performance.now() % 1) * 1000)).padStart(3, '0');
  return new Date().toISOString().replace('Z', micros);
}

export const newEvent = (kind: string, source: string, members: Record<string, unknown>): LightEvent => ({
  id: randomUUID(),
  timestamp: naiveTimestamp(),
  source,
  parent_id: null,
  ...members,
  kind,
});

export const stateUpdate = (key: string, value: unknown): LightEvent =>
  newEvent('ConversationStateUpdateEvent', 'environment', { key, value });

export interface EventLog {
  readonly events: readonly LightEvent[];
  append(event: LightEvent): void;
}

/** @param file JSON lines; a last one that a crash has cut off is passed over */
export function openEventLog(file: string): EventLog {
  const events = existsSync(file) ? readFileSync(file, 'utf8').split('\n').flatMap(eventOf) : [];
  return {
    events,
    append(event) {
      appendFileSync(file, `${JSON.stringify(event)}\n`);
      events.push(event);
    },
  };
}

function eventOf(line: string): LightEvent[] {
  if (line === '') return [];
  try {
    return [JSON.parse(line) as LightEvent];
  } catch (error) {
    if (error instanceof SyntaxError) return [];
    throw error;
  }
}

/** As REST shows an event: without members that are null. */
export const withoutNulls = (event: LightEvent): Record<string, unknown> =>
  Object.fromEntries(Object.entries(event).filter(([, value]) => value !== null));

/** A page in log order or in reverse; an unknown page id begins anew (agent-server contract 11.3). */
export function pageOf(
  events: readonly LightEvent[],
  query: URLSearchParams,
): Record<string, unknown> | null {
  const limit = Number(query.get('limit') ?? 100);
  if (limit > 100) return null;
  const chosen = matching(events, query);
  if (query.get('sort_order') === 'TIMESTAMP_DESC') chosen.reverse();
  const start = Math.max(
    0,
    chosen.findIndex(({ id }) => id === query.get('page_id')),
  );
  const next = chosen[start + limit];
  return {
    items: chosen.slice(start, start + limit).map(withoutNulls),
    next_page_id: next?.id ?? null,
  };
}

export function matching(events: readonly LightEvent[], query: URLSearchParams): LightEvent[] {
  const since = query.get('timestamp__gte');
  const before = query.get('timestamp__lt');
  const kind = query.get('kind')?.split('.').at(-1);
  return events.filter(
    (event) =>
      (kind === undefined || event.kind === kind) &&
      (query.get('source') === null || event.source === query.get('source')) &&
      (since === null || event.timestamp >= since) &&
      (before === null || event.timestamp < before),
  );
}
