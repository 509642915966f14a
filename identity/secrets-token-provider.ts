import type { GitProvider } from '../contract/primitives.js';
import type { SecretsStore } from './secrets-store.js';
import type { ProviderToken, TokenProvider, UserContext } from './user-context.js';

/** Provider tokens that a user stored; read anew each time, so that a replaced one counts at once. */
export class SecretsStoreTokenProvider implements TokenProvider {
  constructor(
    private readonly store: Pick<SecretsStore, 'providerTokens'>,
    private readonly userId: string | null,
  ) {}

  async get(provider: GitProvider): Promise<ProviderToken | null> {
    return (await this.getAll()).get(provider) ?? null;
  }

  getAll(): Promise<ReadonlyMap<GitProvider, ProviderToken>> {
    return this.store.providerTokens(this.userId);
  }
}

/** The context in which work for a user goes on after the request that asked for it: activities, webhooks. */
export const internalUserContext = (
  userId: string | null,
  store: Pick<SecretsStore, 'providerTokens'>,
): UserContext => ({
  userId,
  authType: 'internal',
  tokens: new SecretsStoreTokenProvider(store, userId),
});
