/** The index of the event files in PostgreSQL: answers which files a page consists of, and counts them. */
import { and, eq, inArray, sql, type SQL } from 'drizzle-orm';
import type { EventFilter, EventSortOrder } from '../contract/event.js';
import { enqueueStatement } from '../db/callback-repository.js';
import type { Database } from '../db/database.js';
import type { Executor } from '../db/executor.js';
import { ownedBy, type VisibleUsers } from '../db/paging.js';
import { conversations, eventIndex } from '../db/schema/index.js';
import { isEventTimestamp, type EventTimestamp } from './event-timestamp.js';

/** What the index holds of an event. */
export interface IndexEntry {
  id: string;
  kind: string;
  timestamp: EventTimestamp;
  fileName: string;
}

/** Where an event's file is. */
export type EventLocation = { conversationId: string; eventId: string; fileName: string };

/** Events to look for, among those of conversations that the caller may see. */
export interface EventQuery extends EventFilter {
  users: VisibleUsers;
}

export interface EventPageRequest {
  sortOrder: EventSortOrder;
  limit: number;
  /** Cursor of an earlier page; one that cannot be read means the first page. */
  pageId?: string | null;
  /** How many events of one conversation to pass over, for clients that know places and no cursors; it costs as much as reading them. */
  offset?: number;
}

/** Where a page ended. */
interface EventPosition {
  timestamp: EventTimestamp;
  ordinal: number;
}

type LocatedRow = EventLocation & { timestamp: EventTimestamp; ordinal: number } & Record<string, unknown>;

const COLUMNS = sql`
  event_index.conversation_id as "conversationId", event_index.event_id as "eventId",
  event_index.file_name as "fileName", event_index.ordinal::float8 as "ordinal",
  to_char(event_index.timestamp at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as "timestamp"`;

export interface Addition {
  /** File names of those added, by id. */
  added: Map<string, string>;
  /** How many entries the callback queue got for them. */
  queued: number;
}

/** Adds entries of one conversation; see {@link addAllToIndex}. */
export async function addToIndex(
  tx: Executor,
  conversationId: string,
  entries: readonly IndexEntry[],
): Promise<Addition> {
  const additions = await addAllToIndex(tx, new Map([[conversationId, entries]]));
  return additions.get(conversationId) ?? { added: new Map(), queued: 0 };
}

/**
 * Adds entries of conversations in the given order, and queues them for the callbacks that want them, all in one
 * statement; ids that are there already are left alone. The caller holds `lockConversationEvents` of each conversation.
 * @returns an addition for each of the conversations
 */
export async function addAllToIndex(
  tx: Executor,
  entriesOf: ReadonlyMap<string, readonly IndexEntry[]>,
): Promise<Map<string, Addition>> {
  const all = [...entriesOf].flatMap(([conversationId, entries]) =>
    entries.map((entry) => ({ conversationId, ...entry })),
  );
  const column = (name: 'conversationId' | 'id' | 'kind' | 'timestamp' | 'fileName') =>
    sql.param(all.map((entry) => entry[name]));
  const { rows } = await tx.execute<{
    conversationId: string;
    id: string;
    fileName: string;
    queued: number;
  }>(sql`
    with added as (
      insert into event_index (conversation_id, event_id, kind, timestamp, file_name)
      select entry.conversation_id, entry.id, entry.kind, entry.timestamp, entry.file_name
      from unnest(
        ${column('conversationId')}::text[], ${column('id')}::text[], ${column('kind')}::text[],
        ${column('timestamp')}::timestamptz[], ${column('fileName')}::text[]
      ) with ordinality as entry (conversation_id, id, kind, timestamp, file_name, position)
      order by entry.position
      on conflict do nothing
      returning conversation_id, event_id, kind, ordinal, file_name
    ), queued as (
      ${enqueueStatement(sql`(select conversation_id, event_id, kind, ordinal from added)`)}
      returning conversation_id
    )
    select added.conversation_id as "conversationId", added.event_id as "id", added.file_name as "fileName",
      (select count(*) from queued where queued.conversation_id = added.conversation_id)::int as "queued"
    from added`);
  const additions = new Map<string, Addition>();
  for (const conversationId of entriesOf.keys())
    additions.set(conversationId, { added: new Map(), queued: 0 });
  for (const { conversationId, id, fileName, queued } of rows) {
    const addition = additions.get(conversationId);
    addition?.added.set(id, fileName);
    if (addition) addition.queued = queued;
  }
  return additions;
}

/** File names of those of the ids that are indexed, by id. */
export async function indexedFileNames(
  executor: Executor,
  conversationId: string,
  ids: readonly string[],
): Promise<Map<string, string>> {
  if (ids.length === 0) return new Map();
  const rows = await executor
    .select({ id: eventIndex.eventId, fileName: eventIndex.fileName })
    .from(eventIndex)
    .where(and(eq(eventIndex.conversationId, conversationId), inArray(eventIndex.eventId, [...ids])));
  return new Map(rows.map(({ id, fileName }) => [id, fileName]));
}

/** Reads the index. Every method reads as many rows as it returns; only a count within a time reads as many entries as it counts. */
export class EventIndex {
  constructor(private readonly database: Database) {}

  /** File names of those of the ids that are indexed, by id; whoever asks. */
  fileNames(conversationId: string, ids: readonly string[]): Promise<Map<string, string>> {
    return indexedFileNames(this.database, conversationId, ids);
  }

  /** The files of a page, and the cursor of the next one. */
  async page(
    query: EventQuery,
    page: EventPageRequest,
  ): Promise<{ locations: EventLocation[]; next: string | null }> {
    const descending = page.sortOrder === 'TIMESTAMP_DESC';
    const position = decodePosition(page.pageId);
    const conditions = [...filters(query), ...(position ? [beyond(position, descending)] : [])];
    const passedOver = query.conversationId === null ? 0 : (page.offset ?? 0);
    const pageOf = (scope: SQL, order: readonly SQL[]) => sql`
      select ${COLUMNS} from event_index
      where ${sql.join([scope, ...conditions], sql` and `)} ${orderedBy(order, descending)}
      limit ${page.limit + 1} offset ${passedOver}`;
    const { conversationId, users } = query;
    const statement =
      conversationId !== null
        ? pageOf(sql`${isOf(sql`${conversationId}`)} and ${isVisible(conversationId, users)}`, OWN_ORDER)
        : acrossConversations(query, pageOf, descending, page.limit + 1);
    const rows = await this.#readInOrder(statement);
    const locations = rows.slice(0, page.limit);
    const last = locations.at(-1);
    return { locations, next: rows.length > page.limit && last ? encodePosition(last) : null };
  }

  /** How many events {@link page} would find over all its pages; where no time is asked for, without looking at them. */
  async count(query: EventQuery): Promise<number> {
    const countOf = (scope: (id: SQL) => SQL) =>
      hasWindow(query)
        ? sql`
          select count(*)::float8 as total from event_index
          where ${sql.join([scope(sql`event_index.conversation_id`), ...filters(query)], sql` and `)}`
        : sql`
          select coalesce(sum(event_counts.total), 0)::float8 as total from event_counts
          where ${scope(sql`event_counts.conversation_id`)}
            and ${query.kind === undefined ? sql`true` : sql`event_counts.kind = ${query.kind}`}`;
    const { conversationId, users } = query;
    const { rows } = await this.database.execute<{ total: number }>(
      conversationId !== null
        ? countOf((id) => within(conversationId, users, id))
        : sql`
          select coalesce(sum(counted.total), 0)::float8 as total from conversations
          cross join lateral (${countOf((id) => sql`${id} = conversations.id`)}) counted
          where ${visible(users)}`,
    );
    return rows[0]?.total ?? 0;
  }

  /**
   * Has the planner walk the index in order and stop after the page. Left alone, it collects and sorts all events of a
   * conversation wherever its statistics, which lag behind, take that for few.
   */
  async #readInOrder(statement: SQL): Promise<LocatedRow[]> {
    return this.database.transaction(async (tx) => {
      await tx.execute(sql`set local enable_bitmapscan = off`);
      return (await tx.execute<LocatedRow>(statement)).rows;
    });
  }

  /** Where the events with these ids are, in one conversation or in all that the caller may see. */
  async locate(
    conversationId: string | null,
    users: VisibleUsers,
    ids: readonly string[],
  ): Promise<EventLocation[]> {
    if (ids.length === 0) return [];
    const scope =
      conversationId === null
        ? sql`exists (
            select 1 from conversations where conversations.id = event_index.conversation_id and ${visible(users)})`
        : within(conversationId, users);
    const { rows } = await this.database.execute<LocatedRow>(sql`
      select ${COLUMNS} from event_index
      where event_index.event_id = any(${sql.param(ids)}::text[]) and ${scope}
      order by event_index.ordinal`);
    return rows;
  }
}

/**
 * One short page of each conversation, merged: what other users have stored costs nothing. Where everything is
 * visible and no kind is asked for, the index over all events is read in order instead.
 */
function acrossConversations(
  query: EventQuery,
  pageOf: (scope: SQL, order: readonly SQL[]) => SQL,
  descending: boolean,
  limit: number,
): SQL {
  if (query.users === null && query.kind === undefined) {
    const scope = sql`exists (
      select 1 from conversations where conversations.id = event_index.conversation_id and ${visible(null)})`;
    return pageOf(scope, TIME_ORDER);
  }
  const order = [sql`found."timestamp"`, sql`found."ordinal"`];
  return sql`
    select found.* from conversations
    cross join lateral (${pageOf(isOf(sql`conversations.id`), OWN_ORDER)}) found
    where ${visible(query.users)} ${orderedBy(order, descending)} limit ${limit}`;
}

/** Of all events, and within a conversation: what the indexes of {@link eventIndex} are sorted by. */
const TIME_ORDER = [sql`event_index.timestamp`, sql`event_index.ordinal`];
const OWN_ORDER = [sql`event_index.conversation_id`, ...TIME_ORDER];

const orderedBy = (columns: readonly SQL[], descending: boolean): SQL =>
  sql`order by ${sql.join(
    columns.map((column) => (descending ? sql`${column} desc` : column)),
    sql`, `,
  )}`;

/**
 * The events of one conversation, for a page in {@link OWN_ORDER}. As a list of one, so that the conversation stays a part of
 * the order, which its own indexes alone have: of a conversation that seems to hold most of all events, the planner would
 * otherwise read the index of all events and pass over what others have stored.
 */
const isOf = (conversationId: SQL): SQL =>
  sql`event_index.conversation_id = any(array[${conversationId}]::text[])`;

const hasWindow = ({ timestampGte, timestampLt }: EventFilter): boolean =>
  timestampGte !== undefined || timestampLt !== undefined;

function filters({ kind, timestampGte, timestampLt }: EventFilter): SQL[] {
  const conditions: SQL[] = [];
  if (kind !== undefined) conditions.push(sql`event_index.kind = ${kind}`);
  if (timestampGte !== undefined) {
    conditions.push(sql`event_index.timestamp >= ${timestampGte}::timestamptz`);
  }
  if (timestampLt !== undefined) conditions.push(sql`event_index.timestamp < ${timestampLt}::timestamptz`);
  return conditions;
}

const visible = (users: VisibleUsers): SQL =>
  sql`conversations.deleted_at is null and ${ownedBy(conversations.createdByUserId, users) ?? sql`true`}`;

/**
 * One conversation, if the caller may see it. The id is a constant of its own, so that the planner knows how many events
 * it has and reads its index in order.
 */
const within = (
  conversationId: string,
  users: VisibleUsers,
  column = sql`event_index.conversation_id`,
): SQL => sql`${column} = ${conversationId} and ${isVisible(conversationId, users)}`;

/** Whether the caller may see a conversation; looked up once for a statement. */
const isVisible = (conversationId: string, users: VisibleUsers): SQL =>
  sql`exists (select 1 from conversations where conversations.id = ${conversationId} and ${visible(users)})`;

const beyond = ({ timestamp, ordinal }: EventPosition, descending: boolean): SQL =>
  sql`(event_index.timestamp, event_index.ordinal) ${descending ? sql`<` : sql`>`} (
    ${timestamp}::timestamptz, ${ordinal}::bigint)`;

const encodePosition = ({ timestamp, ordinal }: EventPosition): string =>
  Buffer.from(JSON.stringify([timestamp, ordinal])).toString('base64url');

function decodePosition(cursor: string | null | undefined): EventPosition | null {
  if (!cursor) return null;
  const text = Buffer.from(cursor, 'base64url').toString('utf8');
  const match = /^\["([^"\\]+)",(\d{1,15})\]$/.exec(text);
  const [, timestamp = '', ordinal = ''] = match ?? [];
  return isEventTimestamp(timestamp) ? { timestamp, ordinal: Number(ordinal) } : null;
}
