import { CompactEncrypt, compactDecrypt, decodeProtectedHeader } from 'jose';
import { createHash, randomBytes } from 'node:crypto';
import { DerivedKeys, type KeyRing, type MasterKey } from './key-ring.js';

export type { MasterKey } from './key-ring.js';

/** Told of each text that is sealed or opened: from then on this process knows it, and must not show it. */
export type PlainListener = (purpose: string, plain: string) => void;

/**
 * Encrypts what must not lie in the clear: JWE compact, `dir` + A256GCM, key id in `kid`, so that keys can rotate.
 * What is encrypted is bound to a purpose (`session key of sandbox …`): a row's value moved elsewhere does not open.
 */
export class Vault {
  readonly #keys: DerivedKeys;
  readonly #kept = new Map<string, string>();

  /** @param keys newest first; none is an error. */
  constructor(
    keys: KeyRing | readonly MasterKey[],
    private readonly onPlain: PlainListener | null = null,
  ) {
    this.#keys = new DerivedKeys(keys, 'callboard vault', 'encrypt');
  }

  /** Encrypts a text for one purpose. */
  async seal(purpose: string, plain: string): Promise<string> {
    this.onPlain?.(purpose, plain);
    const { id, key } = await this.#keys.newest();
    return new CompactEncrypt(new TextEncoder().encode(plain))
      .setProtectedHeader({ alg: 'dir', enc: 'A256GCM', kid: id, purpose })
      .encrypt(key);
  }

  /**
   * Decrypts what {@link seal} made for the same purpose.
   * @throws {VaultError} when the key is unknown, the text was changed, or it was sealed for something else.
   */
  async open(purpose: string, sealed: string): Promise<string> {
    const plain = await this.#open(purpose, sealed);
    this.onPlain?.(purpose, plain);
    return plain;
  }

  /**
   * As {@link open}, for what is shown again and again: the texts opened last stay in the memory of this process. What a
   * sealed text holds never changes, so that what is kept is never out of date; one that does not open is not kept.
   */
  async openKept(purpose: string, sealed: string): Promise<string> {
    const name = `${purpose} ${sealed}`;
    const kept = this.#kept.get(name);
    const plain = kept ?? (await this.#open(purpose, sealed));
    this.#kept.delete(name); // what was used last goes last
    this.#kept.set(name, plain);
    const [oldest] = this.#kept.keys();
    if (this.#kept.size > MOST_KEPT && oldest !== undefined) this.#kept.delete(oldest);
    this.onPlain?.(purpose, plain);
    return plain;
  }

  /**
   * The same text under the newest key; null when that is what it is under already.
   * @throws {VaultError} as {@link open}
   */
  async reseal(sealed: string): Promise<string | null> {
    const { kid, purpose } = headerOf(sealed);
    const { id } = await this.#keys.newest();
    if (kid === id) return null;
    if (purpose === undefined) throw new VaultError('it says nothing of its purpose');
    return this.seal(purpose, await this.#open(purpose, sealed));
  }

  async #open(purpose: string, sealed: string): Promise<string> {
    try {
      const header = headerOf(sealed);
      if (header.purpose !== purpose) throw new VaultError('it was encrypted for another purpose');
      const { plaintext } = await compactDecrypt(sealed, await this.#key(header.kid ?? ''), ALGORITHMS);
      return new TextDecoder().decode(plaintext);
    } catch (error) {
      if (error instanceof VaultError) throw error;
      throw new VaultError('it cannot be decrypted with the keys of this installation', { cause: error });
    }
  }

  async #key(id: string) {
    const key = await this.#keys.find(id);
    if (!key) throw new VaultError(`the master key ${id.slice(0, 16)} is not in the key ring`);
    return key;
  }
}

/** As many as a process remembers secrets to keep out of its log: these are in its memory anyway. */
const MOST_KEPT = 1_000;

const ALGORITHMS = { keyManagementAlgorithms: ['dir'], contentEncryptionAlgorithms: ['A256GCM'] };

/** What a sealed text says of itself, unverified. */
function headerOf(sealed: string): { kid?: string; purpose?: string } {
  try {
    return decodeProtectedHeader(sealed);
  } catch (error) {
    throw new VaultError('it is no sealed text', { cause: error });
  }
}

/** The id of the master key that a text is sealed with; null for a text that is not sealed. */
export function keyIdOfSealed(sealed: string): string | null {
  try {
    return headerOf(sealed).kid ?? null;
  } catch (error) {
    if (error instanceof VaultError) return null;
    throw error;
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
  startArtifact: (taskId: string, name: string) => `start/${taskId}/artifact/${name}`,
  settings: (userId: string) => `settings/${userId}`,
  secret: (userId: string, kind: string, name: string) => `secret/${userId}/${kind}/${name}`,
  apiKey: (keyId: string) => `api-key/${keyId}`,
} as const;
