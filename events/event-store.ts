import { eq } from 'drizzle-orm';
import { isTransient } from '../contract/event.js';
import { dashedId, hexId, isUuid } from '../contract/ids.js';
import type { Page } from '../contract/primitives.js';
import { lockConversationEvents } from '../db/callback-repository.js';
import type { Database } from '../db/database.js';
import type { VisibleUsers } from '../db/paging.js';
import { eventIndex } from '../db/schema/index.js';
import { createHealer, readIndexed, type DamagedEvent } from './damage.js';
import type { EventDisk } from './event-disk.js';
import { EventFiles } from './event-files.js';
import { EventIndex, type EventLocation, type EventPageRequest, type EventQuery } from './event-index.js';
import { arrivedEvents, type IncomingEvent } from './incoming-event.js';
import { createIngestCommit, type IngestResult } from './ingest-commit.js';

export interface EventStoreOptions {
  /** The persistence directory; events are below `v1/events` in it. */
  directory: string;
  database: Database;
  /** In the place of the machine's own. */
  disk?: EventDisk;
  /**
   * Told of an indexed event whose file is damaged. It is left out of answers; where it was `dropped` it may be fetched
   * again, otherwise somebody has to look.
   */
  onDamage?: (damaged: DamagedEvent) => void;
}

/** Index entries, and events, held at a time while all events are read. */
const STREAM_PAGE = 512;
const STREAM_FILES = 16;

/**
 * The events of all conversations: files are the authority, the index in PostgreSQL is derived from them and answers
 * every question, so that no request reads a directory, or more files than the page it returns.
 */
export function createEventStore({ directory, database, disk, onDamage }: EventStoreOptions) {
  const files = new EventFiles(directory, disk);
  const index = new EventIndex(database);
  const watchers = onDamage ? [onDamage] : [];
  const healer = createHealer({ files, database }, (damaged) => {
    for (const watch of watchers) watch(damaged);
  });

  const commit = createIngestCommit({ files, index, database });

  async function readAll(locations: readonly EventLocation[]): Promise<(string | null)[]> {
    return Promise.all(
      locations.map(async (location) => {
        const reading = await readIndexed(files, location);
        if ('json' in reading) return reading.json;
        healer.heal(location, reading.damage);
        return null;
      }),
    );
  }

  return {
    /**
     * Stores events of a conversation; those that are there already, and those that the agent-server itself does not
     * keep, are left out. They are on disk, indexed and queued for callbacks when this resolves.
     * @throws when they are not: then none of them is visible, and the same call may be made again.
     */
    async ingest(conversationId: string, incoming: readonly IncomingEvent[]): Promise<IngestResult> {
      const arrived = arrivedEvents(
        incoming.filter(({ event }) => !isTransient(event)),
        new Date(),
      );
      if (arrived.length === 0) return { stored: [], callbacksQueued: false };
      await files.write(
        conversationId,
        arrived.map(({ fileName, json }) => ({ name: fileName, content: json })),
      );
      return commit(conversationId, arrived);
    },

    /** A page of events as JSON texts, in order of time and, within the same microsecond, of arrival. */
    async search(query: EventQuery, page: EventPageRequest): Promise<Page<string>> {
      const { locations, next } = await index.page(query, page);
      const items = (await readAll(locations)).filter((json) => json !== null);
      return { items, next_page_id: next };
    },

    /** All events that {@link search} finds over all its pages, a few at a time: no more are held, however many there are. */
    async *stream(query: EventQuery): AsyncGenerator<{ id: string; json: string }[]> {
      let pageId: string | null = null;
      do {
        const { locations, next } = await index.page(query, {
          sortOrder: 'TIMESTAMP',
          limit: STREAM_PAGE,
          pageId,
        });
        for (let from = 0; from < locations.length; from += STREAM_FILES) {
          const few = locations.slice(from, from + STREAM_FILES);
          const texts = await readAll(few);
          yield few.flatMap(({ eventId: id }, place) => {
            const json = texts[place];
            return typeof json === 'string' ? [{ id, json }] : [];
          });
        }
        pageId = next;
      } while (pageId !== null);
    },

    /** How many events {@link search} finds over all its pages. */
    count: (query: EventQuery): Promise<number> => index.count(query),

    /**
     * The events with these ids as JSON texts, aligned with them; null for what is missing or not the caller's.
     * An id that is a UUID is found in any spelling.
     * @param conversationId null to look in all conversations that the caller may see.
     */
    async batch(
      conversationId: string | null,
      users: VisibleUsers,
      ids: readonly string[],
    ): Promise<(string | null)[]> {
      const locations = await index.locate(conversationId, users, ids.flatMap(spellings));
      const first = new Map<string, EventLocation>();
      for (const location of locations)
        if (!first.has(location.eventId)) first.set(location.eventId, location);
      const found = [...first.values()];
      const texts = await readAll(found);
      const byId = new Map(found.map(({ eventId }, position) => [eventId, texts[position] ?? null]));
      return ids.map((id) =>
        spellings(id).reduce<string | null>((text, spelling) => text ?? byId.get(spelling) ?? null, null),
      );
    },

    /** Those of the ids that are not stored yet. */
    async missing(conversationId: string, ids: readonly string[]): Promise<string[]> {
      const known = await index.fileNames(conversationId, ids);
      return ids.filter((id) => !known.has(id));
    },

    /** Has damage told to one more listener, from now on. */
    watchDamage: (watch: (damaged: DamagedEvent) => void): void => void watchers.push(watch),

    /** Resolves when no repair of damage found by readers is under way. */
    repaired: (): Promise<void> => healer.idle(),

    /** Removes all events of a conversation; repeated, it does no harm. */
    async deleteConversation(conversationId: string): Promise<void> {
      await database.transaction(async (tx) => {
        await lockConversationEvents(tx, conversationId);
        await tx.delete(eventIndex).where(eq(eventIndex.conversationId, conversationId));
      });
      await files.removeConversation(conversationId);
    },
  };
}

/** The id as given, and a UUID's dashed and hex forms: clients may send any of them (contract 1.2). */
const spellings = (id: string): string[] => (isUuid(id) ? [id, dashedId(id), hexId(id)] : [id]);

export type EventStore = ReturnType<typeof createEventStore>;
