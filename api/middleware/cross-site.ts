import type { IncomingHttpHeaders } from 'node:http';
import type { RequestHandler } from 'express';
import { HttpError } from '../http-error.js';
import { isPermittedOrigin } from './cors.js';

const SAFE_METHODS = new Set(['GET', 'HEAD', 'OPTIONS']);

export interface CrossSiteOptions {
  corsOrigins: readonly string[];
  /** The address under which browsers reach us, where it is known. */
  publicUrl: string | null;
}

/**
 * Where a request comes from: a page of ours or a permitted one, a page of somebody else, or nothing that says. Browsers
 * say it on every order and on every opening of a socket, and pages cannot make them lie; programs say nothing.
 */
export function provenance(
  headers: IncomingHttpHeaders,
  { corsOrigins, publicUrl }: CrossSiteOptions,
): 'own' | 'foreign' | 'unknown' {
  const { origin } = headers;
  if (headers['sec-fetch-site'] === 'same-origin') return 'own'; // said by the browser, not by the page
  if (origin === undefined) return 'unknown';
  if (isPermittedOrigin(origin, corsOrigins)) return 'own';
  if (publicUrl !== null && new URL(publicUrl).origin === origin) return 'own';
  return URL.canParse(origin) && new URL(origin).host === headers.host ? 'own' : 'foreign';
}

/**
 * Refuses orders that a web page of somebody else sends through the user's browser. CORS alone only keeps such a page
 * from reading the answer; a POST without a body, or with a simple one, would be carried out all the same.
 * Programs send no `Origin` and are not concerned.
 */
export function refuseCrossSite(options: CrossSiteOptions): RequestHandler {
  return (request, _response, next) => {
    if (!SAFE_METHODS.has(request.method) && provenance(request.headers, options) === 'foreign') {
      throw new HttpError(
        403,
        'Requests from this web page are not accepted: add its origin to OH_PERMITTED_CORS_ORIGINS_0.',
      );
    }
    next();
  };
}

/**
 * Orders that a session cookie alone gives authority: they must say that they come from a page of ours, since browsers
 * attach cookies to whatever a page makes them send.
 * @throws {HttpError} 403
 */
export function requireOwnPage(
  { method, headers }: { method: string; headers: IncomingHttpHeaders },
  options: CrossSiteOptions,
): void {
  if (SAFE_METHODS.has(method) || provenance(headers, options) === 'own') return;
  throw new HttpError(
    403,
    'Orders with a session cookie must come from a page of this server: send its origin as Origin header.',
  );
}
