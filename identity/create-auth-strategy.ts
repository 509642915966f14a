import type { AuthStrategy } from './auth-strategy.js';
import { NoneStrategy } from './none-strategy.js';
import type { SecretsStore } from './secrets-store.js';

/** An auth strategy was asked for that this version does not have. */
export class AuthStrategyMissing extends Error {
  constructor(name: string) {
    super(
      `This version has no auth strategy ${name}: set OPENHANDS_AUTH_MODE=none and let nobody reach the server whom you do not trust.`,
    );
    this.name = 'AuthStrategyMissing';
  }
}

/**
 * The strategy that the configuration names.
 * @throws {AuthStrategyMissing} for one that does not exist: an instance that was meant to be closed never runs open
 */
export function createAuthStrategy(
  name: 'none' | 'single_user_github',
  secrets: Pick<SecretsStore, 'providerTokens'>,
): AuthStrategy {
  if (name === 'none') return new NoneStrategy(secrets);
  throw new AuthStrategyMissing(name);
}
