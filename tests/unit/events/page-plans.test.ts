/** A page is read from the index of its own conversation, however large a part of all events that conversation has. */
import { sql } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/node-postgres';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { EventSortOrder } from '../../../contract/event.js';
import * as schema from '../../../db/schema/index.js';
import { EventIndex, type EventQuery } from '../../../events/event-index.js';
import { openTestDatabase } from '../../support/database.js';
import { insertConversation } from '../../support/rows.js';

const OTHERS = 20_000;
const OWN = 80_000;
const LIMIT = 100;
/** A page, whether there is another one, and the two conversations. */
const ROWS = LIMIT + 3;

let connection: Awaited<ReturnType<typeof openTestDatabase>>;
let conversation: string;

/** Others have the oldest and the newest events, this conversation four fifths of all, in between. */
beforeAll(async () => {
  connection = await openTestDatabase();
  const { database } = connection;
  conversation = await insertConversation(database, { createdByUserId: 'ada' });
  const other = await insertConversation(database, { createdByUserId: 'bob' });
  await database.execute(sql`
    insert into event_index (conversation_id, event_id, kind, timestamp, file_name)
    select case when n between ${OTHERS / 2} and ${OTHERS / 2 + OWN} then ${conversation} else ${other} end, 'event-' || n,
      (array['MessageEvent', 'ActionEvent'])[n % 2 + 1], '2026-01-01'::timestamptz + n * interval '1 second', 'x'
    from generate_series(1, ${OTHERS + OWN}) n`);
  await database.execute(sql`vacuum analyze event_index`);
  await database.execute(sql`analyze conversations`);
});
afterAll(() => connection.close());

/** How many rows were read for a page: those in it, and those that were passed over. */
async function rowsRead(query: EventQuery, sortOrder: EventSortOrder, pageId?: string | null) {
  const asked: { query: string; params: unknown[] }[] = [];
  const logQuery = (text: string, params: unknown[]): void => void asked.push({ query: text, params });
  const index = new EventIndex(drizzle(connection.pool, { schema, logger: { logQuery } }));
  const { locations, next } = await index.page(query, { sortOrder, limit: LIMIT, pageId: pageId ?? null });
  const client = await connection.pool.connect();
  const plan: string[] = [];
  try {
    for (const statement of asked) {
      const isSelect = /^\s*select/.test(statement.query);
      const { rows } = await client.query<Record<'QUERY PLAN', string>>(
        isSelect ? `explain (analyze, timing off) ${statement.query}` : statement.query,
        statement.params,
      );
      if (isSelect) plan.push(...rows.map((row) => row['QUERY PLAN']));
    }
  } finally {
    client.release(true);
  }
  const text = plan.join('\n');
  const numbers = [/event_index.*actual .*?rows=([\d.]+)/g, /Rows Removed by Filter: (\d+)/g].flatMap(
    (form) => [...text.matchAll(form)].map((match) => Number(match[1])),
  );
  return { found: locations.length, next, read: numbers.reduce((sum, count) => sum + count, 0), plan: text };
}

const orders = ['TIMESTAMP', 'TIMESTAMP_DESC'] as const;
const filters: Partial<EventQuery>[] = [
  {},
  { users: null },
  { kind: 'ActionEvent' },
  { timestampGte: '2026-01-01T01:00:00.000000Z', timestampLt: '2026-01-01T20:00:00.000000Z' },
];

it.each(orders.flatMap((order) => filters.map((filter) => ({ order, filter }))))(
  'a page of one conversation reads no more rows than it shows: $order, $filter',
  async ({ order, filter }) => {
    const query: EventQuery = { conversationId: conversation, users: ['ada'], ...filter };
    const first = await rowsRead(query, order);
    const second = await rowsRead(query, order, first.next);
    for (const page of [first, second]) {
      expect(page.found).toBe(LIMIT);
      expect(page.read, page.plan).toBeLessThanOrEqual(ROWS);
    }
  },
);

it.each(orders)('a page of all conversations of a user reads as many rows of each: %s', async (order) => {
  const query: EventQuery = { conversationId: null, users: ['ada'] };
  const first = await rowsRead(query, order);
  const second = await rowsRead(query, order, first.next);
  for (const page of [first, second]) {
    expect(page.found).toBe(LIMIT);
    expect(page.read, page.plan).toBeLessThanOrEqual(ROWS);
  }
});
