/** The file system as the event store uses it: few operations, each of which a test can make fail or cut off. */
import { close, constants, fsync, open, rename, write } from 'node:fs';
import { mkdir, opendir, rm, stat } from 'node:fs/promises';
import { promisify } from 'node:util';
import { FileReader } from './file-reader.js';

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
  rename: promisify(rename),
};

/** A new file, each write of which returns when its bytes, and the length of the file, are on the disk. */
const NEW_SYNCED = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_DSYNC;

const reader = new FileReader();

/** The disk of this machine. */
export const systemDisk: EventDisk = {
  makeDirectory: (path) => mkdir(path, { recursive: true }),

  async writeNew(path, content) {
    const file = await plain.open(path, NEW_SYNCED, 0o600);
    try {
      await writeAll(file, Buffer.from(content, 'utf8'));
    } finally {
      await plain.close(file);
    }
  },

  rename: plain.rename,

  async syncDirectory(path) {
    const directory = await plain.open(path, 'r');
    try {
      await plain.fsync(directory);
    } finally {
      await plain.close(directory);
    }
  },

  read: (path) => reader.read(path),

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

/** Writes all bytes; a disk that is nearly full takes a part of them before it refuses the rest. */
async function writeAll(file: number, bytes: Buffer): Promise<void> {
  for (let written = 0; written < bytes.length;) {
    written += await new Promise<number>((resolve, reject) => {
      write(file, bytes, written, bytes.length - written, null, (error, count) =>
        error ? reject(error) : resolve(count),
      );
    });
  }
}

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
