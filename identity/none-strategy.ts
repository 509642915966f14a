import type { AuthStrategy } from './auth-strategy.js';
import type { TokensOf } from './secrets-token-provider.js';
import type { UserContext } from './user-context.js';

/** Auth mode `none`: whoever reaches the server is its one user, who has no id and sees everything (contract 13). */
export class NoneStrategy implements AuthStrategy {
  readonly #user: UserContext;

  constructor(tokensOf: TokensOf) {
    this.#user = { userId: null, authType: 'none', tokens: tokensOf(null) };
  }

  authenticate(): Promise<UserContext> {
    return Promise.resolve(this.#user);
  }
}
