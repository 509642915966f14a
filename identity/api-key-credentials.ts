import type { IncomingHttpHeaders } from 'node:http';
import { API_KEY_PREFIX, type ApiKeyStore } from './api-keys.js';
import { Unauthenticated, type AuthStrategy, type CredentialResolver } from './auth-strategy.js';
import type { OrganizationDirectory } from './organizations.js';
import type { TokensOf } from './secrets-token-provider.js';
import type { UserContext } from './user-context.js';
import type { UserProfile } from './users.js';
import { bearerOf } from './bearer.js';

/**
 * The API key that a request shows: `X-API-Key`, or `Authorization: Bearer` where that holds one of our keys and not
 * a token of somebody else.
 */
export function apiKeyOf(headers: IncomingHttpHeaders): string | null {
  const [own] = [headers['x-api-key']].flat();
  if (own) return own;
  const bearer = bearerOf(headers.authorization);
  return bearer?.startsWith(API_KEY_PREFIX) ? bearer : null;
}

export interface ApiKeyCredentialDeps {
  apiKeys: Pick<ApiKeyStore, 'find'>;
  tokensOf: TokensOf;
  /** Null where there are no organizations. */
  organizations: Pick<OrganizationDirectory, 'contextOf'> | null;
  /** Whether a person who was known earlier is still let in. */
  admits: (user: UserProfile) => boolean;
}

/** Callers with an API key act as its owner, in the organization that was active when it was made. */
export class ApiKeyCredentials implements CredentialResolver {
  constructor(private readonly deps: ApiKeyCredentialDeps) {}

  readonly resolve = async (headers: IncomingHttpHeaders): Promise<UserContext | null> => {
    const key = apiKeyOf(headers);
    if (key === null) return null;
    const { apiKeys, admits, organizations, tokensOf } = this.deps;
    const holder = await apiKeys.find(key);
    if (!holder || !admits(holder.user)) throw new Unauthenticated();
    const userId = holder.user.id;
    return {
      userId,
      authType: 'bearer',
      tokens: tokensOf(userId),
      ...(organizations ? { organization: organizations.contextOf(holder.organizationId, userId) } : {}),
    };
  };
}

/** A strategy that takes other credentials before its own: how API keys are good under a company's own strategy. */
export function withCredentials(
  strategy: AuthStrategy,
  credentials: readonly CredentialResolver[],
): AuthStrategy {
  return {
    async authenticate(headers) {
      for (const { resolve } of credentials) {
        const user = await resolve(headers);
        if (user) return user;
      }
      return strategy.authenticate(headers);
    },
    ...(strategy.signIn ? { signIn: strategy.signIn } : {}),
  };
}
