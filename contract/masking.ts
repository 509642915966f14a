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

/** All forms in which these secrets are found in texts, longest first: a secret that contains another goes whole. */
function spellings(secrets: Iterable<string>): string[] {
  const all = new Set<string>();
  for (const secret of secrets) for (const spelling of spellingsOf(secret)) all.add(spelling);
  return [...all].sort((a, b) => b.length - a.length);
}

/** The forms in which one secret is found in texts; none for a value that is too short to be masked. */
export function spellingsOf(secret: string): string[] {
  if (secret.length < SHORTEST_MASKED) return [];
  const all = new Set<string>([secret]);
  if (!/\p{Surrogate}/u.test(secret)) all.add(encodeURIComponent(secret));
  const json = JSON.stringify(secret).slice(1, -1);
  all.add(json);
  // Python's way of writing JSON.
  all.add(
    json.replaceAll(/[\u007f-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`),
  );
  for (const line of secret.split(/\r?\n/)) if (line.length >= SHORTEST_MASKED) all.add(line);
  for (const text of base64Spellings(new TextEncoder().encode(secret))) all.add(text);
  return [...all];
}

/**
 * What base64 makes of bytes alone, and within more bytes at each of the three places where a group may begin: `user:`
 * stands before a password. Characters that depend on the neighbours are left out.
 */
function base64Spellings(bytes: Uint8Array): string[] {
  const within = [0, 1, 2].map((shift) => {
    const whole = base64(Uint8Array.from([...new Uint8Array(shift), ...bytes])).replace(/=+$/, '');
    const end = Math.floor(((shift + bytes.length) * 8) / 6);
    return whole.slice(Math.ceil((shift * 8) / 6), end);
  });
  const long = within.filter((text) => text.length >= SHORTEST_BASE64);
  return [base64(bytes), ...long].flatMap((text) => [
    text,
    text.replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, ''),
  ]);
}

/** Shorter pieces of base64 are found in other base64 by chance. */
const SHORTEST_BASE64 = 12;

function base64(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}

/** True for the names under which secrets travel: such a member is never shown, whatever it holds. */
export const isSecretName = (name: string): boolean =>
  /(?:^|[_-])(?:(?:api|access|session)?(?:key|token|secret|password)s?|passwd|authorization|cookie|credentials?)$/i.test(
    name.replaceAll(/([a-z0-9])([A-Z])/g, '$1_$2'),
  );
