import type { GitHubOAuth, GitHubUser } from './github-oauth.js';
import { SignInRefused, type Arrival, type IdentityProvider } from './sign-in.js';
import type { SignInState } from './sign-in-states.js';
import type { UserProfile } from './users.js';

/** Sessions of the single-user mode. */
export const GITHUB_REALM = 'github';

/**
 * Whether a person is the one account that is let in: by numeric id where `allowed` is a number, which never passes to
 * somebody else, by login otherwise.
 */
export function isAllowed(allowed: string, { id, login }: Pick<UserProfile, 'id' | 'login'>): boolean {
  return /^\d+$/.test(allowed) ? id === allowed : login?.toLowerCase() === allowed.toLowerCase();
}

/** GitHub as the identity provider of one preconfigured person (contract 13, SU). Nobody is bound by coming first. */
export class GitHubIdentityProvider implements IdentityProvider {
  readonly realm = GITHUB_REALM;

  constructor(
    private readonly github: Pick<GitHubOAuth, 'authorizationUrl' | 'redeem' | 'user' | 'host'>,
    private readonly allowed: string,
  ) {}

  authorizationUrl(state: SignInState & { state: string }): Promise<string> {
    return Promise.resolve(this.github.authorizationUrl(state));
  }

  async redeem(url: URL, state: SignInState): Promise<Arrival> {
    const code = url.searchParams.get('code');
    if (!code) {
      throw new SignInRefused(
        'denied',
        'GitHub was not allowed to say who you are: sign in again to allow it.',
      );
    }
    const token = await this.github.redeem({ ...state, code });
    const user = profileOf(await this.github.user(token.token));
    if (!isAllowed(this.allowed, user)) {
      throw new SignInRefused('denied', 'This server belongs to another GitHub account.');
    }
    return {
      user,
      tokens: null,
      tokensExpireAt: null,
      providerSession: null,
      memberships: null,
      providerToken: {
        provider: 'github',
        token: { ...token, host: this.github.host, userId: user.id },
      },
    };
  }

  /** GitHub's own session is not ours to end. */
  end(): Promise<null> {
    return Promise.resolve(null);
  }
}

const profileOf = ({ id, login, name, email }: GitHubUser): UserProfile => ({
  id: String(id),
  login,
  name,
  email,
});
