/** What must never be. */
export const VIOLATION_CLASSES = ['lost', 'doubled', 'orphaned', 'stuck', 'wrong answer'] as const;
export type ViolationClass = (typeof VIOLATION_CLASSES)[number];

export interface Violation {
  is: ViolationClass;
  /** One line with ids. */
  what: string;
}
