/** Servers of the tests: on this machine only, on a port that is free, and gone at once when told. */
import { once } from 'node:events';
import { Server as HttpServer } from 'node:http';
import { createServer, type Server } from 'node:net';

/**
 * Listens on a free port, or the given one.
 * @returns that port
 */
export async function listen(server: Server, port = 0): Promise<number> {
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  return portOf(server);
}

/** The port of a server that listens. */
export function portOf(server: Server): number {
  const address = server.address();
  if (address === null || typeof address === 'string')
    throw new Error('the server does not listen on a port');
  return address.port;
}

/** An HTTP server's address, without a slash at the end. */
export const originOf = (server: Server): string => `http://127.0.0.1:${portOf(server)}`;

/** Ends a server; requests that an HTTP server is still busy with are cut off. */
export async function stop(server: Server): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  if (server instanceof HttpServer) server.closeAllConnections();
  await closed;
}

/** A port nobody listens on right now. */
export async function freePort(): Promise<number> {
  const server = createServer();
  const port = await listen(server);
  await stop(server);
  return port;
}
