import type { GitProvider } from '../contract/primitives.js';
import type { ProviderTokenStore, StoredProviderToken } from './provider-token-store.js';
import type { ProviderToken, TokenProvider, UserContext } from './user-context.js';

/** What a git provider hands out in exchange for a refresh token. */
export interface RenewedProviderToken {
  token: string;
  refreshToken: string | null;
  expiresAt: Date | null;
}

/**
 * Renews the tokens of one provider.
 * @returns null when the provider will never renew this token
 * @throws anything else that is worth another try
 */
export type ProviderTokenRenewal = (refreshToken: string) => Promise<RenewedProviderToken | null>;

/** A token that is good for less than this is renewed before it is handed out, in milliseconds: a clone takes time. */
const RENEW_BEFORE_MS = 5 * 60_000;

/**
 * Provider tokens that a user stored or got by signing in; read anew each time, so that a replaced one counts at once,
 * and renewed under a lock where they expire. Whoever asks never learns of expiry or refresh tokens.
 */
export class SecretsStoreTokenProvider implements TokenProvider {
  constructor(
    private readonly store: Pick<ProviderTokenStore, 'providerTokens'> &
      Partial<Pick<ProviderTokenStore, 'renewProviderToken'>>,
    private readonly userId: string | null,
    private readonly renewals: ReadonlyMap<GitProvider, ProviderTokenRenewal> = new Map(),
    private readonly now: () => number = Date.now,
  ) {}

  async get(provider: GitProvider): Promise<ProviderToken | null> {
    const stored = (await this.store.providerTokens(this.userId)).get(provider);
    return stored ? this.#current(provider, stored) : null;
  }

  async getAll(): Promise<ReadonlyMap<GitProvider, ProviderToken>> {
    const stored = await this.store.providerTokens(this.userId);
    const current = await Promise.all(
      [...stored].map(async ([provider, token]) => [provider, await this.#current(provider, token)] as const),
    );
    return new Map(current.flatMap(([provider, token]) => (token ? [[provider, token] as const] : [])));
  }

  async #current(provider: GitProvider, stored: StoredProviderToken): Promise<ProviderToken | null> {
    const renew = this.renewals.get(provider);
    if (!this.#isDue(stored) || !renew || !this.store.renewProviderToken) return bare(stored);
    try {
      const renewed = await this.store.renewProviderToken(
        this.userId,
        provider,
        (token) => this.#isDue(token),
        async (token) => {
          const fresh = token.refreshToken === null ? null : await renew(token.refreshToken);
          return fresh && { ...token, ...fresh };
        },
      );
      return renewed && bare(renewed);
    } catch (error) {
      // The provider does not answer: the token at hand still serves while it lasts.
      if (stored.expiresAt && stored.expiresAt.getTime() > this.now()) return bare(stored);
      throw error;
    }
  }

  #isDue({ expiresAt, refreshToken }: StoredProviderToken): boolean {
    return expiresAt !== null && refreshToken !== null && expiresAt.getTime() < this.now() + RENEW_BEFORE_MS;
  }
}

const bare = ({ token, host, userId }: ProviderToken): ProviderToken => ({ token, host, userId });

/** Tokens of any user, for work that goes on after the request that asked for it: activities, look-ups. */
export type TokensOf = (userId: string | null) => TokenProvider;

/** The context in which work for a user goes on after the request that asked for it: activities, webhooks. */
export const internalUserContext = (
  userId: string | null,
  store: Pick<ProviderTokenStore, 'providerTokens'>,
): UserContext => ({
  userId,
  authType: 'internal',
  tokens: new SecretsStoreTokenProvider(store, userId),
});
