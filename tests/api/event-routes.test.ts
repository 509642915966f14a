import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { incomingEvent } from '../../events/incoming-event.js';
import { startEventApi, type EventApi } from '../support/event-api.js';
import { insertConversation, newId } from '../support/rows.js';

type Json = Record<string, unknown>;
interface Page {
  items: Json[];
  next_page_id: string | null;
}

let api: EventApi;
let conversation: string;
let elsewhere: string;
const ids = Array.from({ length: 7 }, () => newId());

beforeAll(async () => {
  api = await startEventApi();
  conversation = await insertConversation(api.database, { createdByUserId: 'ada' });
  elsewhere = await insertConversation(api.database, { createdByUserId: 'bob' });
  const events = ids.map((id, n) => ({
    id,
    kind: n % 2 === 0 ? 'MessageEvent' : 'ActionEvent',
    timestamp: `2026-01-01T12:00:0${n}.5`,
  }));
  await api.events.ingest(conversation, events.map(incomingEvent));
  await api.events.ingest(elsewhere, [
    incomingEvent({ id: 'foreign', kind: 'MessageEvent', timestamp: '2026-01-02' }),
  ]);
});
afterAll(() => api.close());

/** The same question in both forms that clients know. */
const forms = [
  [
    '2025-11',
    (what: string, query: string) => `/api/v1/events${what}?conversation_id__eq=${conversation}${query}`,
  ],
  [
    '1.11',
    (what: string, query: string) => `/api/v1/conversation/${conversation}/events${what}?${query.slice(1)}`,
  ],
] as const;

const idsOf = (page: Page) => page.items.map(({ id }) => id);

describe.each(forms)('in the form of %s', (_form, path) => {
  it('search lists the events in order, page by page, and count agrees', async () => {
    const first = await api.get<Page>(path('/search', '&limit=3'), 'ada');
    expect(first.status).toBe(200);
    const second = await api.get<Page>(
      path('/search', `&limit=4&page_id=${String(first.body.next_page_id)}`),
      'ada',
    );
    expect([...idsOf(first.body), ...idsOf(second.body)]).toEqual(ids);
    expect(second.body.next_page_id).toBeNull();
    const backwards = await api.get<Page>(path('/search', '&sort_order=TIMESTAMP_DESC'), 'ada');
    expect(idsOf(backwards.body)).toEqual([...ids].reverse());
    expect((await api.get(path('/count', ''), 'ada')).text).toBe('7');
  });

  it('filters by kind and by time, zones and plain seconds included', async () => {
    const found = async (query: string) => idsOf((await api.get<Page>(path('/search', query), 'ada')).body);
    expect(await found('&kind__eq=ActionEvent')).toEqual([ids[1], ids[3], ids[5]]);
    expect(
      await found('&timestamp__gte=2026-01-01T14:00:02%2B02:00&timestamp__lt=2026-01-01T12:00:04.500000'),
    ).toEqual([ids[2], ids[3]]);
    const seconds = Date.UTC(2026, 0, 1, 12, 0, 6) / 1000;
    expect(await found(`&timestamp__gte=${seconds}`)).toEqual([ids[6]]);
    expect((await api.get(path('/count', '&kind__eq=ActionEvent&sort_order=whatever'), 'ada')).body).toBe(3);
  });

  it('a cursor that cannot be read means the first page', async () => {
    for (const cursor of ['100', 'nonsense', '%00', 'e30']) {
      expect(idsOf((await api.get<Page>(path('/search', `&page_id=${cursor}`), 'ada')).body)).toEqual(ids);
    }
  });

  it('somebody else sees nothing of it', async () => {
    expect((await api.get(path('/search', ''), 'bob')).body).toEqual({ items: [], next_page_id: null });
    expect((await api.get(path('/count', ''), 'bob')).body).toBe(0);
  });

  it.each([
    ['&kind__eq=Hologram', 'kind__eq', 'literal_error'],
    ['&limit=0', 'limit', 'greater_than'],
    ['&limit=101', 'limit', 'less_than_equal'],
    ['&sort_order=RANDOM', 'sort_order', 'enum'],
    ['&timestamp__gte=soon', 'timestamp__gte', 'datetime_from_date_parsing'],
  ])('%s is refused', async (query, name, type) => {
    expect(await api.get(path('/search', query), 'ada')).toMatchObject({
      status: 422,
      body: { detail: [{ type, loc: ['query', name] }] },
    });
  });
});

describe('a batch', () => {
  const batch = (base: string, wanted: readonly string[], user = 'ada') =>
    api.get<(Json | null)[]>(`${base}?${wanted.map((id) => `id=${encodeURIComponent(id)}`).join('&')}`, user);

  it('is aligned with the ids, null for what is missing, foreign or no id at all', async () => {
    const wanted = [String(ids[3]), 'none', 'foreign', '\0', String(ids[0]), String(ids[3]), ''];
    for (const base of ['/api/v1/events', `/api/v1/conversation/${conversation}/events`]) {
      const { status, body } = await batch(base, wanted);
      expect(status).toBe(200);
      expect(body.map((item) => item?.['id'] ?? null)).toEqual([
        ids[3],
        null,
        null,
        null,
        ids[0],
        ids[3],
        null,
      ]);
    }
    expect((await batch('/api/v1/events', ['foreign'], 'bob')).body[0]).toMatchObject({ id: 'foreign' });
    expect((await batch(`/api/v1/conversation/${conversation}/events`, ['foreign'], 'bob')).body).toEqual([
      null,
    ]);
  });

  it('of more than a hundred is refused, and so is one without ids', async () => {
    const many = Array.from({ length: 101 }, () => 'x');
    for (const base of ['/api/v1/events', `/api/v1/conversation/${conversation}/events`]) {
      expect(await batch(base, many)).toMatchObject({
        status: 400,
        body: { detail: 'Cannot request more than 100 events at once, got 101' },
      });
      expect((await batch(base, many.slice(1))).status).toBe(200);
      expect(await api.get(base, 'ada')).toMatchObject({
        status: 422,
        body: { detail: [{ type: 'missing', loc: ['query', 'id'] }] },
      });
    }
  });
});

describe('without a conversation', () => {
  it('all events that the caller may see are found', async () => {
    expect((await api.get('/api/v1/events/count', 'ada')).body).toBe(7);
    expect((await api.get('/api/v1/events/count', 'bob')).body).toBe(1);
    expect((await api.get('/api/v1/events/count')).body).toBe(8);
    expect(idsOf((await api.get<Page>('/api/v1/events/search?limit=2')).body)).toEqual(ids.slice(0, 2));
  });

  it('or with one that does not exist the answer is an empty page; a malformed id is refused', async () => {
    const unknown = newId();
    expect((await api.get(`/api/v1/conversation/${unknown}/events/search`)).body).toEqual({
      items: [],
      next_page_id: null,
    });
    expect((await api.get(`/api/v1/events/count?conversation_id__eq=${unknown}`)).body).toBe(0);
    expect(await api.get('/api/v1/conversation/no-id/events/search')).toMatchObject({
      status: 422,
      body: { detail: [{ type: 'uuid_parsing', loc: ['path', 'conversation_id'] }] },
    });
    expect(await api.get('/api/v1/events/search?conversation_id__eq=no-id')).toMatchObject({ status: 422 });
  });
});
