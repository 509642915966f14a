/** The file system as the event store uses it: few operations, each of which a test can make fail or cut off. */
import { close, fdatasync, fsync, open, readFile, writeFile } from 'node:fs';
import { mkdir, opendir, rename, rm, stat } from 'node:fs/promises';
import { promisify } from 'node:util';

/** Every method but those that say otherwise throws the system error (`ENOSPC`, `EIO`, …). */
export interface EventDisk {
  /** Makes a directory and those above it; the first one that was made, or undefined when all were there. */
  makeDirectory(path: string): Promise<string | undefined>;
  /** Writes a file that is not there yet; its content survives a power cut, its name only after {@link syncDirectory}. */
  writeNew(path: string, content: string): Promise<void>;
  /** Gives a file another name, in one step; what had that name is replaced. */
  rename(from: string, to: string): Promise<void>;
  /** Makes the names in a directory survive a power cut. */
  syncDirectory(path: string): Promise<void>;
  /** The content of a file; null when there is none. */
  read(path: string): Promise<string | null>;
  /** The names in a directory in no order, one by one; nothing when there is no such directory. */
  names(path: string): AsyncIterable<string>;
  /** When a file was written last; null when there is none. */
  modifiedAt(path: string): Promise<Date | null>;
  /** Removes a file; one that is not there is fine. */
  remove(path: string): Promise<void>;
  /** Removes a directory with all that is in it; one that is not there is fine. */
  removeTree(path: string): Promise<void>;
}

/** The calls of Node without file handles, which cost more than small files do. */
const plain = {
  open: promisify(open),
  close: promisify(close),
  fsync: promisify(fsync),
  fdatasync: promisify(fdatasync),
  readFile: promisify(readFile),
  writeFile: promisify(writeFile),
};

/** The disk of this machine. */
export const systemDisk: EventDisk = {
  makeDirectory: (path) => mkdir(path, { recursive: true }),

  async writeNew(path, content) {
    const file = await plain.open(path, 'wx', 0o600);
    try {
      await plain.writeFile(file, content, 'utf8');
      await plain.fdatasync(file); // the size is part of it; times are not needed
    } finally {
      await plain.close(file);
    }
  },

  rename,

  async syncDirectory(path) {
    const directory = await plain.open(path, 'r');
    try {
      await plain.fsync(directory);
    } finally {
      await plain.close(directory);
    }
  },

  read: (path) => unlessMissing(() => plain.readFile(path, 'utf8')),

  async *names(path) {
    const directory = await unlessMissing(() => opendir(path, { bufferSize: 1_000 }));
    if (directory === null) return;
    for await (const { name } of directory) yield name;
  },

  modifiedAt: (path) => unlessMissing(async () => (await stat(path)).mtime),
  remove: (path) => rm(path, { force: true }),
  // Something may still be written there: what has come meanwhile is removed as well.
  removeTree: (path) => rm(path, { recursive: true, force: true, maxRetries: 5, retryDelay: 20 }),
};

/** The file or directory is not there. */
export const isMissing = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && error.code === 'ENOENT';

async function unlessMissing<Result>(look: () => Promise<Result>): Promise<Result | null> {
  try {
    return await look();
  } catch (error) {
    if (isMissing(error)) return null;
    throw error;
  }
}
