/** Listening, and stopping to. */
import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http';
import { Socket, type AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { messagesOf, type Application, type Messages } from './express-messages.js';

export interface RunningServer {
  server: Server;
  /** Where it listens, with the port it really got. */
  url: string;
  port: number;
  /**
   * Takes no further requests, waits for those under way, and cuts what is left after `graceMs`.
   * Streams have to be ended by their owners first.
   */
  close(graceMs?: number): Promise<void>;
}

/** Takes a WebSocket handshake. */
export type UpgradeHandler = (request: IncomingMessage, socket: Duplex, head: Buffer) => void;

/**
 * Listens on an address; port 0 takes a free one. Whoever takes upgrades has to end their sockets before `close`.
 * @throws the system error (`EADDRINUSE`, `EACCES`, …) when it cannot
 */
export async function startServer(
  app: Application,
  { host, port }: { host: string; port: number },
  onUpgrade?: UpgradeHandler,
): Promise<RunningServer> {
  const messages = messagesOf(app);
  const server = createServer(messages, app);
  // Longer than the idle times of common proxies, which would otherwise meet a connection that just closed.
  server.keepAliveTimeout = 75_000;
  if (onUpgrade) {
    server.on('upgrade', (request, socket, head) => {
      if (request.headers.upgrade?.toLowerCase() === 'websocket') onUpgrade(request, socket, head);
      else if (socket instanceof Socket) answerPlainly(app, messages, request, socket);
      else socket.destroy();
    });
  }
  // While it closes, a connection that has got its answer is not kept for another request.
  server.on('request', (_request, response) => {
    response.once('close', () => {
      if (!server.listening) setImmediate(() => server.closeIdleConnections());
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.off('error', reject);
      resolve();
    });
  });
  const bound = (server.address() as AddressInfo).port;
  return {
    server,
    port: bound,
    url: `http://${host.includes(':') ? `[${host}]` : host}:${bound}`,
    close: (graceMs = 10_000) => close(server, graceMs),
  };
}

/**
 * Some HTTP clients offer to go on in HTTP/2 with every first request; such an offer is ignored. Its body, if any, is
 * no longer read as one by Node, so that a request with a body has to come without the offer.
 */
function answerPlainly(
  app: RequestListener,
  { ServerResponse }: Messages,
  request: IncomingMessage,
  socket: Socket,
): void {
  socket.on('error', () => socket.destroy());
  const response = new ServerResponse(request);
  response.shouldKeepAlive = false;
  response.assignSocket(socket);
  response.once('finish', () => socket.end());
  const { headers } = request;
  if (headers['transfer-encoding'] === undefined && Number(headers['content-length'] ?? 0) === 0) {
    app(request, response);
    return;
  }
  response.writeHead(400, { 'Content-Type': 'application/json' });
  response.end(JSON.stringify({ detail: 'Send this request without the header Upgrade.' }));
}

async function close(server: Server, graceMs: number): Promise<void> {
  const cut = setTimeout(() => server.closeAllConnections(), graceMs);
  try {
    await new Promise<void>((resolve, reject) => {
      server.close((error) => {
        const wasClosed = error && 'code' in error && error.code === 'ERR_SERVER_NOT_RUNNING';
        if (error && !wasClosed) reject(error);
        else resolve();
      });
      server.closeIdleConnections();
    });
  } finally {
    clearTimeout(cut);
  }
}
