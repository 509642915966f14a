import { randomBytes } from 'node:crypto';
import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { hasCode } from '../user-error.js';
import { ProcessIdentity, identifyProcess, isAlive } from './process-identity.js';

const Holder = ProcessIdentity.extend({ info: z.record(z.string(), z.string()) });

/** Who holds a lock, and what that process wanted others to know (an address, for instance). */
export type LockHolder = z.infer<typeof Holder>;

/** The lock is held by a live process. */
export class LockHeldError extends Error {
  override readonly name = 'LockHeldError';
  constructor(
    readonly path: string,
    readonly holder: LockHolder,
  ) {
    super(`${path} is held by process ${holder.pid}`);
  }
}

export interface ProcessLock {
  /** Gives the lock back; harmless when somebody took it over. */
  release(): void;
}

/**
 * A lock file that names its holder by pid and start time, so that one left by a killed process is
 * taken over. Throws `LockHeldError` while the holder lives.
 */
export function acquireProcessLock(path: string, info: Record<string, string> = {}): ProcessLock {
  const self = identifyProcess(process.pid);
  if (!self) throw new Error('cannot read the start time of this process');
  const mine = JSON.stringify({ ...self, info } satisfies LockHolder);
  mkdirSync(dirname(path), { recursive: true });
  const aside = (): string => `${path}.${randomBytes(6).toString('hex')}`;

  for (let attempt = 0; attempt < 100; attempt++) {
    if (createWhole(path, mine, aside())) {
      return {
        release: () => {
          if (readText(path) === mine) rmSync(path, { force: true });
        },
      };
    }
    const found = readText(path);
    if (found === undefined) continue;
    const holder = parseHolder(found);
    if (holder && isAlive(holder)) throw new LockHeldError(path, holder);
    removeStale(path, found, aside());
  }
  throw new Error(`the lock ${path} changes hands without end`);
}

/**
 * Does `work` while holding the lock, waiting as long as another live process holds it.
 * `onWait` is called once when it has to wait.
 */
export async function withProcessLock<T>(
  path: string,
  onWait: () => void,
  work: () => Promise<T>,
): Promise<T> {
  let lock: ProcessLock | undefined;
  for (let told = false; !lock;) {
    try {
      lock = acquireProcessLock(path);
    } catch (err) {
      if (!(err instanceof LockHeldError)) throw err;
      if (!told) onWait();
      told = true;
      await sleep(100);
    }
  }
  try {
    return await work();
  } finally {
    lock.release();
  }
}

/** `link` refuses an existing name, and what it makes visible is complete. */
function createWhole(path: string, content: string, temporary: string): boolean {
  writeFileSync(temporary, content, { mode: 0o644 });
  try {
    linkSync(temporary, path);
    return true;
  } catch (err) {
    if (hasCode(err, 'EEXIST')) return false;
    throw err;
  } finally {
    rmSync(temporary, { force: true });
  }
}

/** Another process may have taken the stale lock over between our look and the rename: then it gets it back. */
function removeStale(path: string, stale: string, temporary: string): void {
  try {
    renameSync(path, temporary);
  } catch (err) {
    if (hasCode(err, 'ENOENT')) return;
    throw err;
  }
  const moved = readText(temporary);
  if (moved !== undefined && moved !== stale) createWhole(path, moved, `${temporary}.back`);
  rmSync(temporary, { force: true });
}

function parseHolder(text: string): LockHolder | undefined {
  try {
    return Holder.safeParse(JSON.parse(text)).data;
  } catch (err) {
    if (err instanceof SyntaxError) return undefined; // cut off by a full disk or a crash
    throw err;
  }
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (err) {
    if (hasCode(err, 'ENOENT')) return undefined;
    throw err;
  }
}
