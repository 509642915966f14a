/** What an identity provider says when it ends a session (OpenID Connect Back-Channel Logout 1.0, section 2.4 and 2.6). */
import { errors, jwtVerify } from 'jose';
import {
  OIDC_ALGORITHMS,
  OIDC_CLOCK_TOLERANCE_SECONDS,
  unavailable,
  type OidcClient,
} from './oidc-client.js';
import type { ProviderLogout } from './sign-in.js';

/** How old a token may be, whatever it says of its expiry, in seconds: providers send it at once. */
const OLDEST_SECONDS = 600;
const EVENT = 'http://schemas.openid.net/event/backchannel-logout';
const TYPES = new Set(['jwt', 'logout+jwt', 'application/logout+jwt']);

/**
 * Checks a logout token: signed by the provider, for this client, fresh, about a logout, and no ID token.
 * @returns null when it is not good
 * @throws {IdentityProviderUnavailable} when the provider's keys are out of reach
 */
export async function readLogoutToken(client: OidcClient, token: string): Promise<ProviderLogout | null> {
  try {
    const { payload, protectedHeader } = await jwtVerify(token, await client.keys(), {
      issuer: client.options.issuer,
      audience: client.options.clientId,
      algorithms: OIDC_ALGORITHMS,
      clockTolerance: OIDC_CLOCK_TOLERANCE_SECONDS,
      maxTokenAge: OLDEST_SECONDS,
      requiredClaims: ['jti', 'iat'],
    });
    const { sub, sid, jti, iat, nonce, events } = payload as Record<string, unknown>;
    const isLogout =
      TYPES.has((protectedHeader.typ ?? 'jwt').toLowerCase()) &&
      nonce === undefined &&
      isObject(memberOf(events));
    const [userId, providerSession] = [textOrNull(sub), textOrNull(sid)];
    if (!isLogout || userId === undefined || providerSession === undefined) return null;
    if (typeof jti !== 'string' || jti === '' || (userId ?? providerSession) === null) return null;
    const at = (seconds: number) => new Date((Number(iat) + seconds) * 1000);
    return {
      userId,
      providerSession,
      begunBefore: at(OIDC_CLOCK_TOLERANCE_SECONDS),
      id: jti,
      rememberUntil: at(OLDEST_SECONDS + 2 * OIDC_CLOCK_TOLERANCE_SECONDS),
    };
  } catch (error) {
    const unreachable = error instanceof errors.JWKSTimeout || !(error instanceof errors.JOSEError);
    if (unreachable) throw unavailable(error);
    return null;
  }
}

const memberOf = (events: unknown): unknown => (isObject(events) ? events[EVENT] : undefined);

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Undefined for what is neither absent nor a text of a subject or a session. */
const textOrNull = (value: unknown): string | null | undefined => {
  if (value === undefined) return null;
  return typeof value === 'string' && value !== '' && !value.includes('\0') ? value : undefined;
};
