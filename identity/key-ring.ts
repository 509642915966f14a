/** The master keys in use, and the keys derived from them for one purpose each. */
import { hkdfSync, webcrypto } from 'node:crypto';

/** One master key; the newest encrypts, all decrypt. */
export interface MasterKey {
  id: string;
  /** At least 32 bytes of key material. */
  secret: Uint8Array;
}

/** Where keys may change while the process runs. */
export interface KeySource {
  /** The keys as they are now, newest first; null when nothing has changed since they were last read. */
  changed(): Promise<MasterKey[] | null>;
  /** Told that the source cannot be read; the keys known so far go on being used. */
  onProblem(error: unknown): void;
}

/** How soon a process takes up a key that was made elsewhere, in milliseconds. */
const LOOK_EVERY_MS = 5_000;

/** The master keys, newest first. One that is read from a file follows the file. */
export class KeyRing {
  #keys: readonly MasterKey[];
  #newest: MasterKey;
  #lookedAt = Date.now();
  #looking: Promise<void> | null = null;

  /**
   * @param keys newest first; none is an error.
   * @param source looked at now and then, and whenever a key is missing; none when the keys never change.
   */
  constructor(
    keys: readonly MasterKey[],
    private readonly source: KeySource | null = null,
  ) {
    this.#newest = firstOf(keys);
    this.#keys = [...keys];
  }

  static from(keys: KeyRing | readonly MasterKey[]): KeyRing {
    return keys instanceof KeyRing ? keys : new KeyRing(keys);
  }

  /** All keys as last read, newest first. */
  get all(): readonly MasterKey[] {
    return this.#keys;
  }

  /** The key that encrypts and signs. */
  async newest(): Promise<MasterKey> {
    if (this.source && Date.now() - this.#lookedAt > LOOK_EVERY_MS) await this.#look();
    return this.#newest;
  }

  /** The key with this id, or null; one that is not known is looked for again at its source. */
  async find(id: string): Promise<MasterKey | null> {
    const known = () => this.#keys.find((key) => key.id === id) ?? null;
    const found = known();
    if (found || !this.source) return found;
    await this.#look();
    return known();
  }

  #look(): Promise<void> {
    this.#looking ??= this.#read().finally(() => {
      this.#looking = null;
    });
    return this.#looking;
  }

  async #read(): Promise<void> {
    this.#lookedAt = Date.now();
    try {
      const keys = (await this.source?.changed()) ?? null;
      if (!keys) return;
      this.#newest = firstOf(keys);
      this.#keys = keys;
    } catch (error) {
      this.source?.onProblem(error);
    }
  }
}

function firstOf(keys: readonly MasterKey[]): MasterKey {
  const [first] = keys;
  if (!first) throw new Error('at least one master key is needed');
  return first;
}

type Usage = 'encrypt' | 'sign';

const ALGORITHMS = {
  encrypt: { algorithm: 'AES-GCM', usages: ['encrypt', 'decrypt'] },
  sign: { algorithm: { name: 'HMAC', hash: 'SHA-256' }, usages: ['sign', 'verify'] },
} as const;

/** Keys for one purpose, each derived from a master key once and kept in the form that is quickest to use. */
export class DerivedKeys {
  readonly #ring: KeyRing;
  readonly #derived = new WeakMap<MasterKey, Promise<CryptoKey>>();

  /** @param purpose keeps what is made for one purpose from being of use for another. */
  constructor(
    keys: KeyRing | readonly MasterKey[],
    private readonly purpose: string,
    private readonly usage: Usage,
  ) {
    this.#ring = KeyRing.from(keys);
  }

  async newest(): Promise<{ id: string; key: CryptoKey }> {
    const master = await this.#ring.newest();
    return { id: master.id, key: await this.#derive(master) };
  }

  async find(id: string): Promise<CryptoKey | null> {
    const master = await this.#ring.find(id);
    return master && this.#derive(master);
  }

  #derive(master: MasterKey): Promise<CryptoKey> {
    const known = this.#derived.get(master);
    if (known) return known;
    const { algorithm, usages } = ALGORITHMS[this.usage];
    const bytes = new Uint8Array(hkdfSync('sha256', master.secret, '', this.purpose, 32));
    const derived = webcrypto.subtle.importKey('raw', bytes, algorithm, false, [...usages]);
    this.#derived.set(master, derived);
    return derived;
  }
}

type CryptoKey = webcrypto.CryptoKey;
