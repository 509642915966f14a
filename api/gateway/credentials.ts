/** Which keys a caller shows, and which of them counts (contract 15). */
import type { IncomingHttpHeaders } from 'node:http';
import { bearerOf } from '../../identity/bearer.js';

export interface ShownKey {
  key: string;
  from: 'query' | 'header' | 'bearer';
}

/**
 * The key that counts: a non-empty query parameter before `X-Session-API-Key` before `Authorization: Bearer`. An empty
 * one counts as absent. What is overridden is not looked at, so a right header does not save a wrong parameter.
 */
export function shownKey(headers: IncomingHttpHeaders, query: URLSearchParams): ShownKey | null {
  const parameter = query.get('session_api_key');
  if (parameter) return { key: parameter, from: 'query' };
  const header = [headers['x-session-api-key']].flat()[0];
  if (header) return { key: header, from: 'header' };
  const bearer = bearerOf(headers.authorization);
  return bearer === undefined ? null : { key: bearer, from: 'bearer' };
}

/** Longest first frame that is looked at as a proof of who speaks, in characters. */
const LONGEST_AUTH_FRAME = 8_192;

/**
 * The key in a frame `{"type":"auth","session_api_key":…}`, by which browsers authenticate without a key in the URL.
 * @returns undefined when the frame is something else; an empty text when it is such a frame without a usable key
 */
export function keyOfAuthFrame(data: Buffer, isBinary: boolean): string | undefined {
  if (isBinary || data.length > LONGEST_AUTH_FRAME) return undefined;
  const frame = jsonOf(data);
  if (typeof frame !== 'object' || frame === null || !('type' in frame) || frame.type !== 'auth') {
    return undefined;
  }
  return 'session_api_key' in frame && typeof frame.session_api_key === 'string' ? frame.session_api_key : '';
}

/** What a text frame says; undefined when it is no JSON. */
export function jsonOf(data: Buffer): unknown {
  try {
    return JSON.parse(data.toString('utf8'));
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
