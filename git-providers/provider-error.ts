/** What goes wrong with git providers, in words for people; no text holds a token or an address with one. */
import type { GitProvider } from '../contract/primitives.js';

/**
 * `token`: the provider does not know the token. `forbidden`: the token may not do this. `not_found`: there is no such
 * thing, or the token may not see it. `rate`: too many requests. `host`: the host may not be asked, or is no such provider.
 * `unavailable`: the provider does not answer, or not as documented. `unsupported`: the provider has no such thing.
 */
export type ProviderErrorKind =
  'token' | 'forbidden' | 'not_found' | 'rate' | 'host' | 'unavailable' | 'unsupported';

export class GitProviderError extends Error {
  override readonly name = 'GitProviderError';

  constructor(
    readonly kind: ProviderErrorKind,
    readonly provider: GitProvider,
    message: string,
    { retryAfterSeconds = null, cause }: { retryAfterSeconds?: number | null; cause?: unknown } = {},
  ) {
    super(message, cause === undefined ? {} : { cause });
    this.retryAfterSeconds = retryAfterSeconds;
  }

  /** Seconds after which another try makes sense, where the provider says so. */
  readonly retryAfterSeconds: number | null;
}

/** The user has no token for a provider; null: for none at all. */
export class ProviderNotConnected extends Error {
  override readonly name = 'ProviderNotConnected';

  constructor(readonly provider: GitProvider | null) {
    super(
      provider === null
        ? 'Git provider token required (such as GitHub).'
        : `Git provider token required: ${provider} is not connected.`,
    );
  }
}

export const tokenRefused = (provider: GitProvider): GitProviderError =>
  new GitProviderError(
    'token',
    provider,
    `Invalid ${provider} token: it is wrong, expired or revoked; store a new one in the settings.`,
  );

export const notUnderstood = (provider: GitProvider, cause: unknown): GitProviderError =>
  new GitProviderError(
    'unavailable',
    provider,
    `${provider} answered in a way that is not understood; check the host that is stored beside the token.`,
    { cause },
  );

/** The host of a token has no such provider. */
export const noSuchProvider = (provider: GitProvider): GitProviderError =>
  new GitProviderError(
    'host',
    provider,
    `No ${provider} answers at this host: check the host beside the token.`,
  );

type Headers = Readonly<Record<string, string | string[] | undefined>>;

/** The error that an answer with a status other than 2xx is. */
export function errorOfAnswer(
  provider: GitProvider,
  status: number,
  headers: Headers,
  now = Date.now(),
): GitProviderError {
  const retryAfterSeconds = secondsToWait(headers, now);
  const isRateLimit =
    status === 429 ||
    (status === 403 && (headers['x-ratelimit-remaining'] === '0' || headers['retry-after'] !== undefined));
  if (isRateLimit) {
    return new GitProviderError(
      'rate',
      provider,
      `${provider} takes no more requests with this token for now; try again ${retryAfterSeconds === null ? 'later' : `in ${retryAfterSeconds} seconds`}.`,
      { retryAfterSeconds: retryAfterSeconds ?? 60 },
    );
  }
  if (status === 401) return tokenRefused(provider);
  if (status === 403) {
    return new GitProviderError(
      'forbidden',
      provider,
      `${provider} does not let this token do that; give it the scopes that docs/git-providers.md lists.`,
    );
  }
  if (status === 404 || status === 410) {
    return new GitProviderError(
      'not_found',
      provider,
      `${provider} has no such thing, or this token may not see it.`,
    );
  }
  return new GitProviderError(
    'unavailable',
    provider,
    `${provider} answered with status ${status}; try again later.`,
    { retryAfterSeconds },
  );
}

/** `Retry-After` in seconds or as a date, else when the window of the rate limit ends; at most a day. */
function secondsToWait(headers: Headers, now: number): number | null {
  const text = (name: string): string | null => {
    const value = headers[name];
    return typeof value === 'string' ? value.trim() : null;
  };
  const bounded = (seconds: number): number => Math.min(Math.max(Math.ceil(seconds), 1), 86_400);
  const after = text('retry-after');
  if (after !== null && /^\d+(\.\d+)?$/.test(after)) return bounded(Number(after));
  if (after !== null && !Number.isNaN(Date.parse(after))) return bounded((Date.parse(after) - now) / 1000);
  if (headers['x-ratelimit-remaining'] !== '0' && headers['ratelimit-remaining'] !== '0') return null;
  const reset = text('x-ratelimit-reset') ?? text('ratelimit-reset');
  return reset !== null && /^\d+$/.test(reset) ? bounded(Number(reset) - now / 1000) : null;
}
