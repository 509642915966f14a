/** Fetching what webhooks have lost: the agent-server's own log is the only complete source (agent-server contract 13.5). */
import type { AgentEvent } from '../contract/event.js';
import type { EventStore } from './event-store.js';
import { incomingEvent } from './incoming-event.js';

/** The log of an agent-server, as far as it is needed here. */
export interface EventLog {
  countEvents(conversationId: string): Promise<number>;
  /** A page begins with the event named; a server that does not know it begins anew. */
  searchEvents(
    conversationId: string,
    page: { pageId?: string; limit: number; sortOrder: 'TIMESTAMP' | 'TIMESTAMP_DESC' },
  ): Promise<{ items: readonly AgentEvent[]; next_page_id?: string | null }>;
}

export interface Reconciliation {
  /** How many events were missing. */
  fetched: number;
  callbacksQueued: boolean;
}

export interface ReconcileOptions {
  /** Told after each page that was read. */
  onPage?: () => void;
  /** Given the events that were missing, in the order of the log, as they are stored. */
  onStored?: (events: readonly AgentEvent[]) => Promise<void>;
}

/** The most that an agent-server gives at a time. */
const PAGE = 100;
/** Missing events that are kept in memory while the log is read backwards; with more, it is read once again. */
const KEPT = 1_000;

type Store = Pick<EventStore, 'count' | 'missing' | 'ingest'>;

/**
 * Stores what the log has and the store has not. When nothing is missing, that is found out with a count and the newest
 * event; otherwise the log is read from its end until all that is missing has been seen. Memory is bounded, however
 * much is missing, and callbacks get what comes late in the order of the log.
 */
export async function reconcileEvents(
  store: Store,
  log: EventLog,
  conversationId: string,
  { onPage = () => undefined, onStored = () => Promise.resolve() }: ReconcileOptions = {},
): Promise<Reconciliation> {
  const [there, here] = await Promise.all([
    log.countEvents(conversationId),
    store.count({ conversationId, users: null }),
  ]);
  const gap = await findGap(store, log, conversationId, { there, lacking: there - here, onPage });
  const result: Reconciliation = { fetched: 0, callbacksQueued: false };
  const take = async (events: readonly AgentEvent[]): Promise<void> => {
    if (events.length === 0) return;
    const { stored, callbacksQueued } = await store.ingest(conversationId, events.map(incomingEvent));
    // Also those that were stored by somebody else in the meantime: their effects may not have been.
    await onStored(events);
    result.fetched += stored.length;
    result.callbacksQueued ||= callbacksQueued;
  };
  if (gap.kept) {
    for (let at = 0; at < gap.kept.length; at += PAGE) await take(gap.kept.slice(at, at + PAGE));
  } else {
    for await (const page of forwards(log, conversationId, gap.oldest, there, onPage)) {
      await take(await unknownOf(store, conversationId, page));
    }
  }
  return result;
}

/** What is missing: the events in the order of the log, or only the oldest of them where they are many. */
type Gap = { kept: AgentEvent[] } | { kept: null; oldest: string };

async function findGap(
  store: Store,
  log: EventLog,
  conversationId: string,
  { there, lacking, onPage }: { there: number; lacking: number; onPage: () => void },
): Promise<Gap> {
  let kept: AgentEvent[] | null = [];
  let oldest = '';
  let missing = 0;
  // A server that does not know a page id any more begins anew: more pages than the log has are not read.
  let pagesLeft = Math.ceil(there / PAGE) + 2;
  let pageId: string | undefined;
  do {
    const limit = lacking === 0 && pageId === undefined ? 1 : PAGE;
    const page = await log.searchEvents(conversationId, { pageId, limit, sortOrder: 'TIMESTAMP_DESC' });
    const unknown = await unknownOf(store, conversationId, page.items);
    missing += unknown.length;
    oldest = unknown.at(-1)?.id ?? oldest;
    kept = kept && missing <= KEPT ? [...kept, ...unknown] : null;
    onPage();
    pageId = unknown.length === 0 && missing >= lacking ? undefined : (page.next_page_id ?? undefined);
  } while (pageId !== undefined && --pagesLeft > 0);
  return kept ? { kept: kept.reverse() } : { kept: null, oldest };
}

/** The log from one event to its end, page by page. */
async function* forwards(
  log: EventLog,
  conversationId: string,
  from: string,
  there: number,
  onPage: () => void,
): AsyncGenerator<readonly AgentEvent[]> {
  let pagesLeft = Math.ceil(there / PAGE) + 2;
  let pageId: string | undefined = from;
  do {
    const page = await log.searchEvents(conversationId, { pageId, limit: PAGE, sortOrder: 'TIMESTAMP' });
    onPage();
    yield page.items;
    pageId = page.next_page_id ?? undefined;
  } while (pageId !== undefined && --pagesLeft > 0);
}

async function unknownOf(
  store: Store,
  conversationId: string,
  events: readonly AgentEvent[],
): Promise<AgentEvent[]> {
  const unknown = new Set(
    await store.missing(
      conversationId,
      events.map(({ id }) => id),
    ),
  );
  return events.filter(({ id }) => unknown.has(id));
}
