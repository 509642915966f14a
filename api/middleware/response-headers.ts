/** What stands at the head of every answer. */
import { IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import type { RequestHandler } from 'express';
import helmet from 'helmet';

/** Answers may not be kept (contract 1.6); the files of a web client say for themselves how long they may. */
const CACHING: readonly [string, string][] = [
  ['Cache-Control', 'no-cache, no-store, must-revalidate, max-age=0'],
  ['Pragma', 'no-cache'],
  ['Expires', '0'],
];

/** Answers are data, not pages: nothing in them may be run, framed or guessed at by a browser. */
const security = helmet({
  contentSecurityPolicy: {
    useDefaults: false,
    directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"], baseUri: ["'none'"] },
  },
  // Pages of permitted origins read answers across origins; CORS says which.
  crossOriginResourcePolicy: { policy: 'cross-origin' },
  // Whether this host is reached by TLS alone is for the proxy to say.
  strictTransportSecurity: false,
});

/** Notes what is set on it. */
class NotedResponse extends ServerResponse {
  readonly headers: [string, string][] = [];

  override setHeader(name: string, value: number | string | readonly string[]): this {
    this.headers.push([name, String(value)]);
    return this;
  }
}

/** The headers that a middleware sets whatever is asked. */
function headersBy(middleware: typeof security): readonly [string, string][] {
  const request = new IncomingMessage(new Socket());
  const response = new NotedResponse(request);
  middleware(request, response, (error) => {
    if (error !== undefined) throw new Error('the headers of answers cannot be made', { cause: error });
  });
  return response.headers;
}

const ON_EVERY_ANSWER = [...headersBy(security), ...CACHING];

/** Sets what is the same on every answer, and was therefore found out once. */
export const responseHeaders: RequestHandler = (_request, response, next) => {
  for (const [name, value] of ON_EVERY_ANSWER) response.setHeader(name, value);
  next();
};
