/** Values that a Python server encrypted with its key file: JWE of today, and Fernet of earlier releases. */
import { compactDecrypt, decodeProtectedHeader } from 'jose';
import { createDecipheriv, createHash, createHmac, timingSafeEqual } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { base62 } from '../../contract/ids.js';
import { isMissing } from '../../events/event-disk.js';
import { hasCode } from '../user-error.js';
import { Undecodable } from './source-database.js';

const KeyFile = z.array(z.looseObject({ id: z.string().min(1), key: z.string().min(1) }));

/** The keys of a server by their id. */
export type SourceKeys = ReadonlyMap<string, string>;

/**
 * Reads `.keys` and `.jwt_secret` of a directory, and the secret that the server had in its environment.
 * @throws {Undecodable} when the key file is damaged
 */
export async function readSourceKeys(directory: string | null, secret: string | null): Promise<SourceKeys> {
  const keys = new Map<string, string>();
  const remember = (text: string): void => void keys.set(idOfSecret(text), text);
  if (directory !== null) {
    const file = await optionalText(join(directory, '.keys'));
    if (file !== null) for (const { id, key } of parsed(file)) keys.set(id, key);
    const older = await optionalText(join(directory, '.jwt_secret'));
    if (older !== null && older.trim() !== '') remember(older.trim());
  }
  if (secret !== null && secret !== '') remember(secret);
  return keys;
}

/** Whether a text looks like one that the server encrypted. */
export const isSealed = (text: string): boolean => isJwe(text) || fernetBytes(text) !== null;

/**
 * The plain text of one that {@link isSealed}.
 * @throws {Undecodable} when no key fits
 */
export async function openSealed(keys: SourceKeys, text: string): Promise<string> {
  if (isJwe(text)) return openJwe(keys, text);
  const token = fernetBytes(text);
  for (const secret of keys.values()) {
    const plain = token && openFernet(secret, token);
    if (plain) return plain;
  }
  throw new Undecodable(NO_KEY);
}

const NO_KEY =
  'it is encrypted with a key that is not in the .keys of the old server: set IMPORT_JWT_SECRET to its JWT_SECRET';

async function openJwe(keys: SourceKeys, text: string): Promise<string> {
  const { kid = '' } = decodeProtectedHeader(text);
  const secret = keys.get(kid);
  if (secret === undefined) throw new Undecodable(NO_KEY);
  const opened = await compactDecrypt(text, sha256(secret), {
    keyManagementAlgorithms: ['dir'],
    contentEncryptionAlgorithms: ['A256GCM'],
  }).catch(() => {
    throw new Undecodable('it is encrypted and was damaged');
  });
  const payload = z
    .object({ v: z.string() })
    .safeParse(JSON.parse(new TextDecoder().decode(opened.plaintext)));
  if (!payload.success) throw new Undecodable('it is encrypted and holds no text');
  return payload.data.v;
}

function isJwe(text: string): boolean {
  if (!/^eyJ[\w-]+\.[\w-]*\.[\w-]+\.[\w-]+\.[\w-]+$/.test(text)) return false;
  try {
    const { alg, enc } = decodeProtectedHeader(text);
    return alg === 'dir' && enc === 'A256GCM';
  } catch {
    return false; // five parts by chance
  }
}

/** The bytes of a Fernet token; some releases wrote it in base64 once more. Null for any other text. */
function fernetBytes(text: string): Buffer | null {
  const token = text.startsWith('Z0FBQUFB') ? Buffer.from(text, 'base64').toString('latin1') : text;
  if (!/^gAAAAA[\w-]+=*$/.test(token)) return null;
  const bytes = Buffer.from(token, 'base64url');
  return bytes.length >= 73 && bytes[0] === 0x80 ? bytes : null;
}

/** Version, time, vector, AES-128-CBC, HMAC-SHA256; null when the key is another one. */
function openFernet(secret: string, token: Buffer): string | null {
  const key = sha256(secret);
  const signed = token.subarray(0, -32);
  const signature = createHmac('sha256', key.subarray(0, 16)).update(signed).digest();
  if (!timingSafeEqual(signature, token.subarray(-32))) return null;
  const cipher = createDecipheriv('aes-128-cbc', key.subarray(16), signed.subarray(9, 25));
  return Buffer.concat([cipher.update(signed.subarray(25)), cipher.final()]).toString('utf8');
}

function parsed(text: string): z.infer<typeof KeyFile> {
  try {
    return KeyFile.parse(JSON.parse(text));
  } catch {
    throw new Undecodable('it is no list of keys'); // the reason would repeat what it holds
  }
}

const sha256 = (text: string): Buffer => createHash('sha256').update(text).digest();

/** A key that has no id of its own is known by its hash. */
const idOfSecret = (secret: string): string => base62(sha256(secret));

async function optionalText(path: string): Promise<string | null> {
  try {
    return await readFile(path, 'utf8');
  } catch (err) {
    if (isMissing(err)) return null;
    if (hasCode(err, 'EACCES')) throw new Undecodable('it may not be read by this user');
    throw err;
  }
}
