/** The Express application: middleware in its order, the routes, and the answers to what is not there. */
import express, { type Express, type RequestHandler } from 'express';
import type { Logger } from 'pino';
import type { Config } from '../config/config.js';
import type { AuthStrategy } from '../identity/auth-strategy.js';
import { rememberOrigin } from './gateway/client-addresses.js';
import { docsPage, docsSecurityPolicy } from './docs-page.js';
import { errorHandler, sendJson } from './errors.js';
import { corsHeaders } from './middleware/cors.js';
import { refuseCrossSite } from './middleware/cross-site.js';
import { inTurn } from './middleware/in-turn.js';
import { refuseForeignHost } from './middleware/own-host.js';
import { requestLog } from './middleware/request-log.js';
import { responseHeaders } from './middleware/response-headers.js';
import { openApiDocument, type OpenApiDocument } from './openapi.js';
import { registerRoutes } from './register-routes.js';
import { createRateLimits } from './rate-limits.js';
import type { RouteDefinition } from './route.js';
import type { WrongKeys } from './wrong-keys.js';

export interface AppDeps {
  routes: readonly RouteDefinition[];
  auth: AuthStrategy;
  logger: Logger;
  server: Pick<Config['server'], 'corsOrigins' | 'instanceKey' | 'publicUrl' | 'bodyLimitBytes'> &
    Partial<Pick<Config['server'], 'host' | 'internalUrl'>>;
  /** How often callers may give orders; absent: as often as they like. */
  limits?: Config['limits'];
  /** Counts wrong keys, here and at sockets; absent: as many as they like. */
  wrongKeys?: WrongKeys;
  /** Serves what agent-servers serve; asked after the server's own routes. */
  gateway?: RequestHandler | null;
  /** Serves the files and pages of a web client; asked last. */
  frontend?: RequestHandler | null;
  /** Told of each request that is more than a look at the server's health. */
  onActivity?: () => void;
}

/** Composes the application; it listens nowhere yet. */
export function createApp({
  routes,
  auth,
  logger,
  server,
  limits,
  wrongKeys,
  gateway,
  frontend,
  onActivity,
}: AppDeps): { app: Express } {
  // Made when it is first asked for: it takes longer than the rest of this function.
  let openApi: OpenApiDocument | null = null;
  const app = express();
  app.disable('x-powered-by');
  app.disable('etag'); // routes that are polled make their own; nothing else is kept, so there is nothing to compare
  app.set('case sensitive routing', true);
  app.set('strict routing', true);
  app.set('trust proxy', 'loopback, linklocal, uniquelocal');
  app.set('query parser', false); // routes read the raw query by their schemas

  app.use(
    inTurn(
      requestLog(logger),
      // Nobody asks where the public address is known; keeping it makes every promise dearer.
      ...(server.publicUrl === null ? [rememberOrigin] : []),
      responseHeaders,
      corsHeaders(server.corsOrigins),
      refuseForeignHost(server),
      refuseCrossSite(server),
      ...(onActivity ? [activity(onActivity)] : []),
    ),
  );
  if (gateway) app.use('/api/conversations', forSandboxKeys(gateway));
  app.use(
    registerRoutes(routes, {
      auth,
      ...server,
      ...(limits ? { limits: createRateLimits(limits) } : {}),
      ...(wrongKeys ? { wrongKeys } : {}),
    }),
  );
  app.get('/openapi.json', (_request, response) =>
    sendJson(response, 200, (openApi ??= openApiDocument(routes))),
  );
  app.get('/docs', (_request, response) => {
    response.setHeader('Content-Security-Policy', docsSecurityPolicy);
    response.type('html').send(docsPage(routes));
  });
  if (gateway) app.use(gateway);
  if (frontend) app.use(frontend);
  app.use(redirectTrailingSlash);
  app.use((_request, response) => sendJson(response, 404, { detail: 'Not Found' }));
  app.use(errorHandler(logger));
  return { app };
}

/**
 * Agent-servers and older clients of ours have routes of the same names below `/api/conversations`: who shows the key of a
 * sandbox means those of its agent-server.
 */
const forSandboxKeys =
  (gateway: RequestHandler): RequestHandler =>
  (request, response, next) =>
    request.headers['x-session-api-key'] === undefined ? next() : gateway(request, response, next);

const HEALTH = /^\/(alive|health|ready|server_info)$/;

const activity =
  (onActivity: () => void): RequestHandler =>
  (request, _response, next) => {
    if (!HEALTH.test(request.path)) onActivity();
    next();
  };

/** To the same place without the slash, query kept (contract 1.1); a client repeats method and body. */
const redirectTrailingSlash: RequestHandler = (request, response, next) => {
  const [path = '', ...query] = request.originalUrl.split('?');
  const shorter = path.replace(/\/+$/, '');
  if (shorter === path || shorter === '') {
    next();
    return;
  }
  const host = request.get('Host') ?? '';
  // Without a host that can stand in an address there is no absolute one to give.
  const origin = /^[\w.[\]:-]+$/.test(host) ? `${request.protocol}://${host}` : '';
  response.setHeader('Location', `${origin}/${[shorter.replace(/^\/+/, ''), ...query].join('?')}`);
  response.status(307).end();
};
