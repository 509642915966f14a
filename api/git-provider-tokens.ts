/** Storing git-provider tokens, for the routes of both releases (contract 10.3, 16.10). */
import { z } from 'zod';
import { GitProvider } from '../contract/primitives.js';
import type { NewProviderToken } from '../identity/provider-token-store.js';
import type { SecretsStore } from '../identity/secrets-store.js';
import type { ProviderToken } from '../identity/user-context.js';

const clearable = () =>
  z
    .string()
    .nullish()
    .transform((value) => value?.trim() || null);

/** Body of both routes; `mcp_config` is accepted and means nothing, as in the reference. */
export const ProviderTokensUpdate = z.object({
  provider_tokens: z
    .partialRecord(GitProvider, z.object({ token: clearable(), host: clearable(), user_id: clearable() }))
    .default({}),
});
export type ProviderTokensUpdate = z.output<typeof ProviderTokensUpdate>;

/** Asks a provider whether a token is good; without a verifier every token is taken. */
export type VerifyProviderToken = (provider: GitProvider, token: ProviderToken) => Promise<boolean>;

/** A provider said that a token is no good. */
export class InvalidProviderToken extends Error {
  constructor(provider: GitProvider) {
    super(`Invalid token. Please make sure it is a valid ${provider} token.`);
    this.name = 'InvalidProviderToken';
  }
}

/** What storing tokens is answered where they could not be tried, or are no good. */
export const TOKEN_FAILURES = {
  400: { description: 'The host beside a token is none that may be asked, or has no such provider.' },
  401: { description: 'The provider does not know a token.' },
  429: { description: 'The provider takes no more requests; `Retry-After` says when it does.' },
  502: { description: 'The provider does not answer as it should.' },
  503: { description: 'The provider is away; `Retry-After` says for how long.' },
};

export interface ProviderTokenDeps {
  secrets: Pick<SecretsStore, 'providerTokens' | 'replaceProviderTokens'>;
  verifyProviderToken?: VerifyProviderToken;
}

/**
 * Replaces the tokens of a user by those named; one named without a token keeps the stored token.
 * @throws {InvalidProviderToken} and stores nothing
 */
export async function storeProviderTokens(
  { secrets, verifyProviderToken }: ProviderTokenDeps,
  userId: string | null,
  { provider_tokens }: ProviderTokensUpdate,
): Promise<void> {
  const stored = await secrets.providerTokens(userId);
  const next = new Map<GitProvider, NewProviderToken>();
  const unproved = new Map<GitProvider, NewProviderToken>();
  for (const [name, given] of Object.entries(provider_tokens)) {
    const provider = GitProvider.parse(name);
    const before = stored.get(provider);
    const token = given.token ?? before?.token;
    if (token === undefined) continue; // nothing to keep and nothing to store
    const whole = {
      token,
      host: given.host ?? (given.token === null ? (before?.host ?? null) : null),
      userId: given.user_id ?? (given.token === null ? (before?.userId ?? null) : null),
      // What renews the stored token renews no other one.
      ...(given.token === null && before
        ? { refreshToken: before.refreshToken, expiresAt: before.expiresAt }
        : {}),
    };
    next.set(provider, whole);
    if (given.token !== null || whole.host !== before?.host) unproved.set(provider, whole);
  }
  if (verifyProviderToken) {
    await Promise.all(
      [...unproved].map(async ([provider, token]) => {
        if (!(await verifyProviderToken(provider, token))) throw new InvalidProviderToken(provider);
      }),
    );
  }
  await secrets.replaceProviderTokens(userId, next);
}
