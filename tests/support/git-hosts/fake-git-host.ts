/** A server that speaks as much of a git provider's protocol as its subclasses teach it, and remembers what it was asked. */
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { AddressPolicy } from '../../../git-providers/address-policy.js';
import { GuardedHttp } from '../../../git-providers/guarded-http.js';

export interface HostRequest {
  method: string;
  /** Decoded, without query. */
  path: string;
  query: URLSearchParams;
  headers: IncomingHttpHeaders;
  body: string;
}

export interface HostResponse {
  status?: number;
  headers?: Record<string, string>;
  /** A text is sent as it is, anything else as JSON. */
  body?: unknown;
}

export class FakeGitHost {
  url = '';
  readonly requests: HostRequest[] = [];
  /** Answers given before any other, one for each request. */
  readonly instead: HostResponse[] = [];
  readonly #routes: { pattern: RegExp; answer: (request: HostRequest, match: string[]) => HostResponse }[] =
    [];
  readonly #server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const { pathname, searchParams } = new URL(request.url ?? '/', this.url);
      const {
        status = 200,
        headers = {},
        body,
      } = this.#answer({
        method: request.method ?? '',
        path: pathname,
        query: searchParams,
        headers: request.headers,
        body: Buffer.concat(chunks).toString('utf8'),
      });
      const isText = typeof body === 'string';
      response.writeHead(status, { 'Content-Type': isText ? 'text/plain' : 'application/json', ...headers });
      response.end(isText ? body : JSON.stringify(body ?? {}));
    });
  });

  /** @param isKnown whether the `Authorization` of a request is that of a user; what the host says otherwise. */
  constructor(
    private readonly isKnown: (headers: IncomingHttpHeaders) => boolean,
    private readonly refusal: HostResponse = { status: 401, body: { message: 'Bad credentials' } },
  ) {}

  async listen(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    this.url = `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
    return this;
  }

  close(): Promise<void> {
    this.#server.closeAllConnections();
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }

  /** @param path method and path, `*` for any segment: `GET /user/repos` */
  on(path: string, answer: (request: HostRequest, segments: string[]) => HostResponse): void {
    const pattern = path
      .split('*')
      .map((part) => part.replaceAll(/[.+?^${}()|[\]\\]/g, String.raw`\$&`))
      .join('([^/]+)');
    this.#routes.push({ pattern: new RegExp(`^${pattern}$`), answer });
  }

  /** Paths asked since the last call, with queries. */
  asked(): string[] {
    return this.requests.splice(0).map(({ method, path, query }) => {
      const text = decodeURIComponent(query.toString());
      return `${method} ${path}${text === '' ? '' : `?${text}`}`;
    });
  }

  #answer(request: HostRequest): HostResponse {
    this.requests.push(request);
    const instead = this.instead.shift();
    if (instead) return instead;
    if (!this.isKnown(request.headers)) return this.refusal;
    for (const { pattern, answer } of this.#routes) {
      const match = pattern.exec(`${request.method} ${request.path}`);
      if (match) return answer(request, match.slice(1).map(decodeURIComponent));
    }
    return { status: 404, body: { message: 'Not Found' } };
  }
}

/** Part of a list as pages of numbers cut it. */
export function pageOf<Item>(items: readonly Item[], query: URLSearchParams, size = 'per_page') {
  const page = Number(query.get('page') ?? 1);
  const perPage = Number(query.get(size) ?? 30);
  const end = page * perPage;
  return { page, part: items.slice(end - perPage, end), next: end < items.length ? page + 1 : null };
}

/** A `Link` header as GitHub, GitLab and Gitea send it. */
export function linkHeader(request: HostRequest, base: string, next: number | null): Record<string, string> {
  if (next === null) return {};
  const url = new URL(request.path, base);
  url.search = request.query.toString();
  url.searchParams.set('page', String(next));
  return { Link: `<${url.href}>; rel="next", <${url.href}>; rel="last"` };
}

/** What asks hosts of this machine, as the operator's setting lets it. */
export function httpFor(...hosts: { url: string }[]): GuardedHttp {
  const allowed = hosts.map(({ url }) => {
    const { hostname, port } = new URL(url);
    return { host: hostname, port: Number(port), http: true };
  });
  return new GuardedHttp(new AddressPolicy(allowed), 5_000);
}
