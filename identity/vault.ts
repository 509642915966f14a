import { CompactEncrypt, compactDecrypt, decodeProtectedHeader } from 'jose';
import { createHash, hkdfSync, randomBytes } from 'node:crypto';

/** One master key; the newest encrypts, all decrypt. */
export interface MasterKey {
  id: string;
  /** At least 32 bytes of key material. */
  secret: Uint8Array;
}

/**
 * Encrypts what must not lie in the clear: JWE compact, `dir` + A256GCM, key id in `kid`, so that keys can rotate.
 * What is encrypted is bound to a purpose (`session key of sandbox …`): a row's value moved elsewhere does not open.
 */
export class Vault {
  readonly #keys = new Map<string, Uint8Array>();
  readonly #newest: string;

  /** @param keys newest first; none is an error. */
  constructor(keys: readonly MasterKey[]) {
    const [newest] = keys;
    if (!newest) throw new Error('the vault needs at least one master key');
    this.#newest = newest.id;
    for (const key of keys) {
      this.#keys.set(key.id, new Uint8Array(hkdfSync('sha256', key.secret, '', 'callboard vault', 32)));
    }
  }

  /** Encrypts a text for one purpose. */
  async seal(purpose: string, plain: string): Promise<string> {
    return new CompactEncrypt(new TextEncoder().encode(plain))
      .setProtectedHeader({ alg: 'dir', enc: 'A256GCM', kid: this.#newest, purpose })
      .encrypt(this.#key(this.#newest));
  }

  /**
   * Decrypts what {@link seal} made for the same purpose.
   * @throws {VaultError} when the key is unknown, the text was changed, or it was sealed for something else.
   */
  async open(purpose: string, sealed: string): Promise<string> {
    try {
      const header = decodeProtectedHeader(sealed) as { kid?: string; purpose?: string };
      if (header.purpose !== purpose) throw new VaultError('it was encrypted for another purpose');
      const { plaintext } = await compactDecrypt(sealed, this.#key(header.kid ?? ''));
      return new TextDecoder().decode(plaintext);
    } catch (error) {
      if (error instanceof VaultError) throw error;
      throw new VaultError('it cannot be decrypted with the keys of this installation', { cause: error });
    }
  }

  #key(id: string): Uint8Array {
    const key = this.#keys.get(id);
    if (!key) throw new VaultError(`the master key ${id.slice(0, 16)} is not in the key ring`);
    return key;
  }
}

/** A stored secret cannot be read; the message never holds any of it. */
export class VaultError extends Error {
  constructor(reason: string, options?: ErrorOptions) {
    super(`A stored secret cannot be read: ${reason}.`, options);
    this.name = 'VaultError';
  }
}

/** SHA-256 in hex: how high-entropy keys (session keys, API keys) are looked up without being stored in the clear. */
export const lookupHash = (key: string): string => createHash('sha256').update(key).digest('hex');

/** 32 random bytes in base 62: the form of session keys (contract 1.2). */
export function randomKey(toText: (bytes: Uint8Array) => string): string {
  return toText(randomBytes(32));
}

/** What each kind of sealed value is bound to. */
export const purposes = {
  sessionKey: (sandboxId: string) => `sandbox/${sandboxId}/session-key`,
  secretKey: (sandboxId: string) => `sandbox/${sandboxId}/secret-key`,
  startSecrets: (taskId: string) => `start/${taskId}/secrets`,
  settings: (userId: string) => `settings/${userId}`,
  secret: (userId: string, kind: string, name: string) => `secret/${userId}/${kind}/${name}`,
} as const;
