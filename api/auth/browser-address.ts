/** Where browsers reach this server, and where they may be sent after signing in. */
import type { Request } from 'express';
import { isLoopback } from '../../identity/session-cookie.js';
import { HttpError } from '../http-error.js';

const LONGEST_ADDRESS = 2_000;

/**
 * The address under which a browser reached us, without trailing slash: the public one, else this machine. Any other
 * `Host` would be whatever the sender likes.
 * @throws {HttpError} 400
 */
export function browserAddress(request: Pick<Request, 'get'>, publicUrl: string | null): string {
  if (publicUrl !== null) return publicUrl;
  const host = request.get('Host') ?? '';
  const address = `http://${host}`;
  if (/^[\w.[\]:-]+$/.test(host) && URL.canParse(address) && isLoopback(new URL(address).hostname)) {
    return new URL(address).origin;
  }
  throw new HttpError(
    400,
    'Signing in needs the address under which browsers reach this server: set OH_WEB_URL.',
  );
}

/**
 * An absolute address to send a browser to: one of this server's, or of a page that is configured to call it. Anything
 * else would make this server vouch for a stranger's page, so it becomes our own first page.
 */
export function safeReturn(
  wanted: string | undefined,
  baseUrl: string,
  configuredOrigins: readonly string[],
): string {
  const home = `${baseUrl}/`;
  if (!wanted || wanted.length > LONGEST_ADDRESS || hasTrickery(wanted)) return home;
  if (!URL.canParse(wanted, home)) return home;
  const url = new URL(wanted, home);
  const permitted = url.origin === new URL(home).origin || configuredOrigins.includes(url.origin);
  const plain = /^https?:$/.test(url.protocol) && url.username === '' && url.password === '';
  return permitted && plain ? url.href : home;
}

/** Backslashes, blanks, control characters: what browsers read otherwise than the parsers before them. */
const hasTrickery = (text: string): boolean => /[^!-[\]-~]/.test(text);
