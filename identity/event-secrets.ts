/** Which secrets may turn up in the events of a sandbox, and their removal before anything is stored. */
import { maskJson } from '../contract/json-masking.js';
import { SecretMasker } from '../contract/secret-masker.js';
import { secretTexts } from '../contract/secret-texts.js';
import type { SecretsStore } from './secrets-store.js';
import type { SettingsStore } from './settings-store.js';
import { purposes, type Vault } from './vault.js';

/** A sandbox as far as its secrets are concerned. */
export interface SecretSandbox {
  id: string;
  createdByUserId: string | null;
  /** Encrypted. */
  sessionApiKey: string;
  /** Encrypted. */
  secretKey: string;
}

export interface EventSecretsDeps {
  vault: Pick<Vault, 'open'>;
  settings: Pick<SettingsStore, 'read'>;
  secrets: Pick<SecretsStore, 'providerTokens' | 'readCustom'>;
  /** What the instance itself hands to every sandbox. */
  instance: readonly string[];
  now?: () => number;
}

/** How old what is known of a user may be: a secret stored just now may be in the next event, but seldom is. */
const FRESH_MS = 15_000;
const MOST_REMEMBERED = 500;

/**
 * Takes out of events what their sandbox and its owner keep secret: session key, secret key, provider tokens, custom
 * secrets, keys in the settings, and keys of the instance. The secrets of others are not looked for: whether a text of
 * one user is masked tells nothing about another.
 */
export class EventSecrets {
  readonly #owners: Remembered<SecretMasker>;
  readonly #sandboxes: Remembered<SecretMasker>;

  constructor(private readonly deps: EventSecretsDeps) {
    const now = deps.now ?? Date.now;
    this.#owners = new Remembered(FRESH_MS, now);
    this.#sandboxes = new Remembered(Infinity, now);
  }

  /** Removes secrets from JSON texts of a sandbox: reads what is secret once, whatever the number of texts. */
  async concealer(sandbox: SecretSandbox): Promise<(json: string) => string> {
    const maskers = await Promise.all([
      this.#sandboxes.get(sandbox.id, () => this.#ofSandbox(sandbox)),
      this.#owners.get(sandbox.createdByUserId ?? '', () => this.#ofOwner(sandbox.createdByUserId)),
    ]);
    return (json) => maskJson(json, maskers);
  }

  async #ofSandbox({ id, sessionApiKey, secretKey }: SecretSandbox): Promise<SecretMasker> {
    const { vault } = this.deps;
    const keys = await Promise.all([
      vault.open(purposes.sessionKey(id), sessionApiKey),
      vault.open(purposes.secretKey(id), secretKey),
    ]);
    return new SecretMasker(keys);
  }

  async #ofOwner(userId: string | null): Promise<SecretMasker> {
    const { settings, secrets, instance } = this.deps;
    const [own, tokens, custom] = await Promise.all([
      settings.read(userId),
      secrets.providerTokens(userId),
      secrets.readCustom(userId),
    ]);
    return new SecretMasker([
      ...instance,
      ...[...tokens.values()].map(({ token }) => token),
      ...[...custom.values()].map(({ value }) => value),
      ...secretTexts(own),
    ]);
  }
}

/** Values by key, asked for once at a time and again when they are too old; the ones used longest ago go first. */
class Remembered<Value> {
  readonly #entries = new Map<string, { value: Promise<Value>; at: number }>();

  constructor(
    private readonly freshMs: number,
    private readonly now: () => number,
  ) {}

  get(key: string, load: () => Promise<Value>): Promise<Value> {
    const known = this.#entries.get(key);
    this.#entries.delete(key);
    const entry = known && this.now() - known.at < this.freshMs ? known : { value: load(), at: this.now() };
    this.#entries.set(key, entry);
    entry.value.catch(() => this.#entries.delete(key)); // who asks next tries again
    const [oldest] = this.#entries.keys();
    if (this.#entries.size > MOST_REMEMBERED && oldest !== undefined) this.#entries.delete(oldest);
    return entry.value;
  }
}
