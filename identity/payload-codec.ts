/** Encryption of everything that Temporal keeps: arguments, results, failures, memos, heartbeats. */
import { METADATA_ENCODING_KEY, type Payload, type PayloadCodec } from '@temporalio/common';
import proto from '@temporalio/proto';
import { createCipheriv, createDecipheriv, KeyObject, randomBytes, type webcrypto } from 'node:crypto';
import { z } from 'zod';
import { DerivedKeys, type KeyRing, type MasterKey } from './key-ring.js';

/** Marks a payload of ours; what has another encoding passes through unchanged. */
export const ENCRYPTED_ENCODING = 'binary/callboard-jwe';
/** Metadata that names the master key, readable without it: rotation asks for it. */
export const KEY_ID_METADATA = 'callboard-kid';

const WirePayload = proto.temporal.api.common.v1.Payload;
const encoder = new TextEncoder();
const decoder = new TextDecoder();
const ENCODING = encoder.encode(ENCRYPTED_ENCODING);

/**
 * Payloads as JWE compact (`dir`, A256GCM, key id in `kid`) around the whole payload, its metadata included. The newest
 * key encrypts, all decrypt. Payloads without our mark pass: histories older than the codec stay readable.
 */
export class PayloadEncryption implements PayloadCodec {
  readonly #keys: DerivedKeys;

  constructor(keys: KeyRing | readonly MasterKey[]) {
    this.#keys = new DerivedKeys(keys, 'callboard temporal payload', 'encrypt');
  }

  async encode(payloads: Payload[]): Promise<Payload[]> {
    const { id, key } = await this.#keys.newest();
    const kid = encoder.encode(id);
    const header = base64url(JSON.stringify({ alg: 'dir', enc: 'A256GCM', kid: id }));
    return payloads.map((payload) => ({
      metadata: { [METADATA_ENCODING_KEY]: ENCODING, [KEY_ID_METADATA]: kid },
      data: encoder.encode(seal(WirePayload.encode(payload).finish(), header, keyObject(key))),
    }));
  }

  /** @throws {PayloadLocked} for a payload of ours whose key is gone, or that was changed. */
  async decode(payloads: Payload[]): Promise<Payload[]> {
    return Promise.all(
      payloads.map(async (payload) => (isEncrypted(payload) ? this.#open(payload) : payload)),
    );
  }

  async #open({ data }: Payload): Promise<Payload> {
    try {
      const parts = decoder.decode(data ?? new Uint8Array()).split('.');
      const [header = ''] = parts;
      const { kid } = Header.parse(JSON.parse(Buffer.from(header, 'base64url').toString()));
      const key = await this.#keys.find(kid);
      if (!key) throw new PayloadLocked(`the master key ${kid.slice(0, 16)} is not in the key ring`);
      return WirePayload.decode(unseal(parts, keyObject(key)));
    } catch (error) {
      if (error instanceof PayloadLocked) throw error;
      throw new PayloadLocked('it cannot be decrypted with the keys of this installation', { cause: error });
    }
  }
}

/** The only JWE that is made here, and the only one that is opened: what asks for more is refused. */
const Header = z.strictObject({ alg: z.literal('dir'), enc: z.literal('A256GCM'), kid: z.string() });

/** Sizes of A256GCM in a JWE (RFC 7518, 5.3), in bytes. */
const IV_BYTES = 12;
const TAG_BYTES = 16;

/*
 * A start encrypts and decrypts some dozens of payloads of a few hundred bytes. Within this thread one takes some
 * microseconds; handed to the thread pool, as Web Crypto does, twenty times as much.
 */

/** @param header of the JWE, encoded: authenticated with the text */
function seal(text: Uint8Array, header: string, key: KeyObject): string {
  const iv = randomBytes(IV_BYTES);
  const cipher = createCipheriv('aes-256-gcm', key, iv, { authTagLength: TAG_BYTES });
  cipher.setAAD(Buffer.from(header, 'latin1'));
  const sealed = Buffer.concat([cipher.update(text), cipher.final()]);
  return [header, '', base64url(iv), base64url(sealed), base64url(cipher.getAuthTag())].join('.');
}

function unseal(parts: readonly string[], key: KeyObject): Uint8Array {
  const [header, wrappedKey, ...rest] = parts;
  const [iv, sealed, tag, ...more] = rest.map((part) => Buffer.from(part, 'base64url'));
  const isWhole = header !== undefined && wrappedKey === '' && more.length === 0;
  if (!isWhole || iv?.length !== IV_BYTES || !sealed || tag?.length !== TAG_BYTES) {
    throw new Error('not a compact JWE of five parts');
  }
  const decipher = createDecipheriv('aes-256-gcm', key, iv, { authTagLength: TAG_BYTES });
  decipher.setAAD(Buffer.from(header, 'latin1'));
  decipher.setAuthTag(tag);
  return Buffer.concat([decipher.update(sealed), decipher.final()]);
}

const base64url = (data: string | Buffer): string =>
  (typeof data === 'string' ? Buffer.from(data) : data).toString('base64url');

const keyObjects = new WeakMap<webcrypto.CryptoKey, KeyObject>();

/** The form of a key that ciphers of this thread take. */
function keyObject(key: webcrypto.CryptoKey): KeyObject {
  const known = keyObjects.get(key);
  if (known) return known;
  const made = KeyObject.from(key);
  keyObjects.set(key, made);
  return made;
}

const isEncrypted = ({ metadata }: Payload): boolean =>
  decoder.decode(metadata?.[METADATA_ENCODING_KEY]) === ENCRYPTED_ENCODING;

/** The id of the master key that a payload is encrypted with; null for one that is not encrypted by us. */
export const keyIdOfPayload = (payload: Payload): string | null =>
  isEncrypted(payload) ? decoder.decode(payload.metadata?.[KEY_ID_METADATA]) : null;

/** A payload of ours cannot be read. Workflows wait until the key is back, nothing is lost by it. */
export class PayloadLocked extends Error {
  constructor(reason: string, options?: ErrorOptions) {
    super(`A Temporal payload cannot be read: ${reason}.`, options);
    this.name = 'PayloadLocked';
  }
}
