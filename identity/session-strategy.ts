import type { IncomingHttpHeaders } from 'node:http';
import { Unauthenticated, type AuthStrategy, type CredentialResolver } from './auth-strategy.js';
import type { OrganizationDirectory } from './organizations.js';
import type { TokensOf } from './secrets-token-provider.js';
import { sessionCookieOf } from './session-cookie.js';
import type { Renewal, Session, SessionStore, SessionTokens } from './sessions.js';
import type { SignIn } from './sign-in.js';
import type { UserContext } from './user-context.js';
import type { UserProfile } from './users.js';

/** Tokens that are good for less than this are renewed before the request goes on, in milliseconds. */
const RENEW_BEFORE_MS = 30_000;

export interface SessionStrategyDeps {
  /** Sessions of other ways of signing in do not count. */
  realm: string;
  sessions: Pick<SessionStore, 'find' | 'renew'>;
  tokensOf: TokensOf;
  /** Null where there are no organizations. */
  organizations: Pick<OrganizationDirectory, 'contextOf'> | null;
  signIn: SignIn;
  /** Whether a person who signed in earlier is still let in, without asking anybody. */
  admits: (user: UserProfile) => boolean;
  /** Renews a session's tokens; null where sessions have none. */
  renew: ((session: Session, held: SessionTokens) => Promise<Renewal>) | null;
  /** Credentials beside the cookie, in this order, and before it. */
  credentials: readonly CredentialResolver[];
  now?: () => number;
}

/**
 * Callers with a session of this server, or with other credentials. A request costs one indexed query; the identity
 * provider is asked only when its tokens run out, once for all requests that find it so.
 */
export class SessionStrategy implements AuthStrategy {
  readonly signIn: SignIn;

  constructor(private readonly deps: SessionStrategyDeps) {
    this.signIn = deps.signIn;
  }

  async authenticate(headers: IncomingHttpHeaders): Promise<UserContext> {
    for (const { resolve } of this.deps.credentials) {
      const user = await resolve(headers);
      if (user) return user;
    }
    const cookie = sessionCookieOf(headers);
    const session = cookie === null ? null : await this.#session(cookie);
    if (!session) throw new Unauthenticated();
    const { organizations, tokensOf } = this.deps;
    const userId = session.user.id;
    return {
      userId,
      authType: 'cookie',
      tokens: tokensOf(userId),
      ...(organizations
        ? { organization: organizations.contextOf(session.activeOrganizationId, userId) }
        : {}),
    };
  }

  async #session(cookie: string): Promise<Session | null> {
    const { sessions, realm, admits, renew } = this.deps;
    const session = await sessions.find(cookie, realm);
    if (!session || !admits(session.user)) return null;
    const isDue = (expireAt: Date | null): boolean =>
      expireAt !== null && expireAt.getTime() < (this.deps.now?.() ?? Date.now()) + RENEW_BEFORE_MS;
    if (!renew || !isDue(session.tokensExpireAt)) return session;
    return sessions.renew(session, isDue, (held) => renew(session, held));
  }
}
