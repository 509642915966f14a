import type { IncomingMessage, ServerResponse } from 'node:http';
import type { RequestHandler } from 'express';
import type { Logger } from 'pino';
import { pinoHttp } from 'pino-http';

/** Asked by machines every few seconds, or sent in great number: worth a line only when they fail. */
const QUIET = /^\/(alive|health|ready|server_info)$|^\/(assets|api\/v1\/webhooks)\//;

const pathOf = (request: IncomingMessage): string => (request.url ?? '').split('?', 1)[0] ?? '';
/** Routers shorten `url` while they work; this one stays. */
const originalPath = (request: IncomingMessage & { originalUrl?: string }): string =>
  (request.originalUrl ?? request.url ?? '').split('?', 1)[0] ?? '';

/** One line per request: method, path, status, duration. No query and no header, which is where keys travel. */
export const requestLog = (logger: Logger): RequestHandler =>
  pinoHttp({
    logger,
    quietReqLogger: true,
    serializers: {
      req: (request: { raw?: IncomingMessage; method?: string }) => ({
        method: request.method,
        path: request.raw ? originalPath(request.raw) : undefined,
      }),
      res: (response: { statusCode?: number }) => ({ status: response.statusCode }),
    },
    customLogLevel(request: IncomingMessage, response: ServerResponse, error?: Error) {
      if (error || response.statusCode >= 500) return 'warn';
      return QUIET.test(pathOf(request)) ? 'debug' : 'info';
    },
    customSuccessMessage: () => 'request served',
    customErrorMessage: () => 'request failed',
  });
