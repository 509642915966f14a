import { MASK, type Secret, spellingsOf } from './masking.js';

/** How many values a {@link SecretMasker} remembers; the one used longest ago goes first. */
const MOST_REMEMBERED = 1_000;

/** With no more spellings than this, looking for each one is quicker than looking at each character. */
const FEW = 16;

/** Characters by which a spelling is found; all spellings are longer. */
const START = 4;

/**
 * Remembers secrets and takes them out of texts. What it costs does not grow with their number: a text is gone through
 * once, a few nanoseconds a character.
 */
export class SecretMasker {
  /** By secret, the one used longest ago first. */
  readonly #spellings = new Map<string, string[]>();
  /** By their first characters, longest first. */
  readonly #byStart = new Map<string, string[]>();
  /** How many spellings begin with characters of this hash: most places of a text are passed by it alone. */
  #hashes: Uint16Array | null = null;
  #count = 0;

  constructor(secrets: Iterable<string | Secret | null | undefined> = []) {
    for (const secret of secrets) this.add(secret);
  }

  /** From now on this value is masked; nothing happens for one that is null, or shorter than six characters. */
  add(secret: string | Secret | null | undefined): void {
    if (secret === null || secret === undefined) return;
    const value = typeof secret === 'string' ? secret : secret.reveal();
    const known = this.#spellings.get(value);
    if (known) {
      this.#spellings.delete(value);
      this.#spellings.set(value, known); // now the one used last
      return;
    }
    const spellings = spellingsOf(value);
    if (spellings.length === 0) return;
    this.#spellings.set(value, spellings);
    for (const spelling of spellings) this.#insert(spelling);
    const [oldest] = this.#spellings.keys();
    if (this.#spellings.size > MOST_REMEMBERED && oldest !== undefined) this.#forget(oldest);
  }

  /** Whether a remembered secret is in the text. */
  finds(text: string): boolean {
    return this.#next(text, 0) !== null;
  }

  /** The text without any remembered secret. */
  mask(text: string): string {
    let masked = '';
    let from = 0;
    for (let hit = this.#next(text, 0); hit; hit = this.#next(text, from)) {
      masked += text.slice(from, hit.at) + MASK;
      from = hit.at + hit.spelling.length;
    }
    return from === 0 ? text : masked + text.slice(from);
  }

  /** The first secret at or after a place, the longest of those that begin there. */
  #next(text: string, from: number): { at: number; spelling: string } | null {
    return this.#count <= FEW ? this.#nextOfFew(text, from) : this.#nextOfMany(text, from);
  }

  #nextOfFew(text: string, from: number): { at: number; spelling: string } | null {
    let first: { at: number; spelling: string } | null = null;
    for (const sameStart of this.#byStart.values()) {
      for (const spelling of sameStart) {
        const at = text.indexOf(spelling, from);
        if (at < 0) continue;
        const sooner =
          !first || at < first.at || (at === first.at && spelling.length > first.spelling.length);
        if (sooner) first = { at, spelling };
      }
    }
    return first;
  }

  #nextOfMany(text: string, from: number): { at: number; spelling: string } | null {
    const hashes = (this.#hashes ??= this.#allHashes());
    for (let at = from, last = text.length - START; at <= last; at++) {
      if (hashes[hashAt(text, at)] === 0) continue;
      const spelling = this.#byStart
        .get(text.slice(at, at + START))
        ?.find((candidate) => text.startsWith(candidate, at));
      if (spelling !== undefined) return { at, spelling };
    }
    return null;
  }

  #insert(spelling: string): void {
    this.#count++;
    count(this.#hashes, spelling, 1);
    const start = spelling.slice(0, START);
    const others = this.#byStart.get(start) ?? [];
    this.#byStart.set(
      start,
      [...others, spelling].sort((a, b) => b.length - a.length),
    );
  }

  #forget(secret: string): void {
    for (const spelling of this.#spellings.get(secret) ?? []) {
      this.#count--;
      count(this.#hashes, spelling, -1);
      const start = spelling.slice(0, START);
      const others = this.#byStart.get(start) ?? [];
      const left = others.toSpliced(others.indexOf(spelling), 1);
      if (left.length === 0) this.#byStart.delete(start);
      else this.#byStart.set(start, left);
    }
    this.#spellings.delete(secret);
  }

  #allHashes(): Uint16Array {
    const hashes = new Uint16Array(65_536);
    for (const spellings of this.#byStart.values()) for (const text of spellings) count(hashes, text, 1);
    return hashes;
  }
}

function count(hashes: Uint16Array | null, spelling: string, change: 1 | -1): void {
  if (!hashes) return;
  const hash = hashAt(spelling, 0);
  hashes[hash] = (hashes[hash] ?? 0) + change;
}

const hashAt = (text: string, at: number): number =>
  (text.charCodeAt(at) * 7919 +
    text.charCodeAt(at + 1) * 911 +
    text.charCodeAt(at + 2) * 31 +
    text.charCodeAt(at + 3)) &
  0xffff;
