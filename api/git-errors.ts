/** What clients are told of failures at git providers (contract 11.1, 16.1). */
import { InvalidRepository } from '../git-providers/host-address.js';
import { GitProviderError, ProviderNotConnected } from '../git-providers/provider-error.js';
import type { ErrorAnswer } from './http-error.js';

/** The answer to a failure at a git provider; null for any other error. */
export function gitAnswer(error: unknown): ErrorAnswer | null {
  if (error instanceof ProviderNotConnected)
    return { status: 403, body: { detail: error.message }, headers: {} };
  if (error instanceof InvalidRepository)
    return { status: 400, body: { detail: error.message }, headers: {} };
  if (!(error instanceof GitProviderError)) return null;
  const { kind, message, retryAfterSeconds } = error;
  const headers: Record<string, string> =
    retryAfterSeconds === null ? {} : { 'Retry-After': String(retryAfterSeconds) };
  switch (kind) {
    case 'token':
      return { status: 401, body: message, headers };
    case 'forbidden':
      return { status: 403, body: { detail: message }, headers };
    case 'not_found':
      return { status: 404, body: { detail: message }, headers };
    case 'host':
    case 'unsupported':
      return { status: 400, body: { detail: message }, headers };
    case 'rate':
      return { status: 429, body: { detail: message }, headers };
    case 'unavailable':
      return { status: retryAfterSeconds === null ? 502 : 503, body: { detail: message }, headers };
  }
}
