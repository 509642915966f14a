import { errors, jwtVerify, type JWTPayload } from 'jose';
import type { IncomingHttpHeaders } from 'node:http';
import { Unauthenticated, type CredentialResolver } from './auth-strategy.js';
import { BoundedCache } from './bounded-cache.js';
import {
  OIDC_ALGORITHMS,
  OIDC_CLOCK_TOLERANCE_SECONDS,
  unavailable,
  type OidcClient,
} from './oidc-client.js';
import { profileFrom } from './oidc-claims.js';
import { chooseOrganization, type Membership, type OrganizationDirectory } from './organizations.js';
import type { TokensOf } from './secrets-token-provider.js';
import type { UserContext } from './user-context.js';
import type { UserProfile, UserRepository } from './users.js';

export interface OidcBearerDeps {
  client: OidcClient;
  /** Access tokens must be meant for this audience. */
  audience: string;
  users: Pick<UserRepository, 'ensure'>;
  organizations: Pick<OrganizationDirectory, 'contextOf' | 'membershipsOf'>;
  tokensOf: TokensOf;
}

/** How long it is remembered which organization a user is in, in milliseconds. */
const MEMBERSHIP_FRESH_FOR_MS = 30_000;
const MOST_USERS = 10_000;

/** Access tokens of the identity provider, as `Authorization: Bearer`: signed, for us, in time, and no ID tokens. */
export class OidcBearer implements CredentialResolver {
  readonly #organizations = new BoundedCache<Membership | null>(MEMBERSHIP_FRESH_FOR_MS, MOST_USERS);

  constructor(private readonly deps: OidcBearerDeps) {}

  /** @throws {Unauthenticated} for a JWT that is not good; what is no JWT is left to others */
  readonly resolve = async (headers: IncomingHttpHeaders): Promise<UserContext | null> => {
    const token = /^Bearer\s+([\w-]+\.[\w-]+\.[\w-]+)\s*$/i.exec(headers.authorization ?? '')?.[1];
    if (token === undefined) return null;
    const profile = profileFrom(await this.#claims(token));
    const active = await this.#organizations.get(profile.id, () => this.#firstSeen(profile));
    const { organizations, tokensOf } = this.deps;
    return {
      userId: profile.id,
      authType: 'bearer',
      tokens: tokensOf(profile.id),
      organization: organizations.contextOf(active?.organizationId ?? null, profile.id),
    };
  };

  /** A person may come with a token before ever signing in. */
  async #firstSeen(profile: UserProfile): Promise<Membership | null> {
    await this.deps.users.ensure(profile);
    return chooseOrganization(await this.deps.organizations.membershipsOf(profile.id), null) ?? null;
  }

  async #claims(token: string): Promise<JWTPayload> {
    const { client, audience } = this.deps;
    try {
      const { payload, protectedHeader } = await jwtVerify(token, await client.keys(), {
        issuer: client.options.issuer,
        audience,
        algorithms: OIDC_ALGORITHMS,
        clockTolerance: OIDC_CLOCK_TOLERANCE_SECONDS,
        requiredClaims: ['sub', 'exp'],
      });
      if (isAccessToken(payload, protectedHeader.typ)) return payload;
    } catch (error) {
      // The key set may be out of reach, which is not the caller's fault.
      const unreachable = error instanceof errors.JWKSTimeout || !(error instanceof errors.JOSEError);
      if (unreachable) throw unavailable(error);
    }
    throw new Unauthenticated();
  }
}

/** ID, refresh and logout tokens are signed by the same keys and must not open anything. */
function isAccessToken(payload: JWTPayload, typ: string | undefined): boolean {
  if (typ?.toLowerCase() === 'at+jwt' || typ?.toLowerCase() === 'application/at+jwt') return true;
  if (typ !== undefined && typ.toUpperCase() !== 'JWT') return false;
  if (payload['typ'] !== undefined) return payload['typ'] === 'Bearer';
  return !['nonce', 'at_hash', 'c_hash', 'events'].some((claim) => claim in payload);
}
