import type { Books } from './books.js';
import type { Snapshot, StoredEvent } from './snapshot.js';
import type { Violation } from './violation.js';

/**
 * What an agent-server got an answer for is in the store, once and unchanged; and of an agent-server that runs, the
 * whole log.
 */
export function checkEvents(snapshot: Snapshot, books: Books): Violation[] {
  const found: Violation[] = [];
  const stored = new Map(
    snapshot.events.map((event) => [keyOf(event.conversation_id, event.event_id), event]),
  );
  const excused = excusedConversations(snapshot, books);
  const running = new Set(
    snapshot.sandboxes.filter((row) => !row.deleted && row.status === 'RUNNING').map(({ id }) => id),
  );
  const logged = new Map<string, { digest: string; conversation: string; sandbox: string }>();
  const forgotten = new Set<string>();
  for (const line of snapshot.ledger) {
    if (line.what === 'event') logged.set(keyOf(line.conversation, line.event), line);
    if (line.what === 'deleted') forgotten.add(`${line.sandbox}/${line.conversation}`);
  }

  const acknowledged = new Set<string>();
  for (const line of snapshot.ledger) {
    if (line.what !== 'acknowledged' || excused.has(line.conversation)) continue;
    for (const event of line.events) acknowledged.add(keyOf(line.conversation, event));
  }
  for (const [key, { digest, conversation, sandbox }] of logged) {
    if (excused.has(conversation)) continue;
    const event = stored.get(key);
    const demanded = acknowledged.has(key)
      ? 'acknowledged'
      : running.has(sandbox) && !forgotten.has(`${sandbox}/${conversation}`)
        ? 'in the log of a sandbox that runs'
        : null;
    if (!event && demanded !== null)
      found.push({ is: 'lost', what: `event ${key}, ${demanded}, of sandbox ${sandbox}` });
    if (event && event.digest !== digest) found.push({ is: 'lost', what: `content of event ${key}` });
  }
  return [...found, ...checkFiles(snapshot)];
}

/** Files and index agree. */
function checkFiles({ events, files, conversations }: Snapshot): Violation[] {
  const found: Violation[] = [];
  const indexed = new Map<string, Set<string>>();
  for (const { conversation_id, event_id, file_name, digest } of events) {
    indexed.set(conversation_id, (indexed.get(conversation_id) ?? new Set()).add(file_name));
    if (digest === null)
      found.push({ is: 'lost', what: `file of event ${keyOf(conversation_id, event_id)}` });
  }
  const deleted = new Set(conversations.filter((one) => one.deleted).map(({ id }) => id));
  for (const [conversation, names] of files) {
    if (deleted.has(conversation)) continue; // looked at elsewhere
    for (const name of names) {
      if (indexed.get(conversation)?.has(name)) continue;
      const what = name.endsWith('.tmp') ? 'unfinished file' : 'file without index entry';
      found.push({ is: 'orphaned', what: `${what} ${conversation}/${name}` });
    }
  }
  return found;
}

/** Each callback that answers every event of its kind has done so. */
export function checkCallbacks({ callbacks, results, events, queued }: Snapshot): Violation[] {
  const found: Violation[] = [];
  if (queued > 0) found.push({ is: 'stuck', what: `${queued} callbacks still wait` });
  const done = new Map<string, number>();
  for (const { callback_id, event_id } of results) {
    const key = keyOf(callback_id, event_id);
    done.set(key, (done.get(key) ?? 0) + 1);
  }
  const byConversation = new Map<string, StoredEvent[]>();
  for (const event of events) {
    byConversation.set(event.conversation_id, [...(byConversation.get(event.conversation_id) ?? []), event]);
  }
  for (const callback of callbacks) {
    if (callback.processor_kind !== 'LoggingCallbackProcessor' || callback.status !== 'ACTIVE') continue;
    for (const { event_id, kind } of byConversation.get(callback.conversation_id) ?? []) {
      if (kind !== callback.event_kind) continue;
      const times = done.get(keyOf(callback.id, event_id)) ?? 0;
      const where = `callback ${callback.id} of conversation ${callback.conversation_id} for event ${event_id}`;
      if (times === 0) found.push({ is: 'lost', what: where });
      if (times > 1) found.push({ is: 'doubled', what: where });
    }
  }
  return found;
}

/** Conversations of which nothing need be left: deleted, or of a start that was taken back. */
export function excusedConversations({ conversations, tasks }: Snapshot, books: Books): Set<string> {
  const ready = new Set(tasks.filter(({ status }) => status === 'READY').map((task) => task.conversation_id));
  return new Set([
    ...books.deletedConversations,
    ...conversations.filter((one) => one.deleted).map(({ id }) => id),
    ...tasks
      .filter(({ status, conversation_id }) => status === 'ERROR' && !ready.has(conversation_id))
      .map((task) => task.conversation_id),
  ]);
}

const keyOf = (first: string, second: string): string => `${first}/${second}`;
