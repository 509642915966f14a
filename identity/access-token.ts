/** The signed tokens with which agents fetch a user's git token (contract 8.1). */
import { decodeProtectedHeader, errors, jwtVerify, SignJWT } from 'jose';
import { z } from 'zod';
import { GitProvider } from '../contract/primitives.js';
import { DerivedKeys, type KeyRing, type MasterKey } from './key-ring.js';

/** Whose token of which provider its holder may fetch. */
export interface AccessGrant {
  /** Null for the one user of an instance without identity. */
  userId: string | null;
  providerType: GitProvider;
  /** The organization in whose name its holder acts: the user must still belong to it. Null for none. */
  organizationId?: string | null;
}

/** Longer than conversations usually live; a resumed start issues a new one. */
const LIFETIME_SECONDS = 14 * 24 * 3600;

const Claims = z.object({
  user_id: z.string().nullable(),
  provider_type: GitProvider,
  org_id: z.string().optional(),
  iat: z.number(),
  exp: z.number(),
});

/** Issues and verifies access tokens: JWS, HS256, key id in `kid`; the newest key signs, all verify. */
export class AccessTokens {
  readonly #keys: DerivedKeys;

  /**
   * @param keys the master keys, newest first; none is an error.
   * @param lifetimeSeconds how long a token is good for.
   */
  constructor(
    keys: KeyRing | readonly MasterKey[],
    private readonly lifetimeSeconds: number = LIFETIME_SECONDS,
  ) {
    this.#keys = new DerivedKeys(keys, 'callboard access token', 'sign');
  }

  /** @param now time of issue. */
  async issue({ userId, providerType, organizationId }: AccessGrant, now = new Date()): Promise<string> {
    const issued = Math.floor(now.getTime() / 1000);
    const { id, key } = await this.#keys.newest();
    return new SignJWT({
      user_id: userId,
      provider_type: providerType,
      ...(organizationId ? { org_id: organizationId } : {}),
    })
      .setProtectedHeader({ alg: 'HS256', kid: id })
      .setIssuedAt(issued)
      .setExpirationTime(issued + this.lifetimeSeconds)
      .sign(key);
  }

  /**
   * What a token grants.
   * @throws {InvalidAccessToken} for anything that this instance has not issued, or not for today.
   */
  async verify(token: string, now = new Date()): Promise<AccessGrant> {
    try {
      const { kid } = decodeProtectedHeader(token);
      const { payload } = await jwtVerify(token, await this.#key(kid ?? ''), {
        algorithms: ['HS256'],
        currentDate: now,
      });
      const claims = Claims.parse(payload);
      return {
        userId: claims.user_id,
        providerType: claims.provider_type,
        organizationId: claims.org_id ?? null,
      };
    } catch (error) {
      if (error instanceof InvalidAccessToken) throw error;
      // A token that is no token at all makes `decodeProtectedHeader` throw a TypeError.
      if (error instanceof errors.JOSEError || error instanceof z.ZodError || error instanceof TypeError) {
        throw new InvalidAccessToken({ cause: error });
      }
      throw error;
    }
  }

  async #key(id: string) {
    const key = await this.#keys.find(id);
    if (!key) throw new InvalidAccessToken();
    return key;
  }
}

/** A token that grants nothing; the message tells nothing of why, because its reader is whoever sent it. */
export class InvalidAccessToken extends Error {
  constructor(options?: ErrorOptions) {
    super('Unauthorized', options);
    this.name = 'InvalidAccessToken';
  }
}
