/** What `callboard keys` does; where things are, its command finds out. */
import { join } from 'node:path';
import { z } from 'zod';
import type { SealedValues } from '../../db/sealed-values.js';
import { newKey, readKeyEntries, replaceKeyEntries, type KeyEntry } from '../../identity/key-file.js';
import { KEY_FILE, keyIdsOf } from '../../identity/keys.js';
import { rewrap, sealedByKey } from '../../identity/rewrap.js';
import type { Vault } from '../../identity/vault.js';
import { acquireProcessLock, LockHeldError } from '../embedded/process-lock.js';
import { hasCode, UserError } from '../user-error.js';

export interface KeyPlaces {
  /** Value of JWT_SECRET, or null when the keys are in the key file. */
  secret: string | null;
  dataDirectory: string;
}

/** What keys are needed for: sealed values in the database, and payloads of open workflows. */
export interface KeyUses {
  values: SealedValues;
  openWorkflows: () => Promise<Map<string, number>>;
}

type Print = (line: string) => void;

/** Lists the keys with what still needs them. @param uses null when nothing runs that could be asked */
export async function listKeys(places: KeyPlaces, uses: KeyUses | null, print: Print): Promise<void> {
  const keys: Pick<KeyEntry, 'id' | 'created_at'>[] =
    places.secret === null ? await entriesOf(places) : keyIdsOf(places.secret).map((id) => ({ id }));
  const counts = uses && (await countsOf(uses));
  print(['key', 'made', 'rows', 'open workflows', ''].join('\t'));
  for (const [at, key] of keys.entries()) {
    const made = key.created_at ?? '–';
    const rows = counts ? String(counts.rows.get(key.id) ?? 0) : '?';
    const workflows = counts ? String(counts.workflows.get(key.id) ?? 0) : '?';
    print([key.id, made, rows, workflows, at === 0 ? 'encrypts' : 'decrypts'].join('\t'));
  }
  for (const [what, found] of Object.entries(counts ?? {})) {
    for (const [id, count] of found) {
      if (!keys.some((key) => key.id === id)) print(`${count} ${what} need the key ${id}, which is missing.`);
    }
  }
}

/** Makes a new key that encrypts from now on; the others go on decrypting. */
export async function rotateKeys(places: KeyPlaces, print: Print): Promise<void> {
  const path = keyFileOf(places);
  const [first] = await locked(path, () => replaceKeyEntries(path, (entries) => [newKey(), ...entries]));
  print(`The key ${first?.id ?? ''} encrypts from now on; processes that run take it up within seconds.`);
  print('Next: callboard keys rewrap, which seals all stored secrets anew with it.');
}

/** Seals everything in the database with the newest key. @returns the exit status */
export async function rewrapRows(
  { values }: Pick<KeyUses, 'values'>,
  vault: Pick<Vault, 'reseal'>,
  print: Print,
  signal?: AbortSignal,
): Promise<number> {
  let locked = 0;
  for await (const count of rewrap({ values, vault, signal })) {
    locked += count.locked;
    const unread = count.locked === 0 ? '' : `, ${count.locked} cannot be read with the keys there are`;
    print(`${count.table}: ${count.resealed} sealed anew, ${count.current} were already${unread}.`);
  }
  print(
    locked === 0
      ? 'All stored secrets are under the newest key.'
      : 'Some stored secrets were left as they are.',
  );
  return locked === 0 ? 0 : 1;
}

/** Takes a key away that nothing needs any more. */
export async function removeKey(
  places: KeyPlaces,
  id: string,
  uses: KeyUses | null,
  print: Print,
): Promise<void> {
  const path = keyFileOf(places);
  const [newest, ...older] = await entriesOf(places);
  if (newest?.id === id)
    throw new UserError(`The key ${id} is the newest one: make another first, with callboard keys rotate.`);
  if (!older.some((key) => key.id === id))
    throw new UserError(`There is no key ${id}: callboard keys list names them.`);
  if (uses) {
    const { rows, workflows } = await countsOf(uses);
    if (rows.has(id))
      throw new UserError(
        `${rows.get(id) ?? 0} stored secrets are under the key ${id}: run callboard keys rewrap first.`,
      );
    if (workflows.has(id)) {
      throw new UserError(
        `${workflows.get(id) ?? 0} open workflows need the key ${id}: they would stand still without it. Starts end within minutes: try again then. A sandbox made while it was the newest key needs it until it is deleted: callboard sandboxes list shows when each was made, and callboard sandboxes delete ID deletes one. Until then leave the key in the ring; new secrets are not under it.`,
      );
    }
  }
  await locked(path, () => replaceKeyEntries(path, (entries) => entries.filter((entry) => entry.id !== id)));
  print(
    `The key ${id} is gone. Histories that have ended under it cannot be read any more, nor backups from before.`,
  );
}

async function countsOf({ values, openWorkflows }: KeyUses) {
  const [rows, workflows] = await Promise.all([sealedByKey(values), openWorkflows()]);
  return { rows, workflows };
}

function keyFileOf({ secret, dataDirectory }: KeyPlaces): string {
  if (secret === null) return join(dataDirectory, KEY_FILE);
  throw new UserError(
    'The keys are in JWT_SECRET, which only you can change: docs/security.md says in which order, under "New keys".',
  );
}

async function entriesOf(places: KeyPlaces): Promise<KeyEntry[]> {
  const path = keyFileOf(places);
  try {
    return await readKeyEntries(path);
  } catch (err) {
    if (hasCode(err, 'ENOENT'))
      throw new UserError(`There are no keys yet in ${path}: the first run makes them.`);
    if (err instanceof SyntaxError || err instanceof z.ZodError) {
      throw new UserError(`The key file ${path} is damaged: restore it from a backup.`);
    }
    throw err;
  }
}

async function locked<Result>(path: string, work: () => Promise<Result>): Promise<Result> {
  try {
    const lock = acquireProcessLock(`${path}.lock`);
    try {
      return await work();
    } finally {
      lock.release();
    }
  } catch (err) {
    if (err instanceof LockHeldError) {
      throw new UserError(
        `Process ${err.holder.pid} is changing the keys right now: try again when it has ended.`,
      );
    }
    throw err;
  }
}
