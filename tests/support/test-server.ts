/** The application under test on a free port, with routes of the test's choosing. */
import { pino, type Logger } from 'pino';
import { createApp, type AppDeps } from '../../api/app.js';
import { startServer } from '../../api/server.js';
import type { RouteDefinition } from '../../api/route.js';
import { NO_TOKENS, type AuthStrategy } from '../../identity/auth-strategy.js';

export interface TestServer {
  url: string;
  /** Lines of the server's log, parsed. */
  log: Record<string, unknown>[];
  fetch(path: string, init?: RequestInit): Promise<Response>;
  /** Sends JSON unless the body is a text already. */
  send(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Response>;
  close(): Promise<void>;
}

const EVERYBODY: AuthStrategy = {
  authenticate: () => Promise.resolve({ userId: null, authType: 'none', tokens: NO_TOKENS }),
};

/** Starts the application; `close` stops it. */
export async function startTestServer(
  routes: readonly RouteDefinition[],
  deps: {
    auth?: AuthStrategy;
    server?: Partial<AppDeps['server']>;
    onActivity?: () => void;
    frontend?: AppDeps['frontend'];
  } = {},
): Promise<TestServer> {
  const log: Record<string, unknown>[] = [];
  const logger: Logger = pino(
    { level: 'debug' },
    { write: (line: string) => void log.push(JSON.parse(line) as Record<string, unknown>) },
  );
  const { app } = createApp({
    routes,
    auth: deps.auth ?? EVERYBODY,
    logger,
    server: { corsOrigins: [], instanceKey: null, publicUrl: null, bodyLimitBytes: 100_000, ...deps.server },
    ...(deps.onActivity ? { onActivity: deps.onActivity } : {}),
    frontend: deps.frontend ?? null,
  });
  const running = await startServer(app, { host: '127.0.0.1', port: 0 });
  return {
    url: running.url,
    log,
    fetch: (path, init) => fetch(`${running.url}${path}`, { redirect: 'manual', ...init }),
    send: (method, path, body, headers = {}) =>
      fetch(`${running.url}${path}`, {
        method,
        redirect: 'manual',
        headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
        ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
      }),
    close: () => running.close(1_000),
  };
}
