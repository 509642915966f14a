/** GitHub's OAuth web flow (authorization code with state and PKCE) and the renewal of its user tokens. */
import { createHash } from 'node:crypto';
import { z } from 'zod';
import type { RenewedProviderToken } from './secrets-token-provider.js';
import { IdentityProviderUnavailable, SignInRefused } from './sign-in.js';

export interface GitHubOptions {
  clientId: string;
  clientSecret: string;
  /** `https://github.com`, or an enterprise server's address; without trailing slash. */
  url: string;
  /** Its API; null for the one that belongs to `url`. */
  apiUrl: string | null;
  /** Scopes of an OAuth app, space-separated; a GitHub App ignores them. */
  scopes: string;
}

/** A person at GitHub. */
export interface GitHubUser {
  /** Numeric, stable: what a person is known by. */
  id: number;
  login: string;
  name: string | null;
  email: string | null;
}

/** How long GitHub may take, in milliseconds. */
const LIMIT_MS = 10_000;
/** Longest answer that is read, in characters. */
const LONGEST_ANSWER = 1_000_000;

const Granted = z.object({
  access_token: z.string().min(1),
  token_type: z.string().regex(/^bearer$/i),
  /** Seconds; only tokens of a GitHub App expire. */
  expires_in: z.number().positive().nullish(),
  refresh_token: z.string().min(1).nullish(),
});
/** GitHub says what is wrong in an answer with status 200. */
const Refused = z.object({ error: z.string() });
const User = z.object({
  id: z.int().positive(),
  login: z.string().min(1),
  name: z.string().nullish(),
  email: z.string().nullish(),
});

/** An OAuth App or GitHub App at github.com or at an enterprise server. */
export class GitHubOAuth {
  readonly #apiUrl: string;

  constructor(
    private readonly options: GitHubOptions,
    private readonly now: () => number = Date.now,
  ) {
    this.#apiUrl =
      options.apiUrl ??
      (options.url === 'https://github.com' ? 'https://api.github.com' : `${options.url}/api/v3`);
  }

  /** Host of the tokens, as provider tokens name it; null for github.com. */
  get host(): string | null {
    return this.options.url === 'https://github.com' ? null : this.options.url;
  }

  authorizationUrl(given: { state: string; codeVerifier: string; redirectUri: string }): string {
    const url = new URL(`${this.options.url}/login/oauth/authorize`);
    url.search = new URLSearchParams({
      client_id: this.options.clientId,
      redirect_uri: given.redirectUri,
      scope: this.options.scopes,
      state: given.state,
      code_challenge: createHash('sha256').update(given.codeVerifier).digest('base64url'),
      code_challenge_method: 'S256',
      allow_signup: 'false',
    }).toString();
    return url.href;
  }

  /**
   * Redeems the code of a callback.
   * @throws {SignInRefused} when GitHub does not take the code, {IdentityProviderUnavailable}
   */
  async redeem(given: {
    code: string;
    codeVerifier: string;
    redirectUri: string;
  }): Promise<RenewedProviderToken> {
    const granted = await this.#token({
      code: given.code,
      code_verifier: given.codeVerifier,
      redirect_uri: given.redirectUri,
    });
    if ('error' in granted) {
      throw new SignInRefused('stale', 'GitHub did not accept this sign-in: sign in again.', {
        cause: new Error(granted.error),
      });
    }
    return granted;
  }

  /**
   * Renews a user token; GitHub gives a new refresh token with it, and the old one ends.
   * @returns null when GitHub will never renew it
   * @throws {IdentityProviderUnavailable}
   */
  async renew(refreshToken: string): Promise<RenewedProviderToken | null> {
    const granted = await this.#token({ grant_type: 'refresh_token', refresh_token: refreshToken });
    if (!('error' in granted)) return granted;
    if (granted.error === 'bad_refresh_token') return null;
    throw new IdentityProviderUnavailable({ cause: new Error(granted.error) });
  }

  /** Whose token it is. @throws {IdentityProviderUnavailable} */
  async user(token: string): Promise<GitHubUser> {
    const answer = await this.#ask(`${this.#apiUrl}/user`, {
      headers: {
        Accept: 'application/vnd.github+json',
        Authorization: `Bearer ${token}`,
        'User-Agent': 'callboard',
      },
    });
    const user = User.safeParse(answer);
    if (!user.success) throw new IdentityProviderUnavailable({ cause: user.error });
    return { ...user.data, name: user.data.name ?? null, email: user.data.email ?? null };
  }

  async #token(parameters: Record<string, string>): Promise<RenewedProviderToken | { error: string }> {
    const answer = await this.#ask(`${this.options.url}/login/oauth/access_token`, {
      method: 'POST',
      headers: { Accept: 'application/json', 'User-Agent': 'callboard' },
      body: new URLSearchParams({
        client_id: this.options.clientId,
        client_secret: this.options.clientSecret,
        ...parameters,
      }),
    });
    const refused = Refused.safeParse(answer);
    if (refused.success) return refused.data;
    const granted = Granted.safeParse(answer);
    if (!granted.success) throw new IdentityProviderUnavailable({ cause: granted.error });
    const { access_token: token, refresh_token: refreshToken, expires_in: seconds } = granted.data;
    return {
      token,
      refreshToken: refreshToken ?? null,
      expiresAt: seconds ? new Date(this.now() + seconds * 1000) : null,
    };
  }

  /** @throws {IdentityProviderUnavailable} without anything of the request, which holds secrets */
  async #ask(url: string, init: RequestInit): Promise<unknown> {
    try {
      const response = await fetch(url, {
        ...init,
        redirect: 'error', // credentials go to the configured address and nowhere else
        signal: AbortSignal.timeout(LIMIT_MS),
      });
      const text = await response.text();
      if (!response.ok || text.length > LONGEST_ANSWER) throw new Error(`status ${response.status}`);
      return JSON.parse(text) as unknown;
    } catch (error) {
      throw new IdentityProviderUnavailable({ cause: error });
    }
  }
}
