/**
 * Event files of a Python server, in both of its layouts:
 * `v1/events/<dashed id>/<time>_<kind>_<event>` (2025-11) and `[<user>/]v1_conversations/<hex id>/<event>.json` (1.x).
 */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import pLimit from 'p-limit';
import { AgentEvent } from '../../contract/event.js';
import { hexId, isUuid } from '../../contract/ids.js';
import type { IncomingEvent } from '../../events/incoming-event.js';
import { isMissing } from '../../events/event-disk.js';
import { hasCode } from '../user-error.js';

const CONVERSATIONS = 'v1_conversations';
const OPEN_FILES = 16;
/** Events held at a time. */
const BATCH = 128;
const NOT_ALLOWED = 'it may not be read by this user';

/** Where events of a conversation lie. */
export interface EventDirectory {
  path: string;
  /** The user below whose name it lies. */
  owner: string | null;
}

/** By the conversation's id in hex; one that lived through several releases has several. */
export type EventDirectories = ReadonlyMap<string, readonly EventDirectory[]>;

export interface FoundEvents {
  directories: EventDirectories;
  /** Directories that may not be read: there may be events in them. */
  unreadable: string[];
}

/** What a few files hold. */
export interface EventBatch {
  events: IncomingEvent[];
  /** Files that hold no event, and why. */
  damaged: { name: string; why: string }[];
}

/** Finds the events of all conversations; no file is read. */
export async function findEventDirectories(root: string): Promise<FoundEvents> {
  const found = new Map<string, EventDirectory[]>();
  const unreadable: string[] = [];
  const look = async (path: string, owner: string | null): Promise<void> => {
    for (const name of await directoriesIn(path, unreadable)) {
      if (!isUuid(name)) continue;
      const id = hexId(name);
      found.set(id, [...(found.get(id) ?? []), { path: join(path, name), owner }]);
    }
  };
  await look(join(root, 'v1', 'events'), null);
  await look(join(root, CONVERSATIONS), null);
  for (const user of await directoriesIn(root, unreadable)) {
    if (user !== CONVERSATIONS) await look(join(root, user, CONVERSATIONS), user);
  }
  return { directories: found, unreadable };
}

/** All events of a directory, a few at a time. */
export async function* readEvents({ path }: EventDirectory): AsyncGenerator<EventBatch> {
  const limit = pLimit(OPEN_FILES);
  const entries = await readdir(path, { withFileTypes: true }).catch((err: unknown) => {
    if (hasCode(err, 'EACCES')) return null;
    throw err;
  });
  if (entries === null) {
    yield { events: [], damaged: [{ name: '*', why: NOT_ALLOWED }] };
    return;
  }
  // Names of the older layout begin with the time; the others say nothing of it.
  const names = entries
    .filter((entry) => entry.isFile() && !entry.name.startsWith('.'))
    .map(({ name }) => name);
  names.sort();
  for (let from = 0; from < names.length; from += BATCH) {
    const batch: EventBatch = { events: [], damaged: [] };
    const few = names.slice(from, from + BATCH);
    const read = await Promise.all(few.map((name) => limit(() => readEvent(join(path, name)))));
    for (const [index, one] of read.entries()) {
      if (typeof one === 'string') batch.damaged.push({ name: few[index] ?? '', why: one });
      else batch.events.push(one);
    }
    yield batch;
  }
}

/** The event of a file, or why it holds none. */
async function readEvent(path: string): Promise<IncomingEvent | string> {
  let json: string;
  try {
    json = (await readFile(path, 'utf8')).trim();
  } catch (err) {
    if (hasCode(err, 'EACCES')) return NOT_ALLOWED;
    if (hasCode(err, 'EIO')) return 'the disk does not give it out';
    throw err;
  }
  try {
    const event = AgentEvent.safeParse(JSON.parse(json));
    return event.success ? { event: event.data, json } : 'it holds no event';
  } catch {
    return 'it holds no JSON: it was cut off or damaged';
  }
}

async function directoriesIn(path: string, unreadable: string[]): Promise<string[]> {
  try {
    const entries = await readdir(path, { withFileTypes: true });
    return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
  } catch (err) {
    if (hasCode(err, 'EACCES')) unreadable.push(path);
    else if (!isMissing(err) && !hasCode(err, 'ENOTDIR')) throw err;
    return [];
  }
}
