import { randomBytes } from 'node:crypto';
import { and, eq, gt, inArray, lt, lte, sql } from 'drizzle-orm';
import pLimit from 'p-limit';
import type { Database } from '../db/database.js';
import { sessions, users } from '../db/schema/index.js';
import { SingleFlight } from './bounded-cache.js';
import type { CookieSigner } from './session-cookie.js';
import type { UserProfile } from './users.js';
import { lookupHash, type Vault } from './vault.js';

/** Tokens of an identity provider that a session keeps. */
export interface SessionTokens {
  accessToken: string;
  refreshToken: string | null;
  /** The newest ID token: the provider wants it when the session ends. */
  idToken: string | null;
}

export interface Session {
  /** Names the session inside the server; it opens nothing. */
  idHash: string;
  user: UserProfile;
  realm: string;
  activeOrganizationId: string | null;
  /** When the identity provider's access token expires; null where there is none to keep fresh. */
  tokensExpireAt: Date | null;
  createdAt: Date;
  expiresAt: Date;
}

export interface NewSession {
  userId: string;
  realm: string;
  providerSession: string | null;
  tokens: SessionTokens | null;
  tokensExpireAt: Date | null;
  activeOrganizationId: string | null;
}

export interface SessionLimits {
  /** How long a session lasts at most, in milliseconds. */
  lifetimeMs: number;
  /** How long it lasts without being used, in milliseconds. */
  idleMs: number;
}

/** What came of renewing tokens: new ones, or the provider's word that the session is over. */
export type Renewal =
  | {
      tokens: SessionTokens;
      expireAt: Date | null;
      /** What else the provider said, to be stored once the tokens are. */
      afterwards?: () => Promise<void>;
    }
  | 'ended';

/** Longest time between two notes of use, in milliseconds: reading costs a write once in it. */
const TOUCH_EVERY_MS = 60_000;
/** Renewals under way at a time: each holds a connection while the provider answers, and must leave some for others. */
const PARALLEL_RENEWALS = 4;
/** Ended sessions removed per sign-in. */
const SWEEP = 100;

/** Sessions of browsers: signed cookie outside, one row inside, found by the hash of its id. */
export class SessionStore {
  readonly #renewals = new SingleFlight<Session | null>();
  readonly #renewalLimit = pLimit(PARALLEL_RENEWALS);

  constructor(
    private readonly deps: {
      database: Database;
      vault: Pick<Vault, 'seal' | 'open'>;
      signer: CookieSigner;
      limits: SessionLimits;
      now?: () => Date;
    },
  ) {}

  /**
   * Begins a session under an id that nobody has known before, and removes sessions that have run out.
   * @returns the cookie's value and how long it is good for, in seconds
   */
  async begin(session: NewSession): Promise<{ cookie: string; maxAgeSeconds: number }> {
    const { database, vault, signer, limits } = this.deps;
    const now = this.#now();
    const id = randomBytes(32).toString('base64url');
    const idHash = lookupHash(id);
    const expiresAt = new Date(now.getTime() + limits.lifetimeMs);
    const { tokens, ...row } = session;
    await database.insert(sessions).values({
      ...row,
      idHash,
      tokens: tokens && (await vault.seal(purpose(idHash), JSON.stringify(tokens))),
      createdAt: now,
      lastSeenAt: now,
      expiresAt,
    });
    await this.#sweep(now);
    return {
      cookie: await signer.sign(id, expiresAt),
      maxAgeSeconds: Math.floor(limits.lifetimeMs / 1000),
    };
  }

  /** The session of a cookie; null when it is forged, expired, idle for too long, ended, or of another realm. */
  async find(cookie: string, realm: string): Promise<Session | null> {
    const now = this.#now();
    const id = await this.deps.signer.verify(cookie, now);
    if (id === null) return null;
    const found = await this.#read(lookupHash(id), now);
    if (found?.session.realm !== realm) return null;
    if (found.lastSeenAt.getTime() < now.getTime() - TOUCH_EVERY_MS) {
      await this.#touch(found.session.idHash, now);
    }
    return found.session;
  }

  /** The tokens that a session keeps. */
  async tokensOf(idHash: string): Promise<SessionTokens | null> {
    const [row] = await this.deps.database
      .select({ tokens: sessions.tokens })
      .from(sessions)
      .where(eq(sessions.idHash, idHash));
    if (!row?.tokens) return null;
    return JSON.parse(await this.deps.vault.open(purpose(idHash), row.tokens)) as SessionTokens;
  }

  /**
   * Renews the tokens of a session exactly once, however many requests of however many processes find them expired at
   * the same time: the first one does it under a lock, the others find it done.
   * @param isDue whether tokens with this expiry have to be renewed.
   * @param renew asks the provider; what it throws leaves the session as it is.
   * @returns the session as it is now; null when it is over
   */
  async renew(
    session: Session,
    isDue: (tokensExpireAt: Date | null) => boolean,
    renew: (tokens: SessionTokens) => Promise<Renewal>,
  ): Promise<Session | null> {
    // Within a process one request works and one connection is held; between processes the lock decides.
    return this.#renewals.run(session.idHash, () =>
      this.#renewalLimit(async () => {
        const { renewed, afterwards } = await this.#renewLocked(session.idHash, isDue, renew);
        await afterwards?.();
        return renewed;
      }),
    );
  }

  async #renewLocked(
    idHash: string,
    isDue: (tokensExpireAt: Date | null) => boolean,
    renew: (tokens: SessionTokens) => Promise<Renewal>,
  ): Promise<{ renewed: Session | null; afterwards?: (() => Promise<void>) | undefined }> {
    const { database, vault } = this.deps;
    return database.transaction(async (tx) => {
      await tx.execute(sql`select pg_advisory_xact_lock(hashtextextended(${`session/${idHash}`}, 5))`);
      const found = await this.#read(idHash, this.#now(), tx);
      if (!found) return { renewed: null };
      if (!isDue(found.session.tokensExpireAt)) return { renewed: found.session };
      if (!found.tokens) return { renewed: null };
      const held = JSON.parse(await vault.open(purpose(idHash), found.tokens)) as SessionTokens;
      const renewal = await renew(held);
      if (renewal === 'ended') {
        await tx.delete(sessions).where(eq(sessions.idHash, idHash));
        return { renewed: null };
      }
      await tx
        .update(sessions)
        .set({
          tokens: await vault.seal(purpose(idHash), JSON.stringify(renewal.tokens)),
          tokensExpireAt: renewal.expireAt,
        })
        .where(eq(sessions.idHash, idHash));
      return {
        renewed: { ...found.session, tokensExpireAt: renewal.expireAt },
        afterwards: renewal.afterwards,
      };
    });
  }

  /** Ends one session. */
  async end(idHash: string): Promise<void> {
    await this.deps.database.delete(sessions).where(eq(sessions.idHash, idHash));
  }

  /** Ends all sessions of a user, on all devices. @returns how many there were */
  async endAllOf(userId: string): Promise<number> {
    const ended = await this.deps.database
      .delete(sessions)
      .where(eq(sessions.userId, userId))
      .returning({ idHash: sessions.idHash });
    return ended.length;
  }

  /**
   * Ends sessions that an identity provider says are over: one of its own sessions, or all of a user.
   * @returns how many there were
   */
  async endByProvider(
    realm: string,
    {
      userId,
      providerSession,
      begunBefore,
    }: { userId: string | null; providerSession: string | null; begunBefore: Date },
  ): Promise<number> {
    if (userId === null && providerSession === null) return 0;
    const ended = await this.deps.database
      .delete(sessions)
      .where(
        and(
          eq(sessions.realm, realm),
          lte(sessions.createdAt, begunBefore),
          userId === null ? undefined : eq(sessions.userId, userId),
          providerSession === null ? undefined : eq(sessions.providerSession, providerSession),
        ),
      )
      .returning({ idHash: sessions.idHash });
    return ended.length;
  }

  async #read(idHash: string, now: Date, executor: Pick<Database, 'select'> = this.deps.database) {
    const [row] = await executor
      .select({ session: sessions, user: users })
      .from(sessions)
      .innerJoin(users, eq(users.id, sessions.userId))
      .where(
        and(
          eq(sessions.idHash, idHash),
          gt(sessions.expiresAt, now),
          gt(sessions.lastSeenAt, this.#idleSince(now)),
        ),
      );
    if (!row) return null;
    const { session, user } = row;
    return {
      session: {
        idHash,
        user: { id: user.id, login: user.login, name: user.name, email: user.email },
        realm: session.realm,
        activeOrganizationId: session.activeOrganizationId,
        tokensExpireAt: session.tokensExpireAt,
        createdAt: session.createdAt,
        expiresAt: session.expiresAt,
      } satisfies Session,
      tokens: session.tokens,
      lastSeenAt: session.lastSeenAt,
    };
  }

  /** One of several requests at once writes; the others find it written. */
  async #touch(idHash: string, now: Date): Promise<void> {
    await this.deps.database
      .update(sessions)
      .set({ lastSeenAt: now })
      .where(
        and(eq(sessions.idHash, idHash), lt(sessions.lastSeenAt, new Date(now.getTime() - TOUCH_EVERY_MS))),
      );
  }

  /** A bounded number at a time, so that no sign-in waits for a backlog. */
  async #sweep(now: Date): Promise<void> {
    const { database } = this.deps;
    const over = database
      .select({ idHash: sessions.idHash })
      .from(sessions)
      .where(lt(sessions.expiresAt, now))
      .limit(SWEEP);
    await database.delete(sessions).where(inArray(sessions.idHash, over));
  }

  #idleSince(now: Date): Date {
    return new Date(now.getTime() - this.deps.limits.idleMs);
  }

  #now(): Date {
    return this.deps.now?.() ?? new Date();
  }
}

const purpose = (idHash: string): string => `session/${idHash}/tokens`;
