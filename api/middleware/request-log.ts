import type { RequestHandler } from 'express';
import type { Logger } from 'pino';

/** Asked by machines every few seconds, or sent in great number: worth a line only when they fail. */
const QUIET = /^\/(alive|health|ready|server_info)$|^\/(assets|api\/v1\/webhooks)\//;

/** Requests of a process are numbered; the numbers begin anew here. */
const MOST_NUMBERS = 2 ** 31;

/**
 * One line per request: method, path, status, duration. No query and no header, which is where keys travel. The line is
 * made when the answer has gone out, or the connection is lost, and only then: a request that is not logged costs nothing.
 */
export function requestLog(logger: Logger): RequestHandler {
  let requests = 0;
  return (request, response, next) => {
    const reqId = (requests = (requests + 1) % MOST_NUMBERS);
    const began = Date.now();
    let failure: Error | null = null;
    response.once('error', (error: Error) => (failure = error));
    response.once('close', () => {
      const path = request.originalUrl.split('?', 1)[0] ?? '';
      const failed = failure !== null || response.statusCode >= 500;
      const level = failed ? 'warn' : QUIET.test(path) ? 'debug' : 'info';
      if (!logger.isLevelEnabled(level)) return;
      const fields = {
        reqId,
        req: { method: request.method, path },
        res: { status: response.statusCode },
        responseTime: Date.now() - began,
        ...(failure === null ? {} : { err: failure }),
      };
      logger[level](fields, failed ? 'request failed' : 'request served');
    });
    next();
  };
}
