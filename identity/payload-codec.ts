/** Encryption of everything that Temporal keeps: arguments, results, failures, memos, heartbeats. */
import { METADATA_ENCODING_KEY, type Payload, type PayloadCodec } from '@temporalio/common';
import proto from '@temporalio/proto';
import { CompactEncrypt, compactDecrypt } from 'jose';
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
    return Promise.all(
      payloads.map(async (payload) => {
        const jwe = await new CompactEncrypt(WirePayload.encode(payload).finish())
          .setProtectedHeader({ alg: 'dir', enc: 'A256GCM', kid: id })
          .encrypt(key);
        return {
          metadata: { [METADATA_ENCODING_KEY]: ENCODING, [KEY_ID_METADATA]: kid },
          data: encoder.encode(jwe),
        };
      }),
    );
  }

  /** @throws {PayloadLocked} for a payload of ours whose key is gone, or that was changed. */
  async decode(payloads: Payload[]): Promise<Payload[]> {
    return Promise.all(
      payloads.map(async (payload) => (isEncrypted(payload) ? this.#open(payload) : payload)),
    );
  }

  async #open({ data }: Payload): Promise<Payload> {
    try {
      const { plaintext } = await compactDecrypt(
        data ?? new Uint8Array(),
        async ({ kid = 'without a name' }) => {
          const key = await this.#keys.find(kid);
          if (key) return key;
          throw new PayloadLocked(`the master key ${kid.slice(0, 16)} is not in the key ring`);
        },
        ALGORITHMS,
      );
      return WirePayload.decode(plaintext);
    } catch (error) {
      if (error instanceof PayloadLocked) throw error;
      throw new PayloadLocked('it cannot be decrypted with the keys of this installation', { cause: error });
    }
  }
}

const ALGORITHMS = { keyManagementAlgorithms: ['dir'], contentEncryptionAlgorithms: ['A256GCM'] };

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
