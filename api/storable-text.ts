import { z } from 'zod';
import { HttpError } from './http-error.js';

/** A text of a query or path. PostgreSQL has no NUL character, so nothing can be found by one. */
export const QueryText = z.string().refine((text) => !text.includes('\0'), {
  error: 'Input should not contain NUL characters',
  params: { type: 'value_error' },
});

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
