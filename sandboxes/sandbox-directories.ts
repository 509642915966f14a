/** Making and removing what a process sandbox keeps on disk. */
import { execFile } from 'node:child_process';
import { lstat, mkdir, rm } from 'node:fs/promises';
import { promisify } from 'node:util';
import { SandboxRefusal } from './backend.js';
import { errorCode } from './process-identity.js';
import type { SandboxPaths } from './sandbox-paths.js';

/**
 * Makes all directories that are missing, for our user only.
 * @throws {SandboxRefusal} where that is not permitted
 */
export async function makeDirectories(paths: SandboxPaths): Promise<void> {
  const { directory, home, project, conversations, bashEvents, persistence } = paths;
  try {
    for (const path of [directory, home, project, conversations, bashEvents, persistence]) {
      await mkdir(path, { recursive: true, mode: 0o700 });
    }
    await mkdir(paths.terminals, { mode: 0o700 }).catch(async (error: unknown) => {
      if (errorCode(error) !== 'EEXIST') throw error;
      const found = await lstat(paths.terminals);
      if (found.isDirectory() && found.uid === process.getuid?.() && (found.mode & 0o077) === 0) return;
      throw new SandboxRefusal(
        'TerminalsDirectoryUnsafe',
        `${paths.terminals} belongs to others: remove it.`,
      );
    });
  } catch (error) {
    const code = errorCode(error);
    if (!['EACCES', 'EPERM', 'EROFS', 'ENOTDIR'].includes(code)) throw error;
    throw new SandboxRefusal(
      'SandboxDirectoryNotWritable',
      `The directory ${directory} cannot be written (${code}): give Callboard's user the right to, or choose another data directory.`,
    );
  }
}

/** Removes everything of a sandbox from the disk. */
export async function removeDirectories(paths: SandboxPaths): Promise<void> {
  await removeDirectory(paths.directory);
  await rm(paths.terminals, { recursive: true, force: true });
}

/** Some tools (Go's module cache) write-protect their directories, which then cannot be emptied as they are. */
async function removeDirectory(directory: string): Promise<void> {
  try {
    await rm(directory, { recursive: true, force: true, maxRetries: 3 });
  } catch (error) {
    if (!['EACCES', 'EPERM'].includes(errorCode(error))) throw error;
    await promisify(execFile)('chmod', ['-R', 'u+rwX', '--', directory]);
    await rm(directory, { recursive: true, force: true, maxRetries: 3 });
  }
}
