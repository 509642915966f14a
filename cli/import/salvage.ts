import type { z } from 'zod';
import { isObject } from '../../contract/settings-secrets.js';

/**
 * Reads as much of an object as a schema takes: members that it refuses are left out whole.
 * @returns the value and the names of what was left out; null when nothing of it can be read
 */
export function salvage<Value>(
  schema: z.ZodType<Value>,
  given: unknown,
): { value: Value; dropped: string[] } | null {
  if (!isObject(given)) return null;
  const rest = { ...given };
  const dropped: string[] = [];
  for (;;) {
    const { data, error } = schema.safeParse(rest);
    if (!error) return { value: data, dropped };
    const name = error.issues
      .map(({ path }) => String(path[0]))
      .find((member) => Object.hasOwn(rest, member));
    if (name === undefined) return null;
    dropped.push(name);
    Reflect.deleteProperty(rest, name);
  }
}
