import { createServer } from 'node:net';
import { hasCode } from '../user-error.js';

const FIRST_PORT = 28_000;
const LAST_PORT = 29_999;

/** Whether a TCP port of this address can be listened on now. Throws for anything but "in use". */
export async function isPortFree(port: number, host = '127.0.0.1'): Promise<boolean> {
  try {
    await listenOnce(port, host);
    return true;
  } catch (err) {
    if (hasCode(err, 'EADDRINUSE')) return false;
    throw err;
  }
}

/**
 * The first free port among the wished ones (0 and undefined are no wish), else any from 28000–29999: below the range from which
 * the kernel takes ports for outgoing connections, so that it can be remembered and used again, and above those of sandboxes.
 */
export async function pickPort(wished: readonly (number | undefined)[] = []): Promise<number> {
  for (const port of wished) if (port && (await isPortFree(port))) return port;
  for (let attempt = 0; attempt < 50; attempt++) {
    const port = FIRST_PORT + Math.floor(Math.random() * (LAST_PORT - FIRST_PORT + 1));
    if (await isPortFree(port)) return port;
  }
  return listenOnce(0, '127.0.0.1');
}

function listenOnce(port: number, host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen({ port, host, exclusive: true }, () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address ? address.port : port));
    });
  });
}
