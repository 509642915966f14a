/** What `callboard doctor` has to say. */

export interface Finding {
  /** `problem` needs somebody to act; `note` is worth knowing. */
  level: 'ok' | 'note' | 'problem';
  /** What was looked at, in a word or two. */
  about: string;
  /** One line. */
  text: string;
  /** What to do about it. */
  todo?: string;
  /** Whether it was put right. */
  repaired?: boolean;
}

export type Report = (finding: Finding) => void;

/** How many of many are named. */
const NAMED = 3;

/** The first of several names, and how many more there are. */
export function someOf(names: readonly string[]): string {
  const rest = names.length - NAMED;
  return `${names.slice(0, NAMED).join(', ')}${rest > 0 ? ` and ${rest} more` : ''}`;
}
