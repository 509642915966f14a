/** How often one address may show keys that are wrong, over HTTP and sockets together. */
import type { IncomingHttpHeaders } from 'node:http';
import { isUnauthenticated } from '../identity/auth-strategy.js';
import { callerAddress, type Caller } from './caller-address.js';
import { HttpError } from './http-error.js';

const WINDOW_MS = 60_000;
/** Addresses remembered at a time. */
const MOST_ADDRESSES = 10_000;

/**
 * Counts wrong keys per address and minute. Keys that people choose (of the instance, of services, of operators) are not
 * even looked at any more once the number is reached. Keys that we make (of users and sandboxes) cannot be guessed: right
 * ones still pass, so that nobody is locked out by a neighbour whose key is old.
 */
export class WrongKeys {
  readonly #seen = new Map<string, { until: number; count: number }>();

  /** @param limit wrong keys per minute and address; 0 is no limit. */
  constructor(
    private readonly limit: number,
    private readonly now: () => number = Date.now,
  ) {}

  /** Before a key that somebody chose is compared. @throws {HttpError} 429 */
  admit(caller: Caller): void {
    const seen = this.#of(callerAddress(caller));
    if (this.limit > 0 && seen && seen.count >= this.limit) throw this.#tooMany(seen.until);
  }

  /** Notes a wrong key. @returns what to answer: the refusal, marked with what is left, or 429 */
  note(caller: Caller, refusal: Error): Error {
    if (this.limit === 0) return refusal;
    const address = callerAddress(caller);
    const seen = this.#of(address) ?? { until: this.now() + WINDOW_MS, count: 0 };
    if (seen.count >= this.limit) return this.#tooMany(seen.until);
    seen.count++;
    this.#seen.delete(address);
    this.#seen.set(address, seen);
    const [oldest] = this.#seen.keys();
    if (this.#seen.size > MOST_ADDRESSES && oldest !== undefined) this.#seen.delete(oldest);
    const told = refusal instanceof HttpError ? refusal : new HttpError(401, refusal.message);
    return new HttpError(told.status, told.detail, told.body, {
      ...told.headers,
      ...this.#headers(this.limit - seen.count, seen.until),
    });
  }

  #of(address: string): { until: number; count: number } | undefined {
    const seen = this.#seen.get(address);
    if (seen && seen.until > this.now()) return seen;
    this.#seen.delete(address);
    return undefined;
  }

  #tooMany(until: number): HttpError {
    return new HttpError(
      429,
      'Too many requests',
      { message: 'Too many requests' },
      { 'Retry-After': String(this.#secondsTo(until)), ...this.#headers(0, until) },
    );
  }

  /** The fields of draft 8 of the IETF's rate limit headers, as other limits of ours have them. */
  #headers(left: number, until: number): Record<string, string> {
    return {
      'RateLimit-Policy': `"secret"; q=${this.limit}; w=${WINDOW_MS / 1000}`,
      RateLimit: `"secret"; r=${left}; t=${this.#secondsTo(until)}`,
    };
  }

  #secondsTo(until: number): number {
    return Math.max(1, Math.ceil((until - this.now()) / 1000));
  }
}

/** Whether a request shows a key at all: one without is refused as often as it likes to ask, and so are old cookies. */
export const showsKey = (headers: IncomingHttpHeaders): boolean =>
  ['authorization', 'x-session-api-key', 'x-api-key', 'x-service-api-key', 'x-access-token'].some(
    (name) => (headers[name] ?? '') !== '',
  );

/** Whether an error says that what was shown proves nothing. */
export const isRefusedKey = (error: unknown): error is Error =>
  isUnauthenticated(error) || (error instanceof HttpError && error.status === 401);
