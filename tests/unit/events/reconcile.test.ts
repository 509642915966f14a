import { describe, expect, it } from 'vitest';
import type { AgentEvent } from '../../../contract/event.js';
import { reconcileEvents, type EventLog } from '../../../events/reconcile.js';

const log = (length: number): AgentEvent[] =>
  Array.from({ length }, (_, n) => ({ id: `e${n}`, kind: 'MessageEvent', timestamp: '2026-01-01' }));

/** An agent-server's search: a page begins with the event named, an unknown one begins anew. */
function serve(events: readonly AgentEvent[]) {
  const requests: { limit: number; pageId?: string }[] = [];
  const server: EventLog = {
    countEvents: async () => events.length,
    async searchEvents(_id, { pageId, limit, sortOrder }) {
      requests.push({ limit, pageId });
      const ordered = sortOrder === 'TIMESTAMP' ? events : [...events].reverse();
      const start = Math.max(
        ordered.findIndex(({ id }) => id === pageId),
        0,
      );
      return {
        items: ordered.slice(start, start + limit),
        next_page_id: ordered[start + limit]?.id ?? null,
      };
    },
  };
  return { server, requests };
}

function storeWith(events: readonly AgentEvent[]) {
  const ids = events.map(({ id }) => id);
  return {
    ids,
    store: {
      count: async () => ids.length,
      missing: async (_id: string, wanted: readonly string[]) => wanted.filter((id) => !ids.includes(id)),
      async ingest(_id: string, incoming: readonly { event: AgentEvent }[]) {
        const stored = incoming.map(({ event }) => event).filter(({ id }) => !ids.includes(id));
        ids.push(...stored.map(({ id }) => id));
        return { stored, callbacksQueued: stored.length > 0 };
      },
    },
  };
}

const reconcile = async (there: AgentEvent[], here: AgentEvent[]) => {
  const { server, requests } = serve(there);
  const { store, ids } = storeWith(here);
  const fetched: string[] = [];
  const result = await reconcileEvents(store, server, 'c', {
    onStored: async (events) => void fetched.push(...events.map(({ id }) => id)),
  });
  expect(result.fetched).toBe(fetched.length);
  return { ...result, fetched, requests, ids };
};

describe('fetching lost events', () => {
  it('costs a count and one event when nothing is missing', async () => {
    const events = log(500);
    const { fetched, requests, callbacksQueued } = await reconcile(events, events);
    expect({ fetched, requests, callbacksQueued }).toEqual({
      fetched: [],
      requests: [{ limit: 1, pageId: undefined }],
      callbacksQueued: false,
    });
  });

  it('costs one page when the tail is missing', async () => {
    const events = log(500);
    const { fetched, requests } = await reconcile(events, events.slice(0, 497));
    expect(fetched).toEqual(['e497', 'e498', 'e499']);
    expect(requests.length).toBeLessThanOrEqual(2);
  });

  it('finds gaps wherever they are, in the order of the log', async () => {
    const events = log(350);
    const here = events.filter((_, n) => n !== 3 && n !== 120 && n !== 349);
    const { fetched, ids, callbacksQueued } = await reconcile(events, here);
    expect(fetched).toEqual(['e3', 'e120', 'e349']);
    expect(ids).toHaveLength(350);
    expect(callbacksQueued).toBe(true);
  });

  it('fetches everything into an empty store', async () => {
    const events = log(205);
    expect((await reconcile(events, [])).fetched).toEqual(events.map(({ id }) => id));
  });

  it('fetches thousands in order, once each, without holding them all', async () => {
    const events = log(2_450);
    const here = events.filter((_, n) => n < 30 || n === 1_200);
    const { fetched, ids, requests } = await reconcile(events, here);
    expect(fetched).toEqual(events.filter((event) => !here.includes(event)).map(({ id }) => id));
    expect(new Set(ids).size).toBe(2_450);
    expect(requests.length).toBeLessThan(55); // backwards to the oldest, forwards to the end
  });

  it('notices a lost tail although the counts are equal', async () => {
    const events = log(10);
    const here = [...events.slice(0, 9), { id: 'gone-there', kind: 'MessageEvent' }];
    expect((await reconcile(events, here)).fetched).toEqual(['e9']);
  });

  it('of an empty log fetches nothing', async () => {
    expect((await reconcile([], [])).fetched).toEqual([]);
  });

  it('ends although the server begins anew at every page', async () => {
    const events = log(250);
    const { server, requests } = serve(events);
    const looping: EventLog = {
      ...server,
      searchEvents: async (id, page) => ({
        ...(await server.searchEvents(id, { ...page, pageId: 'lost' })),
        next_page_id: 'lost',
      }),
    };
    const { store } = storeWith([]);
    const { fetched } = await reconcileEvents(store, looping, 'c');
    expect(fetched).toBe(100);
    expect(requests.length).toBeLessThan(10);
  });
});
