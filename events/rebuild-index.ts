/** Making the index anew from the files, which are the authority: after a restore, or when the database was lost. */
import { and, eq, sql } from 'drizzle-orm';
import { AgentEvent } from '../contract/event.js';
import { lockConversationEvents } from '../db/callback-repository.js';
import type { Database } from '../db/database.js';
import { conversations, eventIndex } from '../db/schema/index.js';
import { EventFiles } from './event-files.js';
import { timestampOfFileName } from './event-file-name.js';
import { addToIndex, type IndexEntry } from './event-index.js';

export interface RebuildResult {
  conversations: number;
  /** Entries that were missing. */
  added: number;
  /** Entries without a file, which are gone. */
  removed: number;
  /** Files that are no events of ours; they are left where they are. */
  unreadable: string[];
}

/** Files read at a time. */
const CHUNK = 500;

/**
 * Brings the index to what the files say, conversation by conversation; what is right already is not touched, and
 * callbacks that have a result are not run again. May run while webhooks come in.
 * @param onConversation told after each one.
 */
export async function rebuildEventIndex(
  { directory, database }: { directory: string; database: Database },
  onConversation: (conversationId: string) => void = () => undefined,
): Promise<RebuildResult> {
  const files = new EventFiles(directory);
  const result: RebuildResult = { conversations: 0, added: 0, removed: 0, unreadable: [] };
  for (const conversationId of await files.conversations()) {
    const [row] = await database
      .select({ deletedAt: conversations.deletedAt })
      .from(conversations)
      .where(eq(conversations.id, conversationId));
    if (row?.deletedAt) continue;
    await rebuildOne(database, files, conversationId, result);
    result.conversations++;
    onConversation(conversationId);
  }
  return result;
}

async function rebuildOne(
  database: Database,
  files: EventFiles,
  conversationId: string,
  result: RebuildResult,
): Promise<void> {
  await database.transaction(async (tx) => {
    await lockConversationEvents(tx, conversationId);
    const names = await files.names(conversationId);
    for (let at = 0; at < names.length; at += CHUNK) {
      const chunk = names.slice(at, at + CHUNK);
      const read = await Promise.all(chunk.map((name) => entryOf(files, conversationId, name)));
      result.unreadable.push(...chunk.filter((_, position) => read[position] === null));
      const entries = read.filter((entry) => entry !== null);
      result.added += (await addToIndex(tx, conversationId, entries)).added.size;
    }
    const removed = await tx
      .delete(eventIndex)
      .where(
        and(
          eq(eventIndex.conversationId, conversationId),
          sql`${eventIndex.fileName} <> all(${sql.param(names)}::text[])`,
        ),
      )
      .returning({ id: eventIndex.eventId });
    result.removed += removed.length;
  });
}

/** The entry of a file, its time as the name has it: that is the one it was stored under. */
async function entryOf(files: EventFiles, conversationId: string, name: string): Promise<IndexEntry | null> {
  const timestamp = timestampOfFileName(name);
  const json = timestamp === null ? null : await files.read(conversationId, name);
  if (timestamp === null || json === null) return null;
  const event = AgentEvent.safeParse(parsed(json));
  return event.success ? { id: event.data.id, kind: event.data.kind, timestamp, fileName: name } : null;
}

function parsed(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch (error) {
    if (error instanceof SyntaxError) return null; // not written by us: reported as unreadable
    throw error;
  }
}
