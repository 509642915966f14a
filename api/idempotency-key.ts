import type { Request } from 'express';
import { HttpError } from './http-error.js';

/** The most characters an `Idempotency-Key` may have. */
const LONGEST_KEY = 255;

/**
 * The `Idempotency-Key` of a request; null when it has none.
 * @throws {HttpError} 400 for one that is too long
 */
export function readIdempotencyKey(request: Pick<Request, 'header'>): string | null {
  const key = request.header('Idempotency-Key')?.trim() ?? '';
  if (key.length > LONGEST_KEY) {
    throw new HttpError(400, `Idempotency-Key has at most ${LONGEST_KEY} characters.`);
  }
  return key === '' ? null : key;
}
