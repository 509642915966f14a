/**
 * An error whose message is written for the person at the terminal: one sentence that says what is
 * wrong and what to do. `main.ts` prints it without a stack and exits with status 1.
 */
export class UserError extends Error {
  override readonly name = 'UserError';
}

/** The message of anything that was thrown. */
export function messageOf(err: unknown): string {
  return err instanceof Error ? err.message : String(err);
}

/** Whether `err` is a system error with this code (`ENOENT`, `EADDRINUSE`, …). */
export function hasCode(err: unknown, code: string): boolean {
  return err instanceof Error && 'code' in err && err.code === code;
}
