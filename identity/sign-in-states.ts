import { randomBytes, timingSafeEqual } from 'node:crypto';
import { and, eq, inArray, lt } from 'drizzle-orm';
import type { Database } from '../db/database.js';
import { signInStates } from '../db/schema/index.js';
import { lookupHash, type Vault } from './vault.js';

/** What is remembered of a sign-in between the way to the provider and the way back. */
export interface SignInState {
  /** PKCE: proves to the provider that who redeems the code is who asked for it. */
  codeVerifier: string;
  /** Ties the ID token to this sign-in. */
  nonce: string;
  /** Exactly as it was sent to the provider. */
  redirectUri: string;
  /** Where the browser goes afterwards. */
  returnTo: string;
  /** Organization asked for, by name. */
  organization: string | null;
}

/** How long a person may take at the provider, in milliseconds. */
export const SIGN_IN_LIMIT_MS = 10 * 60_000;
/** Abandoned sign-ins removed each time that one begins. */
const SWEEP = 100;

/** Sign-ins under way: each state is good once, for a short time, in the browser that began it. */
export class SignInStates {
  constructor(
    private readonly deps: {
      database: Database;
      vault: Pick<Vault, 'seal' | 'open'>;
      now?: () => Date;
    },
  ) {}

  /** @returns the state for the provider, and the secret for a cookie of this browser */
  async begin(realm: string, content: SignInState): Promise<{ state: string; browserSecret: string }> {
    const { database, vault } = this.deps;
    const state = randomBytes(32).toString('base64url');
    const browserSecret = randomBytes(32).toString('base64url');
    const stateHash = lookupHash(state);
    const now = this.#now();
    const sealed = await vault.seal(
      purpose(stateHash),
      JSON.stringify({ ...content, browserHash: lookupHash(browserSecret) }),
    );
    await database.insert(signInStates).values({
      stateHash,
      realm,
      content: sealed,
      expiresAt: new Date(now.getTime() + SIGN_IN_LIMIT_MS),
    });
    const over = database
      .select({ stateHash: signInStates.stateHash })
      .from(signInStates)
      .where(lt(signInStates.expiresAt, now))
      .limit(SWEEP);
    await database.delete(signInStates).where(inArray(signInStates.stateHash, over));
    return { state, browserSecret };
  }

  /**
   * Takes a sign-in out, so that nobody can take it a second time.
   * @returns null when there is none, it has expired, or another browser began it
   */
  async take(realm: string, state: string, browserSecret: string | null): Promise<SignInState | null> {
    const { database, vault } = this.deps;
    const stateHash = lookupHash(state);
    const [row] = await database
      .delete(signInStates)
      .where(and(eq(signInStates.stateHash, stateHash), eq(signInStates.realm, realm)))
      .returning();
    if (!row || row.expiresAt <= this.#now() || browserSecret === null) return null;
    const { browserHash, ...content } = JSON.parse(
      await vault.open(purpose(stateHash), row.content),
    ) as SignInState & { browserHash: string };
    const same = timingSafeEqual(Buffer.from(browserHash), Buffer.from(lookupHash(browserSecret)));
    return same ? content : null;
  }

  /**
   * Remembers something else of the provider's that is good once, a logout token.
   * @returns false when it was used before
   */
  async useOnce(realm: string, name: string, until: Date): Promise<boolean> {
    const used = await this.deps.database
      .insert(signInStates)
      .values({ stateHash: lookupHash(`${realm}\0${name}`), realm, content: '', expiresAt: until })
      .onConflictDoNothing()
      .returning({ stateHash: signInStates.stateHash });
    return used.length > 0;
  }

  #now(): Date {
    return this.deps.now?.() ?? new Date();
  }
}

const purpose = (stateHash: string): string => `sign-in/${stateHash}`;
