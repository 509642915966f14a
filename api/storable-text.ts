import { HttpError } from './http-error.js';

/**
 * Readies a body for storing: halves of surrogate pairs, which are no text, become replacement characters.
 * @throws {HttpError} 400 for NUL characters, which PostgreSQL cannot store
 */
export function storable<Value>(value: Value): Value {
  return walk(value) as Value;
}

function walk(value: unknown): unknown {
  if (typeof value === 'string') {
    if (value.includes('\0')) {
      throw new HttpError(400, 'The request contains a NUL character, which cannot be stored: remove it.');
    }
    return Buffer.from(value).toString();
  }
  if (Array.isArray(value)) return value.map(walk);
  if (typeof value !== 'object' || value === null || value instanceof Date) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, member]) => [walk(name), walk(member)] as [string, unknown]),
  );
}
