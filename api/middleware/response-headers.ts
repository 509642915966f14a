import type { RequestHandler } from 'express';
import helmet from 'helmet';

/** How answers may be kept (contract 1.6): not at all, files of a build under `/assets` for 30 days. */
export const cacheHeaders: RequestHandler = (request, response, next) => {
  if (request.path.startsWith('/assets/')) {
    response.setHeader('Cache-Control', 'public, max-age=2592000, immutable');
  } else {
    response.setHeader('Cache-Control', 'no-cache, no-store, must-revalidate, max-age=0');
    response.setHeader('Pragma', 'no-cache');
    response.setHeader('Expires', '0');
  }
  next();
};

/** Answers are data, not pages: nothing in them may be run, framed or guessed at by a browser. */
export const securityHeaders: RequestHandler = helmet({
  contentSecurityPolicy: {
    useDefaults: false,
    directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"], baseUri: ["'none'"] },
  },
  // Pages of permitted origins read answers across origins; CORS says which.
  crossOriginResourcePolicy: { policy: 'cross-origin' },
  // Whether this host is reached by TLS alone is for the proxy to say.
  strictTransportSecurity: false,
});
