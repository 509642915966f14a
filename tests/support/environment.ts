/** A variable that the global set-up provides; a test without it fails instead of skipping. */
export function required(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set: run the tests with ./callboard test`);
  return value;
}
