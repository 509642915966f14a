/** Secrets as values that cannot be printed by accident, and their removal from text. */

/** What stands in the place of a secret wherever it would be shown. */
export const MASK = '**********';

/** Shorter values are too common in ordinary text to be masked by value. */
const SHORTEST_MASKED = 6;

/** A value that prints, serializes and interpolates as {@link MASK}; only {@link reveal} gives it out. */
export class Secret {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
  }

  /** The plain value, for the one call that needs it. */
  reveal(): string {
    return this.#value;
  }

  toString(): string {
    return MASK;
  }

  toJSON(): string {
    return MASK;
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return MASK;
  }
}

/**
 * Replaces every occurrence of the secrets in a text, their URL-encoded, base64 and JSON-escaped spellings included.
 * Values under six characters are left alone: masking them would garble the text and reveal by where it does.
 */
export function maskText(text: string, secrets: Iterable<string>): string {
  let masked = text;
  for (const spelling of spellings(secrets)) masked = masked.replaceAll(spelling, MASK);
  return masked;
}

/** Longest first, so that a secret that contains another is replaced whole. */
function spellings(secrets: Iterable<string>): string[] {
  const all = new Set<string>();
  for (const secret of secrets) {
    if (secret.length < SHORTEST_MASKED) continue;
    all.add(secret);
    if (!/\p{Surrogate}/u.test(secret)) all.add(encodeURIComponent(secret));
    all.add(JSON.stringify(secret).slice(1, -1));
    for (const line of secret.split(/\r?\n/)) if (line.length >= SHORTEST_MASKED) all.add(line);
    all.add(base64(secret));
  }
  return [...all].sort((a, b) => b.length - a.length);
}

function base64(text: string): string {
  let bytes = '';
  for (const byte of new TextEncoder().encode(text)) bytes += String.fromCharCode(byte);
  return btoa(bytes);
}

/** How many values a {@link SecretMasker} remembers; the one used longest ago goes first. */
const MOST_REMEMBERED = 1_000;

/** Remembers the secrets that a process handles, so that none of them gets into its logs. */
export class SecretMasker {
  readonly #secrets = new Set<string>();
  #spellings: string[] | null = null;

  constructor(secrets: Iterable<string | Secret | null | undefined> = []) {
    for (const secret of secrets) this.add(secret);
  }

  /** From now on this value is masked; nothing happens for one that is null. */
  add(secret: string | Secret | null | undefined): void {
    if (secret === null || secret === undefined) return;
    const value = typeof secret === 'string' ? secret : secret.reveal();
    const known = this.#secrets.delete(value);
    this.#secrets.add(value); // now the one used last
    if (known) return;
    this.#spellings = null;
    const [oldest] = this.#secrets;
    if (this.#secrets.size > MOST_REMEMBERED && oldest !== undefined) this.#secrets.delete(oldest);
  }

  /** The text without any remembered secret. */
  mask(text: string): string {
    this.#spellings ??= spellings(this.#secrets);
    let masked = text;
    for (const spelling of this.#spellings) masked = masked.replaceAll(spelling, MASK);
    return masked;
  }
}

/** True for the names under which secrets travel: such a member is never shown, whatever it holds. */
export const isSecretName = (name: string): boolean =>
  /(?:^|[_-])(?:(?:api|access|session)?(?:key|token|secret|password)s?|passwd|authorization|cookie|credentials?)$/i.test(
    name.replaceAll(/([a-z0-9])([A-Z])/g, '$1_$2'),
  );
