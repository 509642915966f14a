/** What became of everything that a server had. */

export const TAKEN_KINDS = [
  'conversations',
  'events',
  'start tasks',
  'settings',
  'secrets',
  'provider tokens',
  'sandboxes',
  'callbacks',
  'messages',
  'other tables',
] as const;
export type TakenKind = (typeof TAKEN_KINDS)[number];

/** `there`: it was here before. `left`: it means nothing here, or must not be taken. `failed`: it could not be read. */
export const OUTCOMES = ['taken', 'there', 'left', 'failed'] as const;
export type Outcome = (typeof OUTCOMES)[number];

/** Things of a kind and reason that are named one by one. */
const NAMED = 5;

interface Reason {
  outcome: Outcome;
  kind: TakenKind;
  why: string;
  count: number;
  names: string[];
}

/** Counts, and keeps reasons; never what a thing holds. */
export class Ledger {
  readonly #counts = new Map<string, number>();
  readonly #reasons = new Map<string, Reason>();

  /** Notes what became of some things. */
  note(kind: TakenKind, outcome: Outcome, count = 1): void {
    if (count > 0) this.#counts.set(`${kind}/${outcome}`, this.count(kind, outcome) + count);
  }

  /** The same with the reason, and the thing's name for people. */
  because(kind: TakenKind, outcome: 'left' | 'failed', why: string, name?: string, count = 1): void {
    this.note(kind, outcome, count);
    this.remark(kind, outcome, why, name, count);
  }

  /** A reason for something that is counted elsewhere: part of what was taken could not be. */
  remark(kind: TakenKind, outcome: Outcome, why: string, name?: string, count = 1): void {
    if (count === 0) return;
    const key = `${kind}/${outcome}/${why}`;
    const reason = this.#reasons.get(key) ?? { outcome, kind, why, count: 0, names: [] };
    reason.count += count;
    if (name !== undefined && reason.names.length < NAMED) reason.names.push(name);
    this.#reasons.set(key, reason);
  }

  count(kind: TakenKind, outcome: Outcome): number {
    return this.#counts.get(`${kind}/${outcome}`) ?? 0;
  }

  /** How many things of all kinds. */
  total(outcome: Outcome): number {
    return TAKEN_KINDS.reduce((sum, kind) => sum + this.count(kind, outcome), 0);
  }

  /** A table of counts, and below it the reasons. */
  lines(): string[] {
    const width = Math.max(...TAKEN_KINDS.map((kind) => kind.length));
    const row = (first: string, cells: readonly string[]): string =>
      `  ${first.padEnd(width)}${cells.map((cell) => cell.padStart(8)).join('')}`;
    const kinds = TAKEN_KINDS.filter((kind) => OUTCOMES.some((outcome) => this.count(kind, outcome) > 0));
    const table = [
      row('', OUTCOMES),
      ...kinds.map((kind) =>
        row(
          kind,
          OUTCOMES.map((outcome) => String(this.count(kind, outcome))),
        ),
      ),
    ];
    const reasons = [...this.#reasons.values()].map(({ outcome, kind, why, count, names }) => {
      const others = count > names.length && names.length > 0 ? ', …' : '';
      const named = names.length > 0 ? ` (${names.join(', ')}${others})` : '';
      return `  ${outcome}: ${kind}, ${count}: ${why}${named}`;
    });
    return [...table, ...(reasons.length > 0 ? ['', ...reasons] : [])];
  }
}
