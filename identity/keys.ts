/** The master keys: given, or made once in the data directory. */
import { link, mkdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { z } from 'zod';
import { draftKeyFile, keyIdOf, KeyList, newKey } from './key-file.js';
import { KeyRing, type MasterKey } from './key-ring.js';

/** The file in the data directory; whoever loses it loses every stored secret. */
export const KEY_FILE = '.keys';

const SHORTEST_KEY = 32;

/** The master keys cannot be used; the message says what to do and holds no key. */
export class KeyRingError extends Error {
  override readonly name = 'KeyRingError';
}

/** Where the master keys are: in a setting, or else in the data directory. */
export interface KeyPlace {
  /** Value of JWT_SECRET, or null. */
  secret: string | null;
  dataDirectory: string;
}

/**
 * The key ring of this installation; one that lives in the key file follows the file, so that a rotation needs no
 * restart.
 * @param onProblem told when the file cannot be read any more; the keys known by then stay in use.
 * @throws {KeyRingError}
 */
export async function openKeyRing(place: KeyPlace, onProblem: (error: unknown) => void): Promise<KeyRing> {
  if (place.secret !== null) return new KeyRing(await loadMasterKeys(place));
  const path = join(place.dataDirectory, KEY_FILE);
  let seen = await versionOf(path); // before it is read: a change in between is then seen as one
  const keys = await loadMasterKeys(place);
  return new KeyRing(keys, {
    async changed() {
      const version = await versionOf(path);
      if (version === seen) return null;
      const content = await readKeyFile(path);
      if (content === null) throw new KeyRingError(`The key file ${path} is gone: restore it from a backup.`);
      const changed = parseKeys(content, path);
      seen = version;
      return changed;
    },
    onProblem,
  });
}

/** Differs whenever the file was replaced. */
async function versionOf(path: string): Promise<string | null> {
  try {
    const { ino, size, mtimeMs } = await stat(path);
    return `${ino}/${size}/${mtimeMs}`;
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return null;
    throw error;
  }
}

/**
 * Reads the key ring: from `secret` (one key, or a JSON list of keys, newest first), else from the key file, which is
 * made when there is none. Several processes may do so at once: one makes it, all read the same.
 * @throws {KeyRingError}
 */
export async function loadMasterKeys(options: KeyPlace): Promise<MasterKey[]> {
  if (options.secret !== null) return parseKeys(options.secret, 'JWT_SECRET');
  const path = join(options.dataDirectory, KEY_FILE);
  const present = await readKeyFile(path);
  if (present !== null) return parseKeys(present, path);
  await mkdir(options.dataDirectory, { recursive: true, mode: 0o700 });
  await makeKeyFile(path);
  return parseKeys((await readKeyFile(path)) ?? '', path);
}

/**
 * The keys that a setting or a key file holds.
 * @throws {KeyRingError}
 */
export function parseKeys(content: string, source: string): MasterKey[] {
  const text = content.trim();
  const entries = text.startsWith('[') ? parseList(text, source) : [text];
  return entries.map((entry) => {
    const key = typeof entry === 'string' ? entry : entry.key;
    if (key.length < SHORTEST_KEY) {
      throw new KeyRingError(
        `A key in ${source} has ${key.length} characters, which is too short: use 32 or more, for example from \`openssl rand -base64 48\`.`,
      );
    }
    const id = typeof entry === 'string' ? keyIdOf(entry) : entry.id;
    return { id, secret: new TextEncoder().encode(key) };
  });
}

/** The ids of the keys in a setting, newest first. */
export const keyIdsOf = (secret: string): string[] => parseKeys(secret, 'JWT_SECRET').map(({ id }) => id);

function parseList(text: string, source: string): z.output<typeof KeyList> {
  try {
    return KeyList.parse(JSON.parse(text));
  } catch {
    // The cause would quote keys.
    throw new KeyRingError(
      `The keys in ${source} cannot be read: expected a JSON list of keys, newest first. Restore it from a backup; without its keys stored secrets stay locked.`,
    );
  }
}

async function readKeyFile(path: string): Promise<string | null> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return null;
    throw new KeyRingError(
      `The key file ${path} cannot be read (${codeOf(error)}): let this account read it.`,
      {
        cause: error,
      },
    );
  }
}

/** Writes a complete file under another name and links it: what is there under the real name is never half a file. */
async function makeKeyFile(path: string): Promise<void> {
  try {
    const draft = await draftKeyFile(path, [newKey()]);
    try {
      await link(draft, path).catch((error: unknown) => {
        if (codeOf(error) !== 'EEXIST') throw error; // another process was quicker: its keys are the keys
      });
    } finally {
      await rm(draft, { force: true });
    }
  } catch (error) {
    throw new KeyRingError(
      `The key file ${path} cannot be made (${codeOf(error)}): make the data directory writable, or set JWT_SECRET.`,
      { cause: error },
    );
  }
}

const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error ? String(error.code) : 'unknown error';
