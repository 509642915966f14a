/** A disk that can be filled up: a small tmpfs where this account may mount one, else one that counts what is written. */
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { systemDisk, type EventDisk } from '../../events/event-disk.js';

const run = promisify(execFile);
const SIZE = 1024 * 1024;

export interface SmallDisk {
  directory: string;
  disk: EventDisk;
  /** Leaves room for so many bytes. */
  fill(left: number): Promise<void>;
  /** Gives the room back. */
  free(): Promise<void>;
  close(): Promise<void>;
}

export async function openSmallDisk(): Promise<SmallDisk> {
  const directory = await mkdtemp(join(tmpdir(), 'callboard-small-disk-'));
  try {
    await run('mount', ['-t', 'tmpfs', '-o', `size=${SIZE}`, 'tmpfs', directory]);
  } catch {
    return countingDisk(directory); // no right to mount here
  }
  const ballast = join(directory, 'ballast');
  return {
    directory,
    disk: systemDisk,
    async fill(left) {
      const { stdout } = await run('df', ['--output=avail', '-B1', directory]);
      const available = Number(stdout.trim().split('\n').at(-1));
      await writeFile(ballast, Buffer.alloc(Math.max(available - left, 0)));
    },
    free: () => rm(ballast, { force: true }),
    async close() {
      await run('umount', [directory]);
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/** Refuses what goes beyond its room as a full disk does: the file is there, and less in it than was written. */
function countingDisk(directory: string): SmallDisk {
  let left = Number.POSITIVE_INFINITY;
  const full = () => Object.assign(new Error('ENOSPC'), { code: 'ENOSPC', syscall: 'write' });
  return {
    directory,
    disk: {
      ...systemDisk,
      async writeNew(path, content) {
        const fits = content.slice(0, Math.max(left, 0));
        await systemDisk.writeNew(path, fits);
        left -= fits.length;
        if (fits !== content) throw full();
      },
    },
    async fill(room) {
      left = room;
    },
    async free() {
      left = Number.POSITIVE_INFINITY;
    },
    close: () => rm(directory, { recursive: true, force: true }),
  };
}
