/** Signing in through a browser, whoever the identity provider is: what is the same for all of them. */
import { randomBytes } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import type { GitProvider } from '../contract/primitives.js';
import { chooseOrganization, type ClaimedMembership, type OrganizationDirectory } from './organizations.js';
import type { NewProviderToken, ProviderTokenStore } from './provider-token-store.js';
import { sessionCookieOf, SignInCookies, signInCookieOf } from './session-cookie.js';
import type { SessionStore, SessionTokens } from './sessions.js';
import { SIGN_IN_LIMIT_MS, type SignInState, type SignInStates } from './sign-in-states.js';
import type { UserProfile, UserRepository } from './users.js';

/** The path of the callback: below the public address, it is what is registered with the identity provider. */
export const CALLBACK_PATH = '/api/auth/callback';

/** Who came back from an identity provider, and with what. */
export interface Arrival {
  user: UserProfile;
  /** Tokens to keep with the session; null where nothing has to be kept fresh. */
  tokens: SessionTokens | null;
  tokensExpireAt: Date | null;
  /** The provider's id of its own session. */
  providerSession: string | null;
  /** Null where claims say nothing of organizations. */
  memberships: readonly ClaimedMembership[] | null;
  /** A git-provider token that came with it, to be stored as the user's. */
  providerToken: { provider: GitProvider; token: NewProviderToken } | null;
}

/** An identity provider as signing in needs it; one adapter per protocol. */
export interface IdentityProvider {
  /** Names this way of signing in; sessions of another realm do not count. */
  readonly realm: string;
  /** Where a browser is sent. */
  authorizationUrl(state: SignInState & { state: string }): Promise<string>;
  /**
   * Redeems what the browser came back with.
   * @param url the callback's full address.
   * @throws {SignInRefused} when this person is not let in, {IdentityProviderUnavailable}
   */
  redeem(url: URL, state: SignInState & { state: string }): Promise<Arrival>;
  /**
   * Tells the provider that a session is over, as far as it wants to know.
   * @returns where the browser ends the provider's own session; null where there is no such place
   */
  end(tokens: SessionTokens | null, returnTo: string): Promise<string | null>;
  /**
   * Reads what the provider sends when it ends sessions; absent where providers send nothing.
   * @returns null when it is not the provider's word
   * @throws {IdentityProviderUnavailable}
   */
  readLogoutToken?(token: string): Promise<ProviderLogout | null>;
}

/** The word of an identity provider that a session of its own is over, or all of a person. */
export interface ProviderLogout {
  userId: string | null;
  providerSession: string | null;
  /** Sessions that began later are not meant. */
  begunBefore: Date;
  /** Names this word, which counts once. */
  id: string;
  /** Until when it could come again. */
  rememberUntil: Date;
}

/** Nobody is let in by this sign-in; the message is for the person in the browser. */
export class SignInRefused extends Error {
  override readonly name = 'SignInRefused';
  /** @param reason `stale` when signing in again helps, `denied` when it does not. */
  constructor(
    readonly reason: 'stale' | 'denied',
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** The identity provider cannot be asked now; what was asked may be asked again. */
export class IdentityProviderUnavailable extends Error {
  override readonly name = 'IdentityProviderUnavailable';
  constructor(options?: ErrorOptions) {
    super('The identity provider does not answer; try again in a few seconds.', options);
  }
}

/** An answer to a browser: where it goes next, and the cookies it gets. */
export interface BrowserStep {
  location: string;
  /** Values of `Set-Cookie`. */
  cookies: string[];
}

/** What the routes of signing in call; a strategy without it knows no browsers. */
export interface SignIn {
  /** Sends a browser to the identity provider. `baseUrl` is the address under which the browser reached us. */
  begin(request: { baseUrl: string; returnTo: string; organization: string | null }): Promise<BrowserStep>;
  /**
   * Lets in whoever comes back, under a new session; an old one of the same browser ends.
   * @param search the callback's query, with its question mark.
   * @throws {SignInRefused}
   */
  complete(request: { baseUrl: string; search: string; headers: IncomingHttpHeaders }): Promise<BrowserStep>;
  /** Ends the session of a browser; without one it still clears its cookie. `location` may be empty: stay. */
  end(request: { baseUrl: string; headers: IncomingHttpHeaders }): Promise<BrowserStep>;
  /** Ends all sessions of a user. */
  endAll(userId: string): Promise<void>;
  /**
   * Ends what the identity provider says is over; absent where it says nothing.
   * @returns false when the token is not good, or came before
   * @throws {IdentityProviderUnavailable}
   */
  endByProvider?(logoutToken: string): Promise<boolean>;
}

export interface BrowserSignInDeps {
  provider: IdentityProvider;
  states: Pick<SignInStates, 'begin' | 'take' | 'useOnce'>;
  sessions: Pick<SessionStore, 'begin' | 'find' | 'end' | 'endAllOf' | 'endByProvider' | 'tokensOf'>;
  users: Pick<UserRepository, 'save'>;
  organizations: Pick<OrganizationDirectory, 'replaceClaimed' | 'membershipsOf'>;
  providerTokens: Pick<ProviderTokenStore, 'putProviderToken'>;
}

const STALE =
  'This sign-in is not known in this browser, was used already, or took longer than 10 minutes: sign in again.';

/** 43 characters of base64url: a PKCE verifier (RFC 7636), and as good a nonce. */
const randomVerifier = (): string => randomBytes(32).toString('base64url');

/** Signing in by redirects: state, PKCE and nonce made here, kept encrypted, good once and in one browser only. */
export class BrowserSignIn implements SignIn {
  readonly endByProvider?: (logoutToken: string) => Promise<boolean>;

  constructor(private readonly deps: BrowserSignInDeps) {
    const { provider, sessions, states } = deps;
    if (!provider.readLogoutToken) return;
    this.endByProvider = async (logoutToken) => {
      const logout = await provider.readLogoutToken?.(logoutToken);
      if (!logout) return false;
      // Used up when it is done: a provider that was told of a failure sends it again.
      await sessions.endByProvider(provider.realm, logout);
      return states.useOnce(provider.realm, `logout/${logout.id}`, logout.rememberUntil);
    };
  }

  async begin({ baseUrl, returnTo, organization }: Parameters<SignIn['begin']>[0]): Promise<BrowserStep> {
    const { provider, states } = this.deps;
    const content: SignInState = {
      codeVerifier: randomVerifier(),
      nonce: randomVerifier(),
      redirectUri: `${baseUrl}${CALLBACK_PATH}`,
      returnTo,
      organization,
    };
    const { state, browserSecret } = await states.begin(provider.realm, content);
    const location = await provider.authorizationUrl({ ...content, state });
    const cookies = new SignInCookies(baseUrl);
    return { location, cookies: [cookies.signIn(state, browserSecret, SIGN_IN_LIMIT_MS / 1000)] };
  }

  async complete({ baseUrl, search, headers }: Parameters<SignIn['complete']>[0]): Promise<BrowserStep> {
    const { provider, states, sessions, users, organizations, providerTokens } = this.deps;
    const given = new URLSearchParams(search).getAll('state');
    const [state] = given;
    if (state === undefined || given.length > 1) throw new SignInRefused('stale', STALE);
    const remembered = await states.take(provider.realm, state, signInCookieOf(headers, state));
    if (!remembered) throw new SignInRefused('stale', STALE);
    const url = new URL(remembered.redirectUri);
    url.search = search;
    const arrival = await provider.redeem(url, { ...remembered, state });

    const { user } = arrival;
    await users.save(user);
    if (arrival.memberships) await organizations.replaceClaimed(user.id, arrival.memberships);
    const active = chooseOrganization(await organizations.membershipsOf(user.id), remembered.organization);
    if (active === undefined) {
      throw new SignInRefused('denied', 'You do not belong to the organization you asked for.');
    }
    if (arrival.providerToken) {
      await providerTokens.putProviderToken(
        user.id,
        arrival.providerToken.provider,
        arrival.providerToken.token,
      );
    }
    const old = await this.#sessionOf(headers);
    if (old) await sessions.end(old.idHash);
    const { cookie, maxAgeSeconds } = await sessions.begin({
      userId: user.id,
      realm: provider.realm,
      providerSession: arrival.providerSession,
      tokens: arrival.tokens,
      tokensExpireAt: arrival.tokensExpireAt,
      activeOrganizationId: active?.organizationId ?? null,
    });
    const cookies = new SignInCookies(baseUrl);
    return {
      location: remembered.returnTo,
      cookies: [cookies.session(cookie, maxAgeSeconds), cookies.noSignIn(state)],
    };
  }

  async end({ baseUrl, headers }: Parameters<SignIn['end']>[0]): Promise<BrowserStep> {
    const { provider, sessions } = this.deps;
    const session = await this.#sessionOf(headers);
    const cookies = [new SignInCookies(baseUrl).noSession()];
    if (!session) return { location: '', cookies };
    const tokens = await sessions.tokensOf(session.idHash);
    await sessions.end(session.idHash);
    // The session is over on our side, whatever the provider says to it.
    return { location: (await provider.end(tokens, `${baseUrl}/`)) ?? '', cookies };
  }

  async endAll(userId: string): Promise<void> {
    await this.deps.sessions.endAllOf(userId);
  }

  async #sessionOf(headers: IncomingHttpHeaders) {
    const cookie = sessionCookieOf(headers);
    return cookie === null ? null : this.deps.sessions.find(cookie, this.deps.provider.realm);
  }
}
