/** The key file of the data directory as a list of entries, and changes to it. */
import { createHash, randomBytes } from 'node:crypto';
import { open, readFile, rename, rm } from 'node:fs/promises';
import { z } from 'zod';

/** A list of keys, newest first: the first encrypts and signs, all decrypt and verify. */
export const KeyList = z
  .array(
    z.union([
      z.string(),
      z.object({ id: z.string().min(1), key: z.string(), created_at: z.string().optional() }),
    ]),
  )
  .min(1, 'the list is empty');

/** One key as the file keeps it. */
export interface KeyEntry {
  id: string;
  key: string;
  /** ISO 8601; absent in files of 0.1.0. */
  created_at?: string;
}

/** Names a key without telling anything about it. */
export const keyIdOf = (key: string): string =>
  createHash('sha256').update(`callboard key id\0${key}`).digest('base64url').slice(0, 16);

export function newKey(now = new Date()): KeyEntry {
  const key = randomBytes(48).toString('base64url');
  return { id: keyIdOf(key), key, created_at: now.toISOString() };
}

/** Writes a complete key file beside the real one. @returns its path */
export async function draftKeyFile(path: string, entries: readonly KeyEntry[]): Promise<string> {
  const draft = `${path}.${randomBytes(6).toString('hex')}`;
  try {
    const file = await open(draft, 'wx', 0o600);
    try {
      await file.writeFile(`${JSON.stringify(entries, null, 2)}\n`);
      await file.sync();
    } finally {
      await file.close();
    }
    return draft;
  } catch (error) {
    await rm(draft, { force: true });
    throw error;
  }
}

/** The entries of a key file, newest first. Throws what reading and parsing throw. */
export async function readKeyEntries(path: string): Promise<KeyEntry[]> {
  const text = (await readFile(path, 'utf8')).trim();
  const entries = text.startsWith('[') ? KeyList.parse(JSON.parse(text)) : [text];
  return entries.map((entry) => (typeof entry === 'string' ? { id: keyIdOf(entry), key: entry } : entry));
}

/**
 * Puts other entries into a key file, all at once: a process that reads it at any moment reads the old or the new. Who
 * calls it holds a lock, since two changes at once would lose one.
 */
export async function replaceKeyEntries(
  path: string,
  change: (entries: readonly KeyEntry[]) => readonly KeyEntry[],
): Promise<KeyEntry[]> {
  const entries = [...change(await readKeyEntries(path))];
  if (entries.length === 0) throw new Error('a key file keeps at least one key');
  const draft = await draftKeyFile(path, entries);
  await rename(draft, path);
  return entries;
}
