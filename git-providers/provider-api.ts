/** The REST API of one git provider with one token: addresses, answers in the form of schemas, errors. */
import type { IncomingHttpHeaders } from 'node:http';
import type { z } from 'zod';
import type { GitProvider } from '../contract/primitives.js';
import { RequestFailed, type GuardedHttp, type HttpAnswer } from './guarded-http.js';
import { errorOfAnswer, GitProviderError, notUnderstood, tokenRefused } from './provider-error.js';

export type Query = Readonly<Record<string, string | number | boolean | null | undefined>>;

export interface ApiAnswer<Data> {
  data: Data;
  headers: IncomingHttpHeaders;
}

export interface ApiCall {
  query?: Query;
  headers?: Readonly<Record<string, string>>;
}

export interface ApiOptions {
  provider: GitProvider;
  /** What all paths are appended to, without trailing slash. */
  base: string;
  /** Authentication and what every request carries; tokens travel here and nowhere else. */
  headers: Readonly<Record<string, string>>;
  /** Whether an answer means that the token is not known, where the provider does not say it by 401. */
  refusesToken?: (answer: Pick<HttpAnswer, 'status' | 'headers'>) => boolean;
}

/** Largest list and largest file that is read, in bytes. */
const LARGEST_ANSWER = 16 * 1024 * 1024;
const LARGEST_FILE = 1024 * 1024;

export class ProviderApi {
  constructor(
    private readonly http: Pick<GuardedHttp, 'send'>,
    private readonly options: ApiOptions,
  ) {}

  get provider(): GitProvider {
    return this.options.provider;
  }

  /** @param path with encoded segments, or a whole address below the same origin. @throws {GitProviderError} */
  async get<S extends z.ZodType>(
    path: string,
    schema: S,
    call: ApiCall = {},
  ): Promise<ApiAnswer<z.output<S>>> {
    const answer = await this.#send('GET', path, { accept: 'application/json', ...call });
    return { data: this.#read(answer, schema), headers: answer.headers };
  }

  /** @throws {GitProviderError} */
  async post<S extends z.ZodType>(path: string, schema: S, body: unknown): Promise<z.output<S>> {
    const answer = await this.#send('POST', path, { accept: 'application/json', body: JSON.stringify(body) });
    return this.#read(answer, schema);
  }

  /** A file as text. @throws {GitProviderError} */
  async text(path: string, call: ApiCall = {}): Promise<string> {
    const answer = await this.#send('GET', path, { accept: '*/*', limitBytes: LARGEST_FILE, ...call });
    return answer.body.toString('utf8');
  }

  async #send(
    method: 'GET' | 'POST',
    path: string,
    call: ApiCall & { accept: string; body?: string; limitBytes?: number },
  ): Promise<HttpAnswer> {
    const { provider, headers, refusesToken } = this.options;
    let answer: HttpAnswer;
    try {
      answer = await this.http.send({
        url: this.#urlOf(path, call.query ?? {}),
        method,
        headers: {
          Accept: call.accept,
          ...(call.body === undefined ? {} : { 'Content-Type': 'application/json' }),
          ...headers,
          ...call.headers,
        },
        ...(call.body === undefined ? {} : { body: call.body }),
        limitBytes: call.limitBytes ?? LARGEST_ANSWER,
      });
    } catch (error) {
      throw this.#failure(error);
    }
    if (refusesToken?.(answer)) throw tokenRefused(provider);
    if (answer.status < 200 || answer.status >= 300) {
      throw errorOfAnswer(provider, answer.status, answer.headers);
    }
    return answer;
  }

  #urlOf(path: string, query: Query): URL {
    const url = new URL(/^https?:/.test(path) ? path : `${this.options.base}${path}`);
    if (url.origin !== new URL(this.options.base).origin) {
      throw notUnderstood(this.provider, new Error('a link leads to another host'));
    }
    for (const [name, value] of Object.entries(query)) {
      if (value !== null && value !== undefined) url.searchParams.set(name, String(value));
    }
    return url;
  }

  #failure(error: unknown): unknown {
    if (error instanceof RequestFailed) {
      return new GitProviderError(
        'unavailable',
        this.provider,
        `${this.provider} cannot be reached: ${error.message}.`,
        { cause: error },
      );
    }
    if (error instanceof Error && error.name === 'HostRefused') {
      return new GitProviderError('host', this.provider, error.message);
    }
    return error;
  }

  #read<S extends z.ZodType>(answer: HttpAnswer, schema: S): z.output<S> {
    let value: unknown;
    try {
      value = JSON.parse(answer.body.toString('utf8'));
    } catch (error) {
      // The parser's message quotes the answer.
      throw notUnderstood(this.provider, error instanceof SyntaxError ? new Error('it is not JSON') : error);
    }
    const parsed = schema.safeParse(value);
    if (!parsed.success) throw notUnderstood(this.provider, parsed.error);
    return parsed.data;
  }
}

/** The address of the next page in a `Link` header (RFC 8288); null on the last page. */
export function nextLink(header: string | string[] | undefined): URL | null {
  for (const link of [header ?? []]
    .flat()
    .join(', ')
    .split(/,\s*(?=<)/)) {
    const [, address, parameters] = /^<([^>]*)>(.*)$/s.exec(link.trim()) ?? [];
    if (address && /;\s*rel="?next"?/.test(parameters ?? '') && URL.canParse(address))
      return new URL(address);
  }
  return null;
}

/** The number of the next page in a `Link` header; null on the last page. */
export function nextPageOfLink(header: string | string[] | undefined): number | null {
  return pageNumber(nextLink(header)?.searchParams.get('page'));
}

export function pageNumber(text: string | null | undefined): number | null {
  return text && /^[1-9]\d{0,8}$/.test(text) ? Number(text) : null;
}
