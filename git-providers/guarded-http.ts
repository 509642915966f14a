/** One HTTP exchange with a host that a user named: checked addresses, limits of time and size, no foreign redirects. */
import * as http from 'node:http';
import * as https from 'node:https';
import type { AddressPolicy } from './address-policy.js';

export interface HttpRequest {
  url: URL;
  method?: 'GET' | 'POST';
  headers: Readonly<Record<string, string>>;
  body?: string;
  /** Largest answer that is read, in bytes. */
  limitBytes: number;
}

export interface HttpAnswer {
  status: number;
  headers: http.IncomingHttpHeaders;
  body: Buffer;
}

/** There was no whole answer; the message says why, in words that hold nothing of the request. */
export class RequestFailed extends Error {
  override readonly name = 'RequestFailed';
}

/** Redirects that are followed, all of them on one origin: renamed repositories. */
const MAX_REDIRECTS = 3;
/** Connections to one host at a time; more requests wait. */
const MAX_SOCKETS = 16;

export class GuardedHttp {
  readonly #agents = {
    'http:': new http.Agent({ keepAlive: true, maxSockets: MAX_SOCKETS }),
    'https:': new https.Agent({ keepAlive: true, maxSockets: MAX_SOCKETS }),
  };

  /** @param timeoutMs for one exchange with its redirects. */
  constructor(
    private readonly policy: AddressPolicy,
    private readonly timeoutMs: number,
  ) {}

  /**
   * Sends a request and reads the answer whole. A redirect to another origin is an answer like any other: credentials go
   * to the host they are for and nowhere else.
   * @throws {HostRefused} {RequestFailed}
   */
  async send(request: HttpRequest): Promise<HttpAnswer> {
    const signal = AbortSignal.timeout(this.timeoutMs);
    let { url } = request;
    for (let redirects = 0; ; redirects++) {
      const answer = await this.#exchange({ ...request, url }, signal);
      const next = request.method === 'POST' ? null : redirectOf(answer, url);
      if (next === null || next.origin !== url.origin) return answer;
      if (redirects === MAX_REDIRECTS) throw new RequestFailed('it redirects without end');
      url = next;
    }
  }

  /** Closes connections that were kept. */
  close(): void {
    for (const agent of Object.values(this.#agents)) agent.destroy();
  }

  async #exchange(request: HttpRequest, signal: AbortSignal): Promise<HttpAnswer> {
    this.policy.check(request.url);
    try {
      return await this.#once(request, signal);
    } catch (error) {
      if (error instanceof StaleConnection) return this.#once(request, signal);
      throw error;
    }
  }

  #once({ url, method = 'GET', headers, body, limitBytes }: HttpRequest, signal: AbortSignal) {
    return new Promise<HttpAnswer>((resolve, reject) => {
      const secure = url.protocol === 'https:';
      const options: https.RequestOptions = {
        method,
        headers: {
          'User-Agent': 'callboard',
          'Accept-Encoding': 'identity',
          ...headers,
          ...(body === undefined ? {} : { 'Content-Length': String(Buffer.byteLength(body)) }),
        },
        agent: secure ? this.#agents['https:'] : this.#agents['http:'],
        lookup: this.policy.lookupFor(url),
        signal,
      };
      const failed = (error: Error): void => {
        const stale = outgoing.reusedSocket && codeOf(error) === 'ECONNRESET' && method === 'GET';
        reject(stale ? new StaleConnection('stale') : this.#reasonOf(error, signal));
      };
      const outgoing = (secure ? https : http).request(url, options, (incoming) => {
        const chunks: Buffer[] = [];
        let size = 0;
        incoming.on('data', (chunk: Buffer) => {
          size += chunk.length;
          if (size <= limitBytes) chunks.push(chunk);
          else {
            reject(new RequestFailed(`it answered with more than ${limitBytes} bytes`));
            outgoing.destroy();
          }
        });
        incoming.on('end', () =>
          resolve({
            status: incoming.statusCode ?? 0,
            headers: incoming.headers,
            body: Buffer.concat(chunks),
          }),
        );
        incoming.on('error', failed);
      });
      outgoing.on('error', failed);
      outgoing.end(body);
    });
  }

  #reasonOf(error: Error, signal: AbortSignal): Error {
    if (error.name === 'HostRefused') return error;
    if (signal.aborted) return new RequestFailed(`it did not answer within ${this.timeoutMs / 1000} seconds`);
    const code = codeOf(error);
    const reasons: Record<string, string> = {
      ENOTFOUND: 'its name is not known',
      EAI_AGAIN: 'its name cannot be resolved at the moment',
      ECONNREFUSED: 'nothing listens there',
    };
    return new RequestFailed(reasons[code] ?? `the connection failed (${code || error.name})`, {
      cause: error,
    });
  }
}

/** A connection that was kept alive turned out to be dead. */
class StaleConnection extends Error {}

function redirectOf({ status, headers }: HttpAnswer, from: URL): URL | null {
  const { location } = headers;
  if (![301, 302, 303, 307, 308].includes(status) || !location) return null;
  return URL.canParse(location, from.href) ? new URL(location, from) : null;
}

const codeOf = (error: Error): string =>
  'code' in error && typeof error.code === 'string' ? error.code : '';
