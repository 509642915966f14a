/** Bringing files and index together again: after a crash, a restore, or when the database was lost. */
import { and, eq, gt, isNotNull } from 'drizzle-orm';
import type { Database } from '../db/database.js';
import { conversations, eventIndex } from '../db/schema/index.js';
import { EventFiles } from './event-files.js';
import { reindexConversation } from './reindex-conversation.js';
import {
  emptyResult,
  report,
  type ReindexContext,
  type ReindexOptions,
  type ReindexResult,
} from './reindex-findings.js';

/** Thrown instead of emptying the index: the events' directory is there no more, as when a disk is not mounted. */
export class EventDirectoryEmpty extends Error {
  constructor(readonly directory: string) {
    super(`There are no event files below ${directory}, but the index has entries.`);
    this.name = 'EventDirectoryEmpty';
  }
}

/**
 * Compares files and index, conversation by conversation, and brings the index to what the files say. What is right is
 * not touched, and callbacks that have a result are not run again. May run while webhooks come in, and be repeated;
 * its memory does not grow with the number of events.
 * @throws {EventDirectoryEmpty}
 */
export async function reindexEvents(options: ReindexOptions): Promise<ReindexResult> {
  const { database, after = '', conversationId: only } = options;
  const files = new EventFiles(options.directory, options.disk);
  const result = emptyResult();
  const withFiles = only === undefined ? await files.conversations() : [only];
  if (withFiles.length === 0 && (await nextIndexed(database, '')) !== null) {
    throw new EventDirectoryEmpty(options.directory);
  }
  const work = async (conversationId: string): Promise<void> => {
    options.signal?.throwIfAborted();
    await workOn({ ...options, files, result }, conversationId);
    result.conversations++;
    await options.onConversation?.(conversationId, result);
  };
  if (only !== undefined) {
    await work(only);
    return result;
  }
  const known = new Set(withFiles);
  let indexed = await nextIndexed(database, after);
  for (const conversationId of withFiles) {
    if (conversationId <= after) continue;
    for (; indexed !== null && indexed < conversationId; indexed = await nextIndexed(database, indexed)) {
      if (!known.has(indexed)) await work(indexed);
    }
    await work(conversationId);
  }
  for (; indexed !== null; indexed = await nextIndexed(database, indexed)) {
    if (!known.has(indexed)) await work(indexed);
  }
  return result;
}

async function workOn(context: ReindexContext, conversationId: string): Promise<void> {
  const { database, files, repair } = context;
  const [deleted] = await database
    .select({ id: conversations.id })
    .from(conversations)
    .where(and(eq(conversations.id, conversationId), isNotNull(conversations.deletedAt)));
  if (!deleted) return reindexConversation(context, conversationId);
  report(context, { kind: 'leftover', conversationId, name: '' });
  if (!repair) return;
  await database.delete(eventIndex).where(eq(eventIndex.conversationId, conversationId));
  await files.removeConversation(conversationId);
}

/** The first conversation after `after` that has index entries. */
async function nextIndexed(database: Database, after: string): Promise<string | null> {
  const [row] = await database
    .select({ id: eventIndex.conversationId })
    .from(eventIndex)
    .where(gt(eventIndex.conversationId, after))
    .orderBy(eventIndex.conversationId)
    .limit(1);
  return row?.id ?? null;
}
