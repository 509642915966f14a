/** What a process sandbox keeps on disk about its agent-server: the handle, the end, the log. */
import { open, readFile, rename, stat, writeFile } from 'node:fs/promises';
import { constants as osConstants } from 'node:os';
import type { SandboxHandle } from './backend.js';
import { readableLines } from './log-lines.js';
import { errorCode, isGone } from './process-identity.js';
import type { ProcessIdentity } from './process-identity.js';
import type { SandboxPaths } from './sandbox-paths.js';

/** How much of the log's end is searched for its last lines. */
const TAIL_BYTES = 64 * 1024;

/** The handle of the last launch, or null. */
export async function readRecord(paths: SandboxPaths): Promise<SandboxHandle | null> {
  return (await readJson(paths.record)) as SandboxHandle | null;
}

/** The three parts of a handle that say which process it is, or null for a handle of another back-end. */
export function identityOf(handle: SandboxHandle): ProcessIdentity | null {
  const { pid, startTime, bootId } = handle;
  return pid === undefined || startTime === undefined || bootId === undefined
    ? null
    : { pid, startTime, bootId };
}

/** The exit code as a shell would tell it: a process ended by a signal has 128 and the signal's number. */
export function exitCodeOf(code: number | null, signal: NodeJS.Signals | null): number | null {
  return code ?? (signal === null ? null : 128 + osConstants.signals[signal]);
}

export async function writeExit(
  paths: SandboxPaths,
  identity: ProcessIdentity,
  exitCode: number | null,
): Promise<void> {
  try {
    await writeFile(`${paths.exit}.new`, JSON.stringify({ ...identity, exitCode }));
    await rename(`${paths.exit}.new`, paths.exit);
  } catch (error) {
    if (!isGone(error)) throw error; // the sandbox has been destroyed, and with it the need to know
  }
}

/** How that process ended, if one of us was there to see it. */
export async function readExit(paths: SandboxPaths, identity: ProcessIdentity): Promise<number | null> {
  const exit = (await readJson(paths.exit)) as (ProcessIdentity & { exitCode: number | null }) | null;
  const same =
    exit?.pid === identity.pid && exit.startTime === identity.startTime && exit.bootId === identity.bootId;
  return same ? exit.exitCode : null;
}

/** The last lines of a file, newest last. */
export async function tailOf(path: string, lines: number): Promise<string[]> {
  const file = await orNull(open(path));
  if (!file) return [];
  try {
    const { size } = await file.stat();
    const length = Math.min(size, TAIL_BYTES);
    const { buffer } = await file.read(Buffer.alloc(length), 0, length, size - length);
    const all = buffer.toString('utf8').split('\n');
    if (length < size) all.shift(); // begins somewhere in a line
    return all
      .filter((line) => line.trim() !== '')
      .slice(-lines)
      .flatMap(readableLines)
      .slice(-lines);
  } finally {
    await file.close();
  }
}

export async function sizeOf(path: string): Promise<number> {
  return (await orNull(stat(path)))?.size ?? 0;
}

async function readJson(path: string): Promise<unknown> {
  const text = await orNull(readFile(path, 'utf8'));
  return text === null ? null : JSON.parse(text);
}

async function orNull<T>(reading: Promise<T>): Promise<T | null> {
  try {
    return await reading;
  } catch (error) {
    if (isGone(error) || errorCode(error) === 'ENOTDIR') return null;
    throw error;
  }
}
