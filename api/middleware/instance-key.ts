import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import type { Secret } from '../../contract/masking.js';
import { HttpError } from '../http-error.js';
import { bearerOf } from '../../identity/bearer.js';

/** Compares without telling by its duration how much of the key was right. */
export function isSameKey(given: string, expected: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(given), digest(expected));
}

/**
 * Guard K (contract 1.7): where the instance has a key, callers show it as `X-Session-API-Key`, or as bearer token where
 * that header carries the key of a sandbox.
 * @throws {HttpError} 401
 */
export function requireInstanceKey(headers: IncomingHttpHeaders, key: Secret | null): void {
  if (key !== null && !showsInstanceKey(headers, key)) throw new HttpError(401, 'Unauthorized');
}

/** Whether the headers carry the key of the instance, in either of its places. */
export function showsInstanceKey(headers: IncomingHttpHeaders, key: Secret): boolean {
  const expected = key.reveal();
  const shown = [headers['x-session-api-key'], bearerOf(headers.authorization)].flat();
  return shown.some((given) => given !== undefined && isSameKey(given, expected));
}
