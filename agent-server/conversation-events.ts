/** Calls about the events of conversations (agent-server contract 9). */
import { z } from 'zod';
import { AgentEventPage, type AgentEvent } from './schemas.js';
import type { CallOptions, Transport } from './transport.js';

export interface EventFilter {
  /** Full Python path of the class for servers before 1.58 (the short name finds nothing there). */
  kind?: string;
  source?: string;
  /** Case-insensitive part of a message text. */
  body?: string;
  timestampGte?: string;
  timestampLt?: string;
}

export interface EventPageRequest extends EventFilter {
  /** Id of the first event wanted. An unknown one silently starts from the beginning. */
  pageId?: string;
  /** 1 to 100. */
  limit?: number;
  sortOrder?: 'TIMESTAMP' | 'TIMESTAMP_DESC';
}

/** Where a conversation is. */
export const conversationPath = (id: string): string => `/api/conversations/${encodeURIComponent(id)}`;

export function conversationEventCalls(transport: Transport) {
  return {
    /** A page of the log, in log order or in reverse. */
    searchEvents: (
      id: string,
      request: EventPageRequest = {},
      options: CallOptions = {},
    ): Promise<AgentEventPage> => searchEvents(transport, id, request, options),

    /** The whole log from `fromEventId` (inclusive) or from the beginning, page by page. */
    async *eventsFrom(
      id: string,
      fromEventId: string | null = null,
      options: CallOptions = {},
    ): AsyncGenerator<AgentEvent> {
      let pageId = fromEventId ?? undefined;
      do {
        const page = await searchEvents(transport, id, { pageId, limit: 100 }, options);
        yield* page.items;
        pageId = page.next_page_id ?? undefined;
      } while (pageId !== undefined);
    },

    /** Number of stored events. */
    countEvents: (id: string, filter: EventFilter = {}, options: CallOptions = {}): Promise<number> =>
      transport.json(
        {
          method: 'GET',
          path: `${conversationPath(id)}/events/count`,
          query: filterQuery(filter),
          idempotent: true,
          ...options,
        },
        z.number(),
      ),
  };
}

function searchEvents(
  transport: Transport,
  id: string,
  request: EventPageRequest,
  options: CallOptions,
): Promise<AgentEventPage> {
  const query = filterQuery(request);
  if (request.pageId !== undefined) query.push(['page_id', request.pageId]);
  if (request.limit !== undefined) query.push(['limit', String(request.limit)]);
  if (request.sortOrder !== undefined) query.push(['sort_order', request.sortOrder]);
  return transport.json(
    { method: 'GET', path: `${conversationPath(id)}/events/search`, query, idempotent: true, ...options },
    AgentEventPage,
  );
}

function filterQuery(filter: EventFilter): [string, string][] {
  const named: [string, string | undefined][] = [
    ['kind', filter.kind],
    ['source', filter.source],
    ['body', filter.body],
    ['timestamp__gte', filter.timestampGte],
    ['timestamp__lt', filter.timestampLt],
  ];
  return named.filter((pair): pair is [string, string] => pair[1] !== undefined);
}
