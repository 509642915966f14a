/** The cookies of signing in: how they are named, marked, signed and read. */
import { parseCookie, stringifySetCookie } from 'cookie';
import { decodeProtectedHeader, errors, jwtVerify, SignJWT } from 'jose';
import type { IncomingHttpHeaders } from 'node:http';
import { DerivedKeys, type KeyRing, type MasterKey } from './key-ring.js';

const SESSION = 'callboard_session';
const SIGN_IN = 'callboard_signin';

/** How far the clocks of API processes may be apart, in seconds. */
const CLOCK_TOLERANCE_SECONDS = 60;

/** Whether an address is this very machine's: the only place where plain http is no risk. */
export function isLoopback(hostname: string): boolean {
  return (
    hostname === 'localhost' ||
    hostname.endsWith('.localhost') ||
    hostname === '[::1]' ||
    /^127(\.\d{1,3}){3}$/.test(hostname)
  );
}

/**
 * Cookies of one address under which browsers reach us. `Secure` over https, and named `__Host-…` then, so that no
 * other host of the domain can set them; `SameSite=Lax` on this machine, `Strict` elsewhere.
 */
export class SignInCookies {
  readonly #secure: boolean;
  readonly #strict: boolean;

  constructor(baseUrl: string) {
    const { protocol, hostname } = new URL(baseUrl);
    this.#secure = protocol === 'https:';
    this.#strict = !isLoopback(hostname);
  }

  session(value: string, maxAgeSeconds: number): string {
    return this.#set(SESSION, value, maxAgeSeconds, this.#strict ? 'strict' : 'lax');
  }

  noSession(): string {
    return this.#set(SESSION, '', 0, this.#strict ? 'strict' : 'lax');
  }

  /** Always Lax: the browser comes back with it from another site. */
  signIn(state: string, value: string, maxAgeSeconds: number): string {
    return this.#set(`${SIGN_IN}_${labelOf(state)}`, value, maxAgeSeconds, 'lax');
  }

  noSignIn(state: string): string {
    return this.#set(`${SIGN_IN}_${labelOf(state)}`, '', 0, 'lax');
  }

  #set(name: string, value: string, maxAge: number, sameSite: 'lax' | 'strict'): string {
    const fullName = this.#secure ? `__Host-${name}` : name;
    return stringifySetCookie({
      name: fullName,
      value,
      maxAge,
      path: '/',
      httpOnly: true,
      secure: this.#secure,
      sameSite,
    });
  }
}

/** Enough of a state to tell sign-ins of one browser apart. */
const labelOf = (state: string): string => state.slice(0, 12);

/** The session cookie that a browser sent. The `__Host-` one goes first: nobody but us can have set it. */
export const sessionCookieOf = (headers: IncomingHttpHeaders): string | null => cookieOf(headers, SESSION);

/** What a browser was given when it began the sign-in with this state. */
export const signInCookieOf = (headers: IncomingHttpHeaders, state: string): string | null =>
  cookieOf(headers, `${SIGN_IN}_${labelOf(state)}`);

function cookieOf({ cookie }: IncomingHttpHeaders, name: string): string | null {
  if (cookie === undefined) return null;
  const cookies = parseCookie(cookie);
  return cookies[`__Host-${name}`] ?? cookies[name] ?? null;
}

/** Signs session ids for cookies: JWS, HS256, key id in `kid`; the newest key signs, all verify. */
export class CookieSigner {
  readonly #keys: DerivedKeys;

  /** @param keys the master keys, newest first; none is an error. */
  constructor(keys: KeyRing | readonly MasterKey[]) {
    this.#keys = new DerivedKeys(keys, 'callboard session cookie', 'sign');
  }

  /** @param expiresAt when the cookie stops to count. */
  async sign(sessionId: string, expiresAt: Date): Promise<string> {
    const { id, key } = await this.#keys.newest();
    return new SignJWT({ sid: sessionId })
      .setProtectedHeader({ alg: 'HS256', kid: id, typ: 'session' })
      .setExpirationTime(Math.ceil(expiresAt.getTime() / 1000))
      .sign(key);
  }

  /** The session id in a cookie; null for one that we have not signed, or not for today. */
  async verify(value: string, now = new Date()): Promise<string | null> {
    try {
      const key = await this.#keys.find(decodeProtectedHeader(value).kid ?? '');
      if (!key) return null;
      const { payload } = await jwtVerify(value, key, {
        algorithms: ['HS256'],
        typ: 'session',
        currentDate: now,
        clockTolerance: CLOCK_TOLERANCE_SECONDS,
      });
      return typeof payload['sid'] === 'string' ? payload['sid'] : null;
    } catch (error) {
      // What is no token at all makes `decodeProtectedHeader` throw a TypeError.
      if (error instanceof errors.JOSEError || error instanceof TypeError) return null;
      throw error;
    }
  }
}
