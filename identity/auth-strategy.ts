/** The boundary between a request and the user it acts for. */
import type { IncomingHttpHeaders } from 'node:http';
import type { SignIn } from './sign-in.js';
import type { TokenProvider, UserContext } from './user-context.js';

/** Learns who calls from the headers of a request; one strategy per way of signing in. */
export interface AuthStrategy {
  /** @throws {Unauthenticated} when the headers prove nobody. */
  authenticate(headers: IncomingHttpHeaders): Promise<UserContext>;
  /** How browsers sign in; absent where they do not. */
  readonly signIn?: SignIn;
}

/** One kind of credential beside the session cookie: access tokens of the identity provider, API keys. */
export interface CredentialResolver {
  /**
   * @returns the caller; null when the headers hold no credential of this kind
   * @throws {Unauthenticated} for one of this kind that is not good
   */
  resolve(this: void, headers: IncomingHttpHeaders): Promise<UserContext | null>;
}

/** The request proves nobody; answered with 401. */
export class Unauthenticated extends Error {
  constructor(message = 'Unauthorized') {
    super(message);
    this.name = 'Unauthenticated';
  }
}

/** Modules of a company need not share our class: an error of this name means the same. */
export const isUnauthenticated = (error: unknown): error is Error =>
  error instanceof Error && error.name === 'Unauthenticated';

/** The tokens of nobody. */
export const NO_TOKENS: TokenProvider = {
  get: () => Promise.resolve(null),
  getAll: () => Promise.resolve(new Map()),
};

/** Who acts on routes that anybody may call: it owns nothing, sees nothing and has no tokens. */
export const NOBODY: UserContext = { userId: null, authType: 'nobody', tokens: NO_TOKENS };

/** The server itself, where no user asked: webhooks, look-ups, sweeps. It sees everything and has no tokens. */
export const INTERNAL: UserContext = { userId: null, authType: 'internal', tokens: NO_TOKENS };
