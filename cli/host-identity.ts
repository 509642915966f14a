import { randomBytes } from 'node:crypto';
import { linkSync, mkdirSync, readFileSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { base62 } from '../contract/ids.js';
import { hasCode, UserError } from './user-error.js';

/**
 * The id of this machine, made once and kept in its host directory: containers change their host names, this stays.
 * Several processes may ask at once; all get the same.
 */
export function hostIdentity(hostDirectory: string): string {
  const file = join(hostDirectory, 'host-id');
  mkdirSync(hostDirectory, { recursive: true, mode: 0o700 });
  const known = read(file);
  if (known) return known;
  const draft = `${file}.${process.pid}.${randomBytes(4).toString('hex')}`;
  writeFileSync(draft, `${base62(randomBytes(9))}\n`, { mode: 0o600 });
  try {
    linkSync(draft, file); // fails if somebody else was first
  } catch (err) {
    if (!hasCode(err, 'EEXIST')) throw err;
  } finally {
    unlinkSync(draft);
  }
  const id = read(file);
  if (!id)
    throw new UserError(`The host id in ${file} cannot be read: remove the file, and a new one is made.`);
  return id;
}

function read(file: string): string | null {
  try {
    const text = readFileSync(file, 'utf8').trim();
    return /^[0-9A-Za-z]{1,64}$/.test(text) ? text : null;
  } catch (err) {
    if (hasCode(err, 'ENOENT')) return null;
    throw err;
  }
}
