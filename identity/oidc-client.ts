/** An OpenID Connect provider as a client sees it: found by discovery, asked with a limit, its errors sorted. */
import { createRemoteJWKSet, type JWTVerifyGetKey } from 'jose';
import * as openid from 'openid-client';
import { BoundedCache } from './bounded-cache.js';
import { IdentityProviderUnavailable, SignInRefused } from './sign-in.js';

export interface OidcOptions {
  /** Exactly as the provider names itself. */
  issuer: string;
  /** Where its description is read, where that is not below the issuer (a network of containers); null otherwise. */
  discoveryUrl: string | null;
  clientId: string;
  /** Null for a public client, which PKCE alone protects. */
  clientSecret: string | null;
}

/** How long the provider may take to answer, in seconds. */
const LIMIT_SECONDS = 10;
/** How far its clock and ours may be apart, in seconds. */
export const OIDC_CLOCK_TOLERANCE_SECONDS = 30;
/** How long its description counts, in milliseconds. */
const FRESH_FOR_MS = 60 * 60_000;
const KEYS_FRESH_FOR_MS = 10 * 60_000;

/** Asymmetric only: a token signed with a shared secret could be anybody's. */
export const OIDC_ALGORITHMS = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
];

/** Answers that contradict what we asked, or are not signed as they should be. */
const NOT_TO_BE_TRUSTED = new Set([
  'OAUTH_JWT_CLAIM_COMPARISON_FAILED',
  'OAUTH_JWT_TIMESTAMP_CHECK_FAILED',
  'OAUTH_JSON_ATTRIBUTE_COMPARISON_FAILED',
  'OAUTH_INVALID_RESPONSE',
  'OAUTH_KEY_SELECTION_FAILED',
]);

/** Finds the provider when it is first needed; one that is away now may be there a moment later. */
export class OidcClient {
  readonly #configuration = new BoundedCache<openid.Configuration>(FRESH_FOR_MS, 1);

  readonly #keys = new BoundedCache<JWTVerifyGetKey>(KEYS_FRESH_FOR_MS, 1);

  constructor(readonly options: OidcOptions) {}

  /** The keys by which the provider signs. @throws {IdentityProviderUnavailable} */
  keys(): Promise<JWTVerifyGetKey> {
    return this.#keys.get('', async () => {
      const { jwks_uri } = (await this.configuration()).serverMetadata();
      if (!jwks_uri) throw new Error('the identity provider names no keys');
      return createRemoteJWKSet(new URL(jwks_uri), { timeoutDuration: 5_000 });
    });
  }

  /** @throws {IdentityProviderUnavailable} */
  configuration(): Promise<openid.Configuration> {
    return this.#configuration.get('', () => this.#discover());
  }

  async #discover(): Promise<openid.Configuration> {
    const { issuer, discoveryUrl, clientId, clientSecret } = this.options;
    const description = discoveryUrl ?? `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`;
    // The configuration admits http on this machine and within a network of containers only.
    const plain = [issuer, description].some((address) => new URL(address).protocol === 'http:');
    const found = await openid
      .discovery(
        new URL(description),
        clientId,
        { [openid.clockTolerance]: OIDC_CLOCK_TOLERANCE_SECONDS },
        clientSecret === null ? openid.None() : openid.ClientSecretPost(clientSecret),
        // eslint-disable-next-line @typescript-eslint/no-deprecated -- marked so to stand out, not to go away
        { timeout: LIMIT_SECONDS, execute: plain ? [openid.allowInsecureRequests] : [] },
      )
      .catch((error: unknown) => {
        throw new IdentityProviderUnavailable({ cause: error });
      });
    const named = found.serverMetadata().issuer;
    if (named !== issuer) {
      throw new IdentityProviderUnavailable({
        cause: new Error(`the provider calls itself ${named}, the configuration calls it ${issuer}`),
      });
    }
    return found;
  }
}

/** What an error of a sign-in means to the person in the browser. */
export function signInError(error: unknown): Error {
  if (error instanceof openid.AuthorizationResponseError) {
    const reason = /^\w{1,50}$/.test(error.error) ? ` (${error.error})` : '';
    return new SignInRefused('denied', `The identity provider did not let you in${reason}.`, {
      cause: error,
    });
  }
  const code = error instanceof openid.ResponseBodyError ? error.error : codeOf(error);
  if (code === 'invalid_grant' || NOT_TO_BE_TRUSTED.has(code)) {
    return new SignInRefused(
      'stale',
      'The answer of the identity provider is not acceptable: sign in again.',
      {
        cause: error,
      },
    );
  }
  return unavailable(error);
}

/** Whether the provider says that a refresh token is good for nothing any more. */
export const isRefused = (error: unknown): boolean =>
  error instanceof openid.ResponseBodyError && error.error === 'invalid_grant';

/** Anything else: it may work in a moment, or the configuration is wrong, which the log says. */
export const unavailable = (error: unknown): IdentityProviderUnavailable =>
  error instanceof IdentityProviderUnavailable ? error : new IdentityProviderUnavailable({ cause: error });

const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
