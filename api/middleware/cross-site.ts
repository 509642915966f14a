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
 * Refuses orders that a web page of somebody else sends through the user's browser. CORS alone only keeps such a page
 * from reading the answer; a POST without a body, or with a simple one, would be carried out all the same.
 * Programs send no `Origin` and are not concerned.
 */
export function refuseCrossSite(options: CrossSiteOptions): RequestHandler {
  return (request, _response, next) => {
    if (!SAFE_METHODS.has(request.method) && isForeignOrigin(request.headers, options)) {
      throw new HttpError(
        403,
        'Requests from this web page are not accepted: add its origin to OH_PERMITTED_CORS_ORIGINS_0.',
      );
    }
    next();
  };
}

/** Whether a request comes from a web page that is neither this server's own nor a permitted one. */
export function isForeignOrigin(
  headers: IncomingHttpHeaders,
  { corsOrigins, publicUrl }: CrossSiteOptions,
): boolean {
  const { origin } = headers;
  if (origin === undefined || isPermittedOrigin(origin, corsOrigins)) return false;
  if (headers['sec-fetch-site'] === 'same-origin') return false; // said by the browser, not by the page
  if (publicUrl !== null && new URL(publicUrl).origin === origin) return false;
  return !URL.canParse(origin) || new URL(origin).host !== headers.host;
}
