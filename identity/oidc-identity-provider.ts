import * as openid from 'openid-client';
import { isRefused, signInError, unavailable, type OidcClient } from './oidc-client.js';
import { membershipsFrom, profileFrom } from './oidc-claims.js';
import { readLogoutToken } from './oidc-logout-token.js';
import type { OrganizationDirectory } from './organizations.js';
import type { Renewal, Session, SessionTokens } from './sessions.js';
import type { Arrival, IdentityProvider, ProviderLogout } from './sign-in.js';
import type { SignInState } from './sign-in-states.js';
import type { UserRepository } from './users.js';

export interface OidcProviderDeps {
  client: OidcClient;
  /** Space-separated; `openid` among them. */
  scopes: string;
  /** The claim that names organizations; null for none. */
  organizationsClaim: string | null;
  users: Pick<UserRepository, 'save'>;
  organizations: Pick<OrganizationDirectory, 'replaceClaimed'>;
  log: { warn(fields: Record<string, unknown>, message: string): void };
}

/** Where a provider does not say how long its access token lasts, in seconds. */
const USUAL_LIFETIME_SECONDS = 300;

type Grant = openid.TokenEndpointResponse & openid.TokenEndpointResponseHelpers;

/** Any OpenID Connect provider: authorization code with PKCE, state and nonce; refresh, revocation, logout. */
export class OidcIdentityProvider implements IdentityProvider {
  constructor(private readonly deps: OidcProviderDeps) {}

  get realm(): string {
    return this.deps.client.options.issuer;
  }

  async authorizationUrl(given: SignInState & { state: string }): Promise<string> {
    const configuration = await this.deps.client.configuration();
    return openid.buildAuthorizationUrl(configuration, {
      redirect_uri: given.redirectUri,
      scope: this.deps.scopes,
      state: given.state,
      nonce: given.nonce,
      code_challenge: await openid.calculatePKCECodeChallenge(given.codeVerifier),
      code_challenge_method: 'S256',
      // Some providers give refresh tokens only after asking the person.
      ...(this.deps.scopes.split(' ').includes('offline_access') ? { prompt: 'consent' } : {}),
    }).href;
  }

  async redeem(url: URL, state: SignInState & { state: string }): Promise<Arrival> {
    const configuration = await this.deps.client.configuration();
    const grant = await openid
      .authorizationCodeGrant(configuration, url, {
        pkceCodeVerifier: state.codeVerifier,
        expectedState: state.state,
        expectedNonce: state.nonce,
        idTokenExpected: true,
      })
      .catch((error: unknown) => {
        throw signInError(error);
      });
    const claims = await this.#claims(configuration, grant, null);
    const session = grant.claims()?.['sid'];
    if (!grant.refresh_token) {
      this.deps.log.warn(
        { issuer: this.realm },
        'the identity provider gives no refresh token, so sessions end with its access token: check the scopes',
      );
    }
    return {
      user: profileFrom(claims),
      ...tokensOf(grant, null),
      providerSession: typeof session === 'string' ? session : null,
      memberships: this.#memberships(claims),
      providerToken: null,
    };
  }

  /**
   * Renews the tokens of a session, and takes over what the provider now says of its user.
   * @throws {IdentityProviderUnavailable}
   */
  async renew(session: Session, held: SessionTokens): Promise<Renewal> {
    if (held.refreshToken === null) return 'ended';
    const configuration = await this.deps.client.configuration();
    let grant: Grant;
    try {
      grant = await openid.refreshTokenGrant(configuration, held.refreshToken);
    } catch (error) {
      if (isRefused(error)) return 'ended';
      throw unavailable(error);
    }
    const subject = grant.claims()?.sub;
    if (subject !== undefined && subject !== session.user.id) return 'ended';
    return {
      ...renewedTokens(grant, held),
      afterwards: () => this.#takeOver(configuration, grant, session.user.id),
    };
  }

  async end(tokens: SessionTokens | null, returnTo: string): Promise<string | null> {
    try {
      const configuration = await this.deps.client.configuration();
      const { revocation_endpoint, end_session_endpoint } = configuration.serverMetadata();
      if (revocation_endpoint && tokens?.refreshToken) {
        await openid.tokenRevocation(configuration, tokens.refreshToken);
      }
      if (!end_session_endpoint) return null;
      return openid.buildEndSessionUrl(configuration, {
        post_logout_redirect_uri: returnTo,
        ...(tokens?.idToken ? { id_token_hint: tokens.idToken } : {}),
      }).href;
    } catch (error) {
      this.deps.log.warn({ err: error }, 'the identity provider was not told that a session is over');
      return null;
    }
  }

  readLogoutToken(token: string): Promise<ProviderLogout | null> {
    return readLogoutToken(this.deps.client, token);
  }

  /** The claims of the ID token, and of the userinfo endpoint where the token leaves out what we need. */
  async #claims(configuration: openid.Configuration, grant: Grant, subject: string | null) {
    const inToken: Record<string, unknown> = { ...grant.claims() };
    const sub = subject ?? grant.claims()?.sub;
    const { organizationsClaim } = this.deps;
    const named = ['preferred_username', 'email', 'name'].some((claim) => claim in inToken);
    const placed = organizationsClaim === null || membershipsFrom(inToken, organizationsClaim) !== null;
    if ((named && placed) || sub === undefined) return inToken;
    if (!configuration.serverMetadata().userinfo_endpoint) return inToken;
    const more = await openid
      .fetchUserInfo(configuration, grant.access_token, sub)
      .catch((error: unknown) => {
        throw unavailable(error);
      });
    return { ...more, ...inToken };
  }

  /** Null when organizations do not come from claims; a person without the claim belongs to none. */
  #memberships(claims: Record<string, unknown>) {
    const { organizationsClaim } = this.deps;
    return organizationsClaim === null ? null : (membershipsFrom(claims, organizationsClaim) ?? []);
  }

  async #takeOver(configuration: openid.Configuration, grant: Grant, userId: string): Promise<void> {
    try {
      const claims = await this.#claims(configuration, grant, userId);
      await this.deps.users.save(profileFrom({ ...claims, sub: userId }));
      const memberships = this.#memberships(claims);
      if (memberships) await this.deps.organizations.replaceClaimed(userId, memberships);
    } catch (error) {
      // The session is good; what is known of its user stays until the next renewal.
      this.deps.log.warn({ err: error }, 'the claims of a user could not be read anew');
    }
  }
}

function tokensOf(grant: Grant, held: SessionTokens | null) {
  const seconds = grant.expiresIn() ?? USUAL_LIFETIME_SECONDS;
  return {
    tokens: {
      accessToken: grant.access_token,
      refreshToken: grant.refresh_token ?? held?.refreshToken ?? null,
      idToken: grant.id_token ?? held?.idToken ?? null,
    },
    tokensExpireAt: new Date(Date.now() + seconds * 1000),
  };
}

function renewedTokens(grant: Grant, held: SessionTokens) {
  const { tokens, tokensExpireAt } = tokensOf(grant, held);
  return { tokens, expireAt: tokensExpireAt };
}
