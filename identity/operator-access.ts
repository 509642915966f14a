/** Who may look into Temporal's payloads: whoever holds the operator's key. */
import { errors, jwtVerify, SignJWT } from 'jose';
import { createHash, timingSafeEqual } from 'node:crypto';
import type { Secret } from '../contract/masking.js';
import { DerivedKeys, type KeyRing, type MasterKey } from './key-ring.js';

/** How long a browser that has shown the key once is let in, in seconds. */
export const OPERATOR_SESSION_SECONDS = 8 * 3600;

const sha256 = (text: string): Buffer => createHash('sha256').update(text).digest();

/** Checks the operator's key, and makes sessions for browsers, which cannot be made to send a key. */
export class OperatorAccess {
  readonly #keys: DerivedKeys;

  /** @param operatorKey null lets nobody in. */
  constructor(
    private readonly operatorKey: Secret | null,
    keys: KeyRing | readonly MasterKey[],
  ) {
    this.#keys = new DerivedKeys(keys, 'callboard operator session', 'sign');
  }

  get isOn(): boolean {
    return this.operatorKey !== null;
  }

  /** Compares without telling by its duration how much of the key was right. */
  isKey(given: string): boolean {
    return this.operatorKey !== null && timingSafeEqual(sha256(given), sha256(this.operatorKey.reveal()));
  }

  /** A token that stands for the key for some hours, and no longer than the key is the same. */
  async newSession(now = new Date()): Promise<string> {
    const { id, key } = await this.#keys.newest();
    const seconds = Math.floor(now.getTime() / 1000);
    return new SignJWT({ operator: this.#fingerprint() })
      .setProtectedHeader({ alg: 'HS256', kid: id })
      .setIssuedAt(seconds)
      .setExpirationTime(seconds + OPERATOR_SESSION_SECONDS)
      .sign(key);
  }

  async isSession(token: string, now = new Date()): Promise<boolean> {
    if (this.operatorKey === null) return false;
    try {
      const { payload } = await jwtVerify(
        token,
        async ({ kid }) => {
          const key = await this.#keys.find(kid ?? '');
          if (!key) throw new errors.JWKSNoMatchingKey();
          return key;
        },
        { algorithms: ['HS256'], currentDate: now, requiredClaims: ['exp'] },
      );
      return payload['operator'] === this.#fingerprint();
    } catch (error) {
      if (error instanceof errors.JOSEError) return false; // malformed, forged, too old, or under a key that is gone
      throw error;
    }
  }

  #fingerprint(): string {
    return sha256(`callboard operator\0${this.operatorKey?.reveal() ?? ''}`).toString('base64url');
  }
}
