/** The HTTP part: a table of routes, the session key, bodies, and the errors of the real server. */
import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';

export interface Call {
  /** Groups of the route's pattern. */
  path: string[];
  query: URLSearchParams;
  /** JSON of the body; undefined where there is none, or where it is no JSON. */
  body: unknown;
  /** The body as it came, with its content type: for uploads. */
  raw: Buffer;
  contentType: string;
}

export interface Answer {
  status: number;
  /** Sent as JSON; bytes are sent as they are. */
  body: unknown;
}

export interface LightRoute {
  method: string;
  pattern: RegExp;
  /** Answered without a key. */
  open?: boolean;
  handle(call: Call): Answer | Promise<Answer>;
}

export const ok = (body: unknown, status = 200): Answer => ({ status, body });
export const refused = (status: number, detail: string): Answer => ({ status, body: { detail } });
export const success = ok({ success: true });

/** @param keys accepted as `X-Session-API-Key`; none: everybody is let in */
export function createHttpServer(routes: readonly LightRoute[], keys: readonly string[]): Server {
  return createServer((request, response) => {
    answerOf(routes, keys, request)
      .catch((error: unknown) => ({
        status: 500,
        body: {
          detail: 'Internal Server Error',
          exception: error instanceof Error ? error.message : String(error),
          error_id: randomUUID(),
        },
      }))
      .then((answer) => send(response, answer))
      .catch((error: unknown) => response.destroy(error instanceof Error ? error : undefined));
  });
}

async function answerOf(
  routes: readonly LightRoute[],
  keys: readonly string[],
  request: IncomingMessage,
): Promise<Answer> {
  const url = new URL(request.url ?? '/', 'http://light');
  const raw = await bytesOf(request);
  for (const route of routes) {
    const match = route.method === request.method ? route.pattern.exec(url.pathname) : null;
    if (!match) continue;
    const key = request.headers['x-session-api-key'];
    if (!route.open && keys.length > 0 && !keys.includes(String(key))) return refused(401, 'Unauthorized');
    const contentType = request.headers['content-type'] ?? '';
    const body = contentType.startsWith('application/json') ? parsed(raw) : undefined;
    const path = match.slice(1).map(decodeURIComponent);
    return route.handle({ path, query: url.searchParams, body, raw, contentType });
  }
  return refused(404, 'Not Found');
}

function send(response: ServerResponse, { status, body }: Answer): void {
  const bytes = Buffer.isBuffer(body) ? body : Buffer.from(JSON.stringify(body ?? null));
  const type = Buffer.isBuffer(body) ? 'application/octet-stream' : 'application/json';
  response.writeHead(status, { 'content-type': type, 'content-length': bytes.length }).end(bytes);
}

async function bytesOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

function parsed(raw: Buffer): unknown {
  if (raw.length === 0) return undefined;
  try {
    return JSON.parse(raw.toString('utf8'));
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
