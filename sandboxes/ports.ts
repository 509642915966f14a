/** Whether a TCP port can be had on this host. A lease table decides who may ask; this looks at the machine. */
import { createServer } from 'node:net';
import { errorCode } from './process-identity.js';

/** True if something could listen on that port right now, found out by doing it for a moment. */
export function isPortFree(address: string, port: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', (error) => {
      const code = errorCode(error);
      if (code === 'EADDRINUSE' || code === 'EACCES') resolve(false);
      else reject(error);
    });
    server.listen({ host: address, port, exclusive: true }, () => server.close(() => resolve(true)));
  });
}

/** The first candidate that is free, or null when none is. */
export async function chooseFreePort(address: string, candidates: Iterable<number>): Promise<number | null> {
  for (const port of candidates) if (await isPortFree(address, port)) return port;
  return null;
}
