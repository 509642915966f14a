/** Indexed events whose file is not what it should be: found when they are read, and repaired without anybody's help. */
import { and, eq } from 'drizzle-orm';
import pLimit from 'p-limit';
import { lockConversationEvents } from '../db/callback-repository.js';
import type { Database } from '../db/database.js';
import type { Executor } from '../db/executor.js';
import { conversations, eventIndex } from '../db/schema/index.js';
import type { EventFiles } from './event-files.js';
import type { EventLocation } from './event-index.js';
import { storedEvent } from './stored-event.js';

/**
 * What is wrong with a file: it is not there, it does not hold its event (cut off, empty, another one), or the disk
 * does not give it out (`unreadable`), which says nothing about what is in it.
 */
export type Damage = 'missing' | 'torn' | 'unreadable';

export interface DamagedEvent extends EventLocation {
  damage: Damage;
  /** Whether its index entry is gone, so that the event counts as not stored and is fetched again. */
  dropped: boolean;
  /** Where a torn file was moved to. */
  setAside?: string;
}

export type Reading = { json: string } | { damage: Damage };

/** Reads the file of an index entry and looks whether it holds that event. Never throws for the state of the file. */
export async function readIndexed(files: EventFiles, location: EventLocation): Promise<Reading> {
  try {
    const json = await files.read(location.conversationId, location.fileName);
    if (json === null) return { damage: 'missing' };
    return storedEvent(json)?.id === location.eventId ? { json } : { damage: 'torn' };
  } catch (error) {
    if (!(error instanceof Error && 'syscall' in error)) throw error;
    return { damage: 'unreadable' };
  }
}

/**
 * Takes an entry out of the index if its file is still damaged; a torn file is set aside. The event can then come again.
 * Nothing is done where the whole directory is missing, as it is when a disk is not mounted, unless the caller says that
 * this may be. The caller holds `lockConversationEvents`.
 */
export async function dropIfDamaged(
  tx: Executor,
  files: EventFiles,
  location: EventLocation,
  { directoryMayBeMissing = false }: { directoryMayBeMissing?: boolean } = {},
): Promise<Pick<DamagedEvent, 'damage' | 'dropped' | 'setAside'> | null> {
  const { conversationId, eventId, fileName } = location;
  const reading = await readIndexed(files, location);
  if ('json' in reading) return null;
  const { damage } = reading;
  if (damage === 'unreadable') return { damage, dropped: false };
  if (!directoryMayBeMissing && !(await files.hasDirectory(conversationId)))
    return { damage, dropped: false };
  const setAside = damage === 'torn' ? await files.setAside(conversationId, fileName) : undefined;
  await tx
    .delete(eventIndex)
    .where(
      and(
        eq(eventIndex.conversationId, conversationId),
        eq(eventIndex.eventId, eventId),
        eq(eventIndex.fileName, fileName),
      ),
    );
  return { damage, dropped: true, ...(setAside === undefined ? {} : { setAside }) };
}

/** Damage reported while so many wait is repaired when it is met again. */
const MOST_WAITING = 1_000;

export interface Healer {
  /** Returns at once; of one event, one repair at a time. */
  heal(location: EventLocation, damage: Damage): void;
  /** Resolves when no repair is under way. */
  idle(): Promise<void>;
}

/** Repairs what readers come across, one after another, and tells `onDamage` of each. */
export function createHealer(
  { files, database }: { files: EventFiles; database: Database },
  onDamage: (damaged: DamagedEvent) => void,
): Healer {
  const oneByOne = pLimit(1);
  const waiting = new Map<string, Promise<void>>();

  async function repair(location: EventLocation, damage: Damage): Promise<void> {
    const { conversationId } = location;
    try {
      if (damage === 'unreadable' || !(await files.hasDirectory(conversationId))) {
        onDamage({ ...location, damage, dropped: false });
        return;
      }
      const found = await database.transaction(async (tx) => {
        await lockConversationEvents(tx, conversationId);
        const [row] = await tx
          .select({ deletedAt: conversations.deletedAt })
          .from(conversations)
          .where(eq(conversations.id, conversationId));
        return row?.deletedAt ? null : dropIfDamaged(tx, files, location);
      });
      if (found) onDamage({ ...location, ...found });
    } catch {
      // Database or disk do not let us: it is reported as it is, and repaired when it is met again.
      onDamage({ ...location, damage, dropped: false });
    }
  }

  return {
    heal(location, damage) {
      const key = `${location.conversationId}/${location.fileName}`;
      if (waiting.has(key) || waiting.size >= MOST_WAITING) return;
      waiting.set(
        key,
        oneByOne(() => repair(location, damage)).finally(() => waiting.delete(key)),
      );
    },
    async idle() {
      await Promise.all(waiting.values());
    },
  };
}
