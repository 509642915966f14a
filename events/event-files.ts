/** The event files themselves: the authority over what was said and done in a conversation. */
import pLimit from 'p-limit';
import { randomUUID } from 'node:crypto';
import { dirname, join, resolve, sep } from 'node:path';
import { systemDisk, type EventDisk } from './event-disk.js';

export interface EventFile {
  /** Made by `eventFileName`. */
  name: string;
  /** JSON text of the event. */
  content: string;
}

/** Files written at a time, over all conversations of the process. */
const OPEN_FILES = 32;
/** Of these, for one batch: as many as Node has threads for files are at work, and one waits. */
const AT_A_TIME = 5;
/** Conversations remembered as having a durable directory. */
const REMEMBERED = 10_000;

/** `<persistence directory>/v1/events/<conversation id>/<file>`; what is set aside lies beside it in `v1/quarantine`. */
export class EventFiles {
  readonly #base: string;
  readonly #root: string;
  readonly #quarantine: string;
  readonly #limit = pLimit(OPEN_FILES);
  readonly #durableDirectories = new Set<string>();
  #rootReady: Promise<void> | null = null;

  constructor(
    persistenceDirectory: string,
    private readonly disk: EventDisk = systemDisk,
  ) {
    this.#base = resolve(persistenceDirectory);
    this.#root = join(this.#base, 'v1', 'events');
    this.#quarantine = join(this.#base, 'v1', 'quarantine');
  }

  /**
   * Writes files so that each appears whole or not at all; they are durable after {@link makeDurable}. No name appears
   * before all contents are on disk: what fails for lack of space leaves nothing behind.
   * All writes have ended when this returns or throws.
   */
  async write(conversationId: string, files: readonly EventFile[]): Promise<void> {
    if (files.length === 0) return;
    await this.#prepareRoot();
    const directory = this.#directoryOf(conversationId);
    await this.disk.makeDirectory(directory);
    const staged = files.map(({ name, content }) => ({
      temporary: `${directory}${sep}.${randomUUID()}${TEMPORARY}`,
      target: `${directory}${sep}${fileNameOnly(name)}`,
      content,
    }));
    try {
      await this.#each(staged, ({ temporary, content }) => this.disk.writeNew(temporary, content));
      await this.#each(staged, ({ temporary, target }) => this.disk.rename(temporary, target));
    } catch (error) {
      // What cannot be removed now either is found by `reindex`.
      await Promise.allSettled(staged.map(({ temporary }) => this.disk.remove(temporary)));
      throw error;
    }
  }

  /** Makes the names of the files written so far survive a power cut. */
  async makeDurable(conversationId: string): Promise<void> {
    await this.disk.syncDirectory(this.#directoryOf(conversationId));
    if (this.#durableDirectories.has(conversationId)) return;
    await this.disk.syncDirectory(this.#root);
    if (this.#durableDirectories.size >= REMEMBERED) this.#durableDirectories.clear();
    this.#durableDirectories.add(conversationId);
  }

  /** The content of a file; null when there is no such file (any more). */
  async read(conversationId: string, name: string): Promise<string | null> {
    return this.disk.read(`${this.#directoryOf(conversationId)}${sep}${fileNameOnly(name)}`);
  }

  /** Whether the conversation has a directory: where it has none, a missing file may be a disk that is not mounted. */
  async hasDirectory(conversationId: string): Promise<boolean> {
    return (await this.disk.modifiedAt(this.#directoryOf(conversationId))) !== null;
  }

  /** Removes files that are not wanted after all. */
  async remove(conversationId: string, names: readonly string[]): Promise<void> {
    const directory = this.#directoryOf(conversationId);
    await this.#each(names, (name) => this.disk.remove(join(directory, nameOnly(name))));
  }

  /**
   * Moves a file out of the conversation to where nobody reads it as an event, for a person to look at.
   * @returns where it is now
   */
  async setAside(conversationId: string, name: string): Promise<string> {
    const directory = join(this.#quarantine, conversationId);
    await this.disk.makeDirectory(directory);
    const target = join(directory, `${nameOnly(name)}.${randomUUID().slice(0, 8)}`);
    await this.disk.rename(join(this.#directoryOf(conversationId), name), target);
    await this.disk.syncDirectory(directory);
    return target;
  }

  /** Gives a file the name that belongs to its event; durable after {@link makeDurable}. */
  async rename(conversationId: string, name: string, wanted: string): Promise<void> {
    const directory = this.#directoryOf(conversationId);
    await this.disk.rename(join(directory, nameOnly(name)), join(directory, fileNameOnly(wanted)));
  }

  /** When a file was written; null when it is gone. */
  modifiedAt(conversationId: string, name: string): Promise<Date | null> {
    return this.disk.modifiedAt(join(this.#directoryOf(conversationId), nameOnly(name)));
  }

  /** Removes all files of a conversation; one that has none is fine. */
  async removeConversation(conversationId: string): Promise<void> {
    this.#durableDirectories.delete(conversationId);
    await this.disk.removeTree(this.#directoryOf(conversationId));
    await this.disk.removeTree(join(this.#quarantine, conversationId));
  }

  /** Ids of all conversations that have files, in order. Reads a directory: for rebuilding the index only. */
  async conversations(): Promise<string[]> {
    const ids: string[] = [];
    for await (const name of this.disk.names(this.#root)) if (CONVERSATION_ID.test(name)) ids.push(name);
    return ids.sort();
  }

  /** Every name in a conversation's directory, in no order. Reads a directory: for rebuilding the index only. */
  names(conversationId: string): AsyncIterable<string> {
    return this.disk.names(this.#directoryOf(conversationId));
  }

  #directoryOf(conversationId: string): string {
    if (!CONVERSATION_ID.test(conversationId))
      throw new Error('a conversation id is 32 lower-case hex digits');
    return `${this.#root}${sep}${conversationId}`;
  }

  /** Made once per process; tried again after a failure. */
  #prepareRoot(): Promise<void> {
    this.#rootReady ??= this.#makeDirectories(this.#root).catch((error: unknown) => {
      this.#rootReady = null;
      throw error;
    });
    return this.#rootReady;
  }

  /** Makes a directory and those above it that are missing, and their names durable. */
  async #makeDirectories(directory: string): Promise<void> {
    const first = await this.disk.makeDirectory(directory);
    // Also where all were there: a process that was killed may have made them and not come to this.
    const top = first === undefined || first.startsWith(this.#base) ? join(this.#base, 'v1') : first;
    for (let made = directory; made.startsWith(top); made = dirname(made))
      await this.disk.syncDirectory(dirname(made));
  }

  /** Works on all items, a few at a time; when some fail, all have ended before this throws. */
  async #each<Item>(items: readonly Item[], work: (item: Item) => Promise<unknown>): Promise<void> {
    const failures: unknown[] = [];
    const left = items.values();
    const lane = async (): Promise<void> => {
      for (const item of left) {
        try {
          await work(item);
        } catch (error) {
          failures.push(error);
        }
      }
    };
    const lanes = Array.from({ length: Math.min(items.length, AT_A_TIME) }, () => this.#limit(lane));
    await Promise.all(lanes);
    if (failures.length > 0) throw failures[0];
  }
}

const CONVERSATION_ID = /^[0-9a-f]{32}$/;
const TEMPORARY = '.tmp';

/** Whether a name is one under which a file is written before it gets its own. */
export const isTemporaryName = (name: string): boolean => name.startsWith('.') && name.endsWith(TEMPORARY);

/** Names come from `eventFileName` or from the index; neither has a separator in it. */
function fileNameOnly(name: string): string {
  if (name.startsWith('.')) throw new Error('an event file name does not begin with a dot');
  return nameOnly(name);
}

function nameOnly(name: string): string {
  if (name === '' || name === '.' || name === '..' || /[/\\\0]/.test(name)) {
    throw new Error('an event file name has no path in it');
  }
  return name;
}
