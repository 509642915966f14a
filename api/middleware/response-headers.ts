import type { RequestHandler } from 'express';
import helmet from 'helmet';

/** Answers may not be kept (contract 1.6); the files of a web client say for themselves how long they may. */
export const cacheHeaders: RequestHandler = (_request, response, next) => {
  response.setHeader('Cache-Control', 'no-cache, no-store, must-revalidate, max-age=0');
  response.setHeader('Pragma', 'no-cache');
  response.setHeader('Expires', '0');
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
