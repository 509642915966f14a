/** One HTTP call to an agent-server: time limit, authentication, errors, and one more try on a stale connection. */
import type { z } from 'zod';
import { maskText } from '../contract/masking.js';
import { AgentServerError, reasonOf, truncate } from './errors.js';
import { exchange, ExchangeTimeout, Oversize, type Exchange } from './exchange.js';

/** What every call of the client accepts. */
export interface CallOptions {
  /** Aborts the call; it then rejects with the signal's reason. */
  signal?: AbortSignal;
  /** Limit for the whole call in milliseconds; each call has a sensible default. */
  timeoutMs?: number;
  /** Largest body of an answer that is taken, in bytes; unlimited if left out. */
  maxBytes?: number;
}

export interface TransportSettings {
  /** For example `http://127.0.0.1:8700`, without trailing slash. */
  baseUrl: string;
  /** Sent as `X-Session-API-Key`; null for servers without authentication. */
  sessionApiKey: string | null;
  /** Milliseconds for calls that have no limit of their own; 30 s if left out. */
  defaultTimeoutMs?: number;
  /** Values that must not appear in any error text; the session key is always masked. */
  secrets?: readonly string[];
}

export interface Call extends CallOptions {
  method: 'GET' | 'POST' | 'PATCH' | 'DELETE';
  /** Path with encoded segments; the query goes into `query`. */
  path: string;
  query?: readonly (readonly [string, string])[];
  /** Sent as JSON, a form as multipart. */
  body?: unknown;
  /** True when a repetition does no harm: such a call is made again if a kept-alive connection turns out dead. */
  idempotent: boolean;
  /** Statuses besides 2xx that the caller wants to see instead of an error. */
  accept?: readonly number[];
}

export interface Answer {
  status: number;
  bytes: Uint8Array;
}

/** Performs calls. */
export interface Transport {
  readonly baseUrl: string;
  /** @throws {AgentServerError}, or the reason of `signal` */
  send(call: Call): Promise<Answer>;
  /** `send`, and the body read as JSON in the form of `schema`. */
  json<S extends z.ZodType>(call: Call, schema: S): Promise<z.infer<S>>;
  /** Reads an answer's body as JSON in the form of `schema`. */
  read<S extends z.ZodType>(call: Call, answer: Answer, schema: S): z.infer<S>;
}

const DEFAULT_TIMEOUT_MS = 30_000;

export function createTransport(settings: TransportSettings): Transport {
  const { baseUrl, sessionApiKey } = settings;
  const secrets = [...(settings.secrets ?? []), ...(sessionApiKey === null ? [] : [sessionApiKey])];

  const failure = (
    call: Call,
    kind: AgentServerError['kind'],
    status: number | null,
    detail: string,
    cause?: unknown,
  ): AgentServerError =>
    new AgentServerError({
      kind,
      status,
      call: `${call.method} ${call.path}`,
      detail: maskText(detail, secrets),
      cause,
    });

  async function attempt(call: Call, isNew: boolean): Promise<Answer> {
    const timeoutMs = call.timeoutMs ?? settings.defaultTimeoutMs ?? DEFAULT_TIMEOUT_MS;
    try {
      return await exchange({
        method: call.method,
        url: urlOf(baseUrl, call),
        ...(await contentOf(call.body, sessionApiKey)),
        signal: call.signal,
        timeoutMs,
        maxBytes: call.maxBytes ?? Infinity,
        isNew,
      });
    } catch (error) {
      call.signal?.throwIfAborted();
      if (error instanceof Oversize) throw failure(call, 'oversize', null, error.message);
      const code = codeOf(error);
      if (error instanceof ExchangeTimeout || code === 'ETIMEDOUT') {
        throw failure(call, 'timeout', null, `no answer from ${baseUrl} within ${timeoutMs / 1000} s`, error);
      }
      if (code === 'ECONNREFUSED') {
        throw failure(call, 'refused', null, `nothing listens at ${baseUrl} (connection refused)`, error);
      }
      const reason = truncate(code || messageOf(error));
      throw failure(call, 'unreachable', null, `the connection to ${baseUrl} failed: ${reason}`, error);
    }
  }

  async function send(call: Call): Promise<Answer> {
    let answer: Answer;
    try {
      answer = await attempt(call, !call.idempotent);
    } catch (error) {
      // A server that was frozen, or restarted, resets connections that were kept alive; a new one works.
      if (!call.idempotent || !(error instanceof AgentServerError) || !isStale(error)) throw error;
      answer = await attempt(call, true);
    }
    const ok = (answer.status >= 200 && answer.status < 300) || call.accept?.includes(answer.status) === true;
    if (!ok) {
      throw failure(call, 'http', answer.status, reasonOf(answer.status, textOf(answer.bytes)));
    }
    return answer;
  }

  function read<S extends z.ZodType>(call: Call, answer: Answer, schema: S): z.infer<S> {
    const text = textOf(answer.bytes);
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch (error) {
      const detail = truncate(`HTTP ${answer.status}, but the body is not JSON: ${text}`);
      throw failure(call, 'http', answer.status, detail, error);
    }
    const parsed = schema.safeParse(value);
    if (parsed.success) return parsed.data;
    const issues = parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`).join('; ');
    const detail = truncate(`HTTP ${answer.status} with an unexpected body: ${issues}`);
    throw failure(call, 'http', answer.status, detail, parsed.error);
  }

  return {
    baseUrl,
    send,
    read,
    json: async (call, schema) => read(call, await send(call), schema),
  };
}

function urlOf(baseUrl: string, call: Call): string {
  const query = new URLSearchParams();
  for (const [name, value] of call.query ?? []) query.append(name, value);
  return `${baseUrl}${call.path}${query.size === 0 ? '' : `?${query.toString()}`}`;
}

async function contentOf(
  body: unknown,
  sessionApiKey: string | null,
): Promise<Pick<Exchange, 'headers' | 'body'>> {
  const headers: Record<string, string> =
    sessionApiKey === null ? {} : { 'X-Session-API-Key': sessionApiKey };
  if (body === undefined) return { headers, body: null };
  if (!(body instanceof FormData)) {
    return { headers: { ...headers, 'content-type': 'application/json' }, body: JSON.stringify(body) };
  }
  const form = new Response(body); // knows how a form is written
  return {
    headers: { ...headers, 'content-type': form.headers.get('content-type') ?? 'multipart/form-data' },
    body: new Uint8Array(await form.arrayBuffer()),
  };
}

export const textOf = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

const STALE_CODES = new Set(['ECONNRESET', 'EPIPE']);

function isStale(error: AgentServerError): boolean {
  return error.kind === 'unreachable' && STALE_CODES.has(codeOf(error.cause));
}

/** The system's code of a failure, which may be hidden in `cause`; empty if there is none. */
function codeOf(error: unknown): string {
  for (let cause: unknown = error; cause instanceof Error; cause = cause.cause) {
    const { code } = cause as { code?: unknown };
    if (typeof code === 'string') return code;
  }
  return '';
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
