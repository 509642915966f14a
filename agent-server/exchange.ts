/** One HTTP exchange, with a third of the processor time that `fetch` takes for it. */
import * as http from 'node:http';
import * as https from 'node:https';

export interface Exchange {
  method: string;
  url: string;
  headers: Record<string, string>;
  body: string | Uint8Array | null;
  /** Aborts the exchange; it rejects then, whatever the reason is called. */
  signal: AbortSignal | undefined;
  /** For the whole exchange, in milliseconds. */
  timeoutMs: number;
  /** Largest body that is taken, whatever length the server announces. */
  maxBytes: number;
  /**
   * On a new connection. One that is kept may be closed by the server in the moment in which it is used again, and nobody
   * can tell then whether the server has begun with the request.
   */
  isNew: boolean;
}

/** Nothing has come to its end within the limit. */
export class ExchangeTimeout extends Error {}
/** The answer is larger than what is taken. */
export class Oversize extends Error {}

/** Less than the five seconds after which an agent-server closes what lies idle, so that we do it first. */
const IDLE_MS = 4_000;

const agents = {
  'http:': new http.Agent({ keepAlive: true, timeout: IDLE_MS }),
  'https:': new https.Agent({ keepAlive: true, timeout: IDLE_MS }),
};

/**
 * Sends a request and reads its answer, of whatever status; redirects are not followed.
 * @throws {ExchangeTimeout} {@link Oversize}, or the system's error, with its code
 */
export async function exchange(wanted: Exchange): Promise<{ status: number; bytes: Uint8Array }> {
  const { signal, timeoutMs, maxBytes } = wanted;
  signal?.throwIfAborted();
  const request = begin(wanted);
  let end = (): void => undefined;
  try {
    return await new Promise((resolve, reject) => {
      const giveUp = (error: Error): void => {
        reject(error); // before the request says of itself that its connection was lost
        request.destroy();
      };
      const onAbort = (): void => giveUp(new Error('aborted'));
      const timer = setTimeout(
        () => giveUp(new ExchangeTimeout(`nothing within ${timeoutMs} ms`)),
        timeoutMs,
      );
      signal?.addEventListener('abort', onAbort, { once: true });
      end = () => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', onAbort);
      };
      request.on('error', reject);
      request.on('response', (response) => {
        const chunks: Buffer[] = [];
        let length = 0;
        response.on('error', reject);
        response.on('data', (chunk: Buffer) => {
          length += chunk.length;
          if (length > maxBytes) giveUp(new Oversize(`the answer is larger than ${maxBytes} bytes`));
          else chunks.push(chunk);
        });
        response.on('end', () => {
          const { buffer, byteOffset, byteLength } = Buffer.concat(chunks);
          resolve({
            status: response.statusCode ?? 0,
            bytes: new Uint8Array(buffer, byteOffset, byteLength),
          });
        });
      });
    });
  } finally {
    end();
  }
}

function begin({ method, url, headers, body, isNew }: Exchange): http.ClientRequest {
  const target = new URL(url);
  const isTls = target.protocol === 'https:';
  const request = (isTls ? https : http).request(target, {
    method,
    agent: isNew ? false : agents[isTls ? 'https:' : 'http:'],
    headers: body === null ? headers : { ...headers, 'content-length': Buffer.byteLength(body).toString() },
  });
  request.end(body ?? undefined);
  return request;
}
