/** Files and index of one conversation, compared and brought together. */
import { and, eq, gt, isNotNull } from 'drizzle-orm';
import { isTransient } from '../contract/event.js';
import { lockConversationEvents } from '../db/callback-repository.js';
import type { Executor } from '../db/executor.js';
import { conversations, eventIndex } from '../db/schema/index.js';
import { dropIfDamaged, readIndexed } from './damage.js';
import { countAnew, countsAgree } from './event-counts.js';
import { eventFileName, idOfFileName, timestampOfFileName } from './event-file-name.js';
import { isTemporaryName } from './event-files.js';
import { addToIndex, indexedFileNames, type EventLocation, type IndexEntry } from './event-index.js';
import { eventTimestampOf } from './event-timestamp.js';
import { timestampOf } from './incoming-event.js';
import { report, type ReindexContext } from './reindex-findings.js';
import { storedEvent } from './stored-event.js';

/** Index entries or files in hand at a time. */
const CHUNK = 500;
/** Names of files without an entry that are put in order of time at a time: some ten megabytes. */
const SORTED_RUN = 100_000;
/** A write takes seconds at most: what is older than this was left by a process that ended, in milliseconds. */
const TEMPORARY_AGE_MS = 10 * 60_000;

/** Entries first: where one is lost with its file, a second file of the same event can take its place. */
export async function reindexConversation(context: ReindexContext, conversationId: string): Promise<void> {
  const { found } = context.result;
  const lost = () => found.missing + found.torn;
  const before = lost();
  await checkEntries(context, conversationId);
  await checkFiles(context, conversationId);
  await checkCounts(context, conversationId);
  if (lost() > before) context.result.toFetch.push(conversationId);
}

/** Looks at the file of every index entry. */
async function checkEntries(context: ReindexContext, conversationId: string): Promise<void> {
  const { database, files, result } = context;
  let last = '';
  for (;;) {
    const locations: EventLocation[] = await database
      .select({
        conversationId: eventIndex.conversationId,
        eventId: eventIndex.eventId,
        fileName: eventIndex.fileName,
      })
      .from(eventIndex)
      .where(and(eq(eventIndex.conversationId, conversationId), gt(eventIndex.eventId, last)))
      .orderBy(eventIndex.eventId)
      .limit(CHUNK);
    const readings = await Promise.all(locations.map((location) => readIndexed(files, location)));
    const damaged = locations.filter((_, position) => !('json' in (readings[position] ?? {})));
    result.sound += locations.length - damaged.length;
    if (damaged.length > 0) await settleDamaged(context, conversationId, damaged);
    last = locations.at(-1)?.eventId ?? '';
    if (locations.length < CHUNK) return;
  }
}

async function settleDamaged(
  context: ReindexContext,
  conversationId: string,
  damaged: readonly EventLocation[],
): Promise<void> {
  const { files } = context;
  await locked(context, conversationId, async (tx) => {
    for (const location of damaged) {
      const name = location.fileName;
      if (tx === null) {
        const reading = await readIndexed(files, location);
        if ('damage' in reading) report(context, { kind: reading.damage, conversationId, name });
        continue;
      }
      const dropped = await dropIfDamaged(tx, files, location, { directoryMayBeMissing: true });
      if (dropped)
        report(context, { kind: dropped.damage, conversationId, name, setAside: dropped.setAside });
    }
  });
}

/** Looks at every name in the directory, and at the content of files that no index entry names. */
async function checkFiles(context: ReindexContext, conversationId: string): Promise<void> {
  const { files } = context;
  let chunk: string[] = [];
  let unindexed: string[] = [];
  for await (const name of files.names(conversationId)) {
    if (isTemporaryName(name)) await settleTemporary(context, conversationId, name);
    else chunk.push(name);
    if (chunk.length < CHUNK) continue;
    unindexed.push(...(await withoutEntry(context, conversationId, chunk)));
    chunk = [];
    if (unindexed.length < SORTED_RUN) continue;
    await settleUnindexed(context, conversationId, unindexed);
    unindexed = [];
  }
  unindexed.push(...(await withoutEntry(context, conversationId, chunk)));
  await settleUnindexed(context, conversationId, unindexed);
}

async function settleTemporary(context: ReindexContext, conversationId: string, name: string): Promise<void> {
  const { files, repair } = context;
  const writtenAt = await files.modifiedAt(conversationId, name);
  if (writtenAt === null || Date.now() - writtenAt.getTime() < TEMPORARY_AGE_MS) return; // being written
  report(context, { kind: 'temporary', conversationId, name });
  if (repair) await files.remove(conversationId, [name]);
}

/** Those of the names that are not the file of an index entry. */
async function withoutEntry(
  { database, files }: ReindexContext,
  conversationId: string,
  names: readonly string[],
): Promise<string[]> {
  const ids = await Promise.all(
    names.map(async (name) => {
      const id = idOfFileName(name);
      if (id !== null || name.startsWith('.')) return id;
      const text = await contentOf(files, conversationId, name);
      return typeof text === 'string' ? (storedEvent(text)?.id ?? null) : null;
    }),
  );
  const indexed = await indexedFileNames(
    database,
    conversationId,
    ids.filter((id) => id !== null),
  );
  return names.filter((name, position) => indexed.get(ids[position] ?? '') !== name);
}

async function settleUnindexed(
  context: ReindexContext,
  conversationId: string,
  unindexed: readonly string[],
): Promise<void> {
  // In order of time, which names begin with: callbacks run in the order in which entries are made.
  const names = [...unindexed].sort();
  for (let at = 0; at < names.length; at += CHUNK) {
    await settleChunk(context, conversationId, names.slice(at, at + CHUNK));
  }
}

interface FoundFile {
  name: string;
  text: string;
  entry: IndexEntry;
}

async function settleChunk(
  context: ReindexContext,
  conversationId: string,
  names: readonly string[],
): Promise<void> {
  const found: FoundFile[] = [];
  const torn: { name: string; isEmpty: boolean }[] = [];
  for (const name of names) {
    const text = name.startsWith('.') ? undefined : await contentOf(context.files, conversationId, name);
    if (text === null) continue; // gone in the meantime
    const entry = text === undefined ? null : await entryOf(context, conversationId, name, text);
    if (typeof text === 'string' && entry) found.push({ name, text, entry });
    else if (text === undefined && !name.startsWith('.'))
      report(context, { kind: 'unreadable', conversationId, name });
    else if (timestampOfFileName(name) === null) report(context, { kind: 'foreign', conversationId, name });
    else torn.push({ name, isEmpty: text === '' });
  }
  await locked(context, conversationId, async (tx) => {
    for (const { name, isEmpty } of torn) {
      const setAside = tx && !isEmpty ? await context.files.setAside(conversationId, name) : undefined;
      if (tx && isEmpty) await context.files.remove(conversationId, [name]);
      report(context, { kind: 'torn', conversationId, name, setAside });
    }
    await settleFound(context, tx, conversationId, found);
  });
}

/** @param tx null to look only */
async function settleFound(
  context: ReindexContext,
  tx: Executor | null,
  conversationId: string,
  found: readonly FoundFile[],
): Promise<void> {
  const { database, files, result } = context;
  const ids = found.map(({ entry }) => entry.id);
  const indexed = await indexedFileNames(tx ?? database, conversationId, ids);
  const added: IndexEntry[] = [];
  for (const { name, text, entry } of found) {
    const isRenamed = entry.fileName !== name;
    const isTaken = isRenamed && (await contentOf(files, conversationId, entry.fileName)) !== null;
    const other = indexed.get(entry.id) ?? (isTaken ? entry.fileName : undefined);
    if (other === name) continue; // indexed in the meantime
    if (other !== undefined) {
      const isSame = (await contentOf(files, conversationId, other)) === text;
      const setAside = tx && !isSame ? await files.setAside(conversationId, name) : undefined;
      if (tx && isSame) await files.remove(conversationId, [name]);
      report(context, { kind: 'duplicate', conversationId, name, setAside });
      continue;
    }
    if (tx && isRenamed) await files.rename(conversationId, name, entry.fileName);
    report(context, { kind: isRenamed ? 'renamed' : 'added', conversationId, name });
    indexed.set(entry.id, entry.fileName);
    added.push(entry);
  }
  if (tx === null || added.length === 0) return;
  await files.makeDurable(conversationId);
  const { queued } = await addToIndex(tx, conversationId, added);
  if (queued > 0 && result.toWake.at(-1) !== conversationId) result.toWake.push(conversationId);
}

/** The entry that a file should have; null when it holds no event. */
async function entryOf(
  { files }: ReindexContext,
  conversationId: string,
  name: string,
  text: string,
): Promise<IndexEntry | null> {
  const event = storedEvent(text);
  if (!event || isTransient(event)) return null;
  const { id, kind } = event;
  const named = timestampOfFileName(name);
  // The time in a name of ours is the one it was stored under.
  if (named !== null && eventFileName({ id, kind, timestamp: named }) === name) {
    return { id, kind, timestamp: named, fileName: name };
  }
  const timestamp =
    timestampOf(event) ??
    named ??
    eventTimestampOf((await files.modifiedAt(conversationId, name)) ?? new Date());
  return { id, kind, timestamp, fileName: eventFileName({ id, kind, timestamp }) };
}

/** Null when the file is gone, undefined when the disk does not give it out. */
async function contentOf(
  files: ReindexContext['files'],
  conversationId: string,
  name: string,
): Promise<string | null | undefined> {
  try {
    return await files.read(conversationId, name);
  } catch (error) {
    if (error instanceof Error && 'syscall' in error) return undefined;
    throw error;
  }
}

/** Triggers keep them; a table that was restored without them, or changed by hand, is found here. */
async function checkCounts(context: ReindexContext, conversationId: string): Promise<void> {
  await locked(context, conversationId, async (tx) => {
    if (await countsAgree(tx ?? context.database, conversationId)) return;
    report(context, { kind: 'miscounted', conversationId, name: '' });
    if (tx) await countAnew(tx, conversationId);
  });
}

/** Works under the conversation's lock and in a transaction; with null, and without both, when nothing may be changed. */
async function locked(
  { database, repair }: ReindexContext,
  conversationId: string,
  work: (tx: Executor | null) => Promise<void>,
): Promise<void> {
  if (!repair) return work(null);
  await database.transaction(async (tx) => {
    await lockConversationEvents(tx, conversationId);
    const [deleted] = await tx
      .select({ id: conversations.id })
      .from(conversations)
      .where(and(eq(conversations.id, conversationId), isNotNull(conversations.deletedAt)));
    if (!deleted) await work(tx);
  });
}
