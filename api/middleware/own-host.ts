import { isIP } from 'node:net';
import type { RequestHandler } from 'express';
import { isLoopback } from '../../identity/session-cookie.js';
import { HttpError } from '../http-error.js';

export interface OwnHostOptions {
  /** Address that the server listens on; absent: that of no machine in particular. */
  host?: string;
  /** Addresses under which the server was told to be reached, and pages that may call it. */
  publicUrl: string | null;
  internalUrl?: string | null;
  corsOrigins: readonly string[];
}

/**
 * A server that listens on this machine alone answers under names of this machine alone. A web page of somebody else
 * could otherwise have its own name lead here (DNS rebinding), and would be a page of ours for the browser.
 */
export function refuseForeignHost(options: OwnHostOptions): RequestHandler {
  const { host = '', publicUrl, internalUrl = null, corsOrigins } = options;
  if (!isLoopback(host === '::1' ? '[::1]' : host)) return (_request, _response, next) => next();
  const known = new Set(
    [publicUrl, internalUrl, ...corsOrigins]
      .filter((address): address is string => address !== null && URL.canParse(address))
      .map((address) => new URL(address).hostname),
  );
  let accepted: string | undefined; // callers hardly ever change the name by which they call
  return (request, _response, next) => {
    const header = request.headers.host;
    if (header !== undefined && header === accepted) {
      next();
      return;
    }
    const name = nameOf(header);
    if (
      name === null ||
      isLoopback(name) ||
      isIP(name.replace(/^\[(.*)\]$/, '$1')) !== 0 ||
      known.has(name)
    ) {
      accepted = header;
      next();
      return;
    }
    throw new HttpError(
      403,
      'This server listens on this machine alone and does not know the name by which it was called: if it is the one of a proxy of yours, set OH_WEB_URL to its address.',
    );
  };
}

/** The host without its port, in small letters; null where none was sent (HTTP/1.0), which browsers always do. */
function nameOf(header: string | undefined): string | null {
  if (header === undefined || header === '') return null;
  const address = `http://${header}`;
  return URL.canParse(address) ? new URL(address).hostname : header;
}
