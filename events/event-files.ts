/** The event files themselves: the authority over what was said and done in a conversation. */
import pLimit from 'p-limit';
import { randomUUID } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';

export interface EventFile {
  /** Made by `eventFileName`. */
  name: string;
  /** JSON text of the event. */
  content: string;
}

/** Files written or read at a time, over all conversations of the process. */
const OPEN_FILES = 32;
/** Conversations remembered as having a durable directory. */
const REMEMBERED = 10_000;

/** `<persistence directory>/v1/events/<conversation id>/<file>`. */
export class EventFiles {
  readonly #root: string;
  readonly #limit = pLimit(OPEN_FILES);
  readonly #durableDirectories = new Set<string>();
  #rootReady: Promise<void> | null = null;

  constructor(persistenceDirectory: string) {
    this.#root = join(resolve(persistenceDirectory), 'v1', 'events');
  }

  /**
   * Writes files so that each appears whole or not at all; they are durable after {@link makeDurable}.
   * All writes have ended when this returns or throws.
   */
  async write(conversationId: string, files: readonly EventFile[]): Promise<void> {
    if (files.length === 0) return;
    await this.#prepareRoot();
    const directory = this.#directoryOf(conversationId);
    await mkdir(directory, { recursive: true });
    const written = await Promise.allSettled(
      files.map((file) => this.#limit(() => writeWhole(directory, file))),
    );
    const failure = written.find((result) => result.status === 'rejected');
    if (failure) throw failure.reason;
  }

  /** Makes the names of the files written so far survive a power cut. */
  async makeDurable(conversationId: string): Promise<void> {
    await synced(this.#directoryOf(conversationId));
    if (this.#durableDirectories.has(conversationId)) return;
    await synced(this.#root);
    if (this.#durableDirectories.size >= REMEMBERED) this.#durableDirectories.clear();
    this.#durableDirectories.add(conversationId);
  }

  /** The content of a file; null when there is no such file (any more). */
  async read(conversationId: string, name: string): Promise<string | null> {
    const file = join(this.#directoryOf(conversationId), fileNameOnly(name));
    try {
      return await this.#limit(() => readFile(file, 'utf8'));
    } catch (error) {
      if (isNotFound(error)) return null;
      throw error;
    }
  }

  /** Removes files that are not wanted after all. */
  async remove(conversationId: string, names: readonly string[]): Promise<void> {
    const directory = this.#directoryOf(conversationId);
    await Promise.all(names.map((name) => rm(join(directory, fileNameOnly(name)), { force: true })));
  }

  /** Removes all files of a conversation; one that has none is fine. */
  async removeConversation(conversationId: string): Promise<void> {
    this.#durableDirectories.delete(conversationId);
    await rm(this.#directoryOf(conversationId), { recursive: true, force: true });
  }

  /** Ids of all conversations that have files. Reads a directory: for rebuilding the index only. */
  async conversations(): Promise<string[]> {
    return (await namesIn(this.#root)).filter((name) => CONVERSATION_ID.test(name));
  }

  /** Names of a conversation's files in order of time. Reads a directory: for rebuilding the index only. */
  async names(conversationId: string): Promise<string[]> {
    const names = await namesIn(this.#directoryOf(conversationId));
    return names.filter((name) => !name.startsWith('.')).sort();
  }

  #directoryOf(conversationId: string): string {
    if (!CONVERSATION_ID.test(conversationId))
      throw new Error('a conversation id is 32 lower-case hex digits');
    return join(this.#root, conversationId);
  }

  /** Made once per process; tried again after a failure. */
  #prepareRoot(): Promise<void> {
    this.#rootReady ??= makeDirectories(this.#root).catch((error: unknown) => {
      this.#rootReady = null;
      throw error;
    });
    return this.#rootReady;
  }
}

const CONVERSATION_ID = /^[0-9a-f]{32}$/;

/** Under a temporary name first, in the same directory: a rename within it is atomic. */
async function writeWhole(directory: string, { name, content }: EventFile): Promise<void> {
  const temporary = join(directory, `.${randomUUID()}.tmp`);
  try {
    const file = await open(temporary, 'wx', 0o600);
    try {
      await file.writeFile(content, 'utf8');
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, join(directory, fileNameOnly(name)));
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

/** Makes a directory and those above it that are missing, and their names durable. */
async function makeDirectories(directory: string): Promise<void> {
  const first = await mkdir(directory, { recursive: true });
  if (first === undefined) return;
  for (let made = directory; made.startsWith(first); made = dirname(made)) await synced(dirname(made));
}

async function synced(directory: string): Promise<void> {
  const handle = await open(directory, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function namesIn(directory: string): Promise<string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    if (isNotFound(error)) return [];
    throw error;
  }
}

/** Names come from `eventFileName` or from the index; neither has a separator in it. */
function fileNameOnly(name: string): string {
  if (name.startsWith('.') || /[/\\\0]/.test(name)) throw new Error('an event file name has no path in it');
  return name;
}

const isNotFound = (error: unknown): boolean =>
  error instanceof Error && (error as NodeJS.ErrnoException).code === 'ENOENT';
