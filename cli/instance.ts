import { accessSync, constants, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { isAlive } from './embedded/process-identity.js';
import { LockHeldError, acquireProcessLock } from './embedded/process-lock.js';
import { UserError, hasCode } from './user-error.js';

const Running = z.object({
  apiUrl: z.string(),
  temporalAddress: z.string(),
  temporalUiUrl: z.string().nullable(),
});

/** Where the parts of an `up` that runs are; other commands find it by its data directory. */
export type RunningInstance = z.infer<typeof Running>;

/** The right to run on a data directory. */
export interface Instance {
  /** Tells other commands where everything is. */
  publish(running: RunningInstance): void;
  release(): void;
}

/** Makes the data directory and claims it. Throws `UserError` when it cannot be used or another `up` has it. */
export function claimDataDirectory(dataDir: string, expectedUrl: string): Instance {
  prepare(dataDir);
  const published = join(dataDir, 'up.json');
  try {
    const lock = acquireProcessLock(join(dataDir, 'up.lock'), { url: expectedUrl });
    rmSync(published, { force: true });
    return {
      publish: (running) => {
        writeFileSync(`${published}.new`, JSON.stringify(running), { mode: 0o600 });
        renameSync(`${published}.new`, published);
      },
      release: () => {
        rmSync(published, { force: true });
        lock.release();
      },
    };
  } catch (err) {
    if (!(err instanceof LockHeldError)) throw err;
    const url = read(published)?.apiUrl ?? err.holder.info['url'] ?? 'no address yet';
    throw new UserError(
      `Callboard already runs on ${dataDir} (process ${err.holder.pid}, ${url}): use that one, stop it first, or choose another directory with OH_PERSISTENCE_DIR.`,
    );
  }
}

/** The `up` that runs on this data directory, or undefined when there is none or it is not ready. */
export function findRunningInstance(dataDir: string): RunningInstance | undefined {
  const holder = readJson(join(dataDir, 'up.lock'), z.object({ pid: z.number(), startedAt: z.string() }));
  return holder && isAlive(holder) ? read(join(dataDir, 'up.json')) : undefined;
}

function prepare(dataDir: string): void {
  try {
    mkdirSync(dataDir, { recursive: true, mode: 0o700 });
    accessSync(dataDir, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch (err) {
    const code = err instanceof Error && 'code' in err ? String(err.code) : undefined;
    if (code === undefined) throw err;
    const reason = {
      EEXIST: 'it is a file',
      ENOTDIR: 'part of its path is a file',
      EACCES: 'you may not write there',
    }[code];
    throw new UserError(
      `The data directory ${dataDir} cannot be used (${reason ?? code}): choose another with OH_PERSISTENCE_DIR.`,
    );
  }
}

const read = (path: string): RunningInstance | undefined => readJson(path, Running);

function readJson<T>(path: string, schema: z.ZodType<T>): T | undefined {
  try {
    return schema.safeParse(JSON.parse(readFileSync(path, 'utf8'))).data;
  } catch (err) {
    if (hasCode(err, 'ENOENT') || err instanceof SyntaxError) return undefined;
    throw err;
  }
}
