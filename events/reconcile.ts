/** Fetching what webhooks have lost: the agent-server's own log is the only complete source (agent-server contract 13.5). */
import type { AgentEvent } from '../contract/event.js';
import type { EventStore } from './event-store.js';
import { incomingEvent } from './incoming-event.js';

/** The log of an agent-server, as far as it is needed here. */
export interface EventLog {
  countEvents(conversationId: string): Promise<number>;
  searchEvents(
    conversationId: string,
    page: { pageId?: string; limit: number; sortOrder: 'TIMESTAMP_DESC' },
  ): Promise<{ items: readonly AgentEvent[]; next_page_id?: string | null }>;
}

export interface Reconciliation {
  /** Events that were missing, in the order of the log. */
  fetched: AgentEvent[];
  callbacksQueued: boolean;
}

/** The most that an agent-server gives at a time. */
const PAGE = 100;

/**
 * Stores what the log has and the store has not. When nothing is missing, that is found out with a count and the newest
 * event; otherwise the log is read from its end until all that is missing has been seen.
 * @param onPage told after each page that was read.
 */
export async function reconcileEvents(
  store: Pick<EventStore, 'count' | 'missing' | 'ingest'>,
  log: EventLog,
  conversationId: string,
  onPage: () => void = () => undefined,
): Promise<Reconciliation> {
  const [there, here] = await Promise.all([
    log.countEvents(conversationId),
    store.count({ conversationId, users: null }),
  ]);
  const lacking = Math.max(there - here, 0);
  const found: AgentEvent[] = [];
  // A server that does not know a page id any more begins anew: more pages than the log has are not read.
  let pagesLeft = Math.ceil(there / PAGE) + 2;
  let pageId: string | undefined;
  do {
    const limit = lacking === 0 && pageId === undefined ? 1 : PAGE;
    const page = await log.searchEvents(conversationId, { pageId, limit, sortOrder: 'TIMESTAMP_DESC' });
    const unknown = new Set(
      await store.missing(
        conversationId,
        page.items.map(({ id }) => id),
      ),
    );
    found.push(...page.items.filter(({ id }) => unknown.has(id)));
    onPage();
    pageId = unknown.size === 0 && found.length >= lacking ? undefined : (page.next_page_id ?? undefined);
  } while (pageId !== undefined && --pagesLeft > 0);
  return ingestInLogOrder(store, conversationId, found.reverse(), onPage);
}

async function ingestInLogOrder(
  store: Pick<EventStore, 'ingest'>,
  conversationId: string,
  events: readonly AgentEvent[],
  onPage: () => void,
): Promise<Reconciliation> {
  const result: Reconciliation = { fetched: [], callbacksQueued: false };
  for (let at = 0; at < events.length; at += PAGE) {
    const batch = events.slice(at, at + PAGE).map(incomingEvent);
    const { stored, callbacksQueued } = await store.ingest(conversationId, batch);
    result.fetched.push(...stored);
    result.callbacksQueued ||= callbacksQueued;
    onPage();
  }
  return result;
}
