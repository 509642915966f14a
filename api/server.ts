/** Listening, and stopping to. */
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

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

/**
 * Listens on an address; port 0 takes a free one.
 * @throws the system error (`EADDRINUSE`, `EACCES`, …) when it cannot
 */
export async function startServer(
  app: RequestListener,
  { host, port }: { host: string; port: number },
): Promise<RunningServer> {
  const server = createServer(app);
  // Longer than the idle times of common proxies, which would otherwise meet a connection that just closed.
  server.keepAliveTimeout = 75_000;
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
