/** Keys of users: made, listed, deleted, found by what a caller shows. */
import { randomUUID } from 'node:crypto';
import { and, asc, count, eq, gt, isNull, lte, or, sql } from 'drizzle-orm';
import { base62 } from '../contract/ids.js';
import type { Database } from '../db/database.js';
import { apiKeys, organizationMembers, users, type ApiKeyKind } from '../db/schema/index.js';
import type { UserProfile } from './users.js';
import { lookupHash, purposes, randomKey, type Vault } from './vault.js';

/** What all keys begin with: it tells them from other bearer tokens, and scanners for leaked secrets what they found. */
export const API_KEY_PREFIX = 'cbk_';
/** What the names of system keys begin with; users cannot choose such a name (contract 12). */
export const SYSTEM_NAME_PREFIX = '__SYSTEM__:';

const SHOWN_CHARACTERS = 12;
const TOUCH_EVERY_MS = 60_000;
const MOST_KEYS_PER_USER = 100;
/** Between finding a system key taken and reading it, it may be deleted: then it is made anew. */
const ATTEMPTS = 5;

/** A key as its owner sees it. */
export interface ApiKeyInfo {
  id: string;
  name: string;
  /** First characters of the key. */
  prefix: string;
  createdAt: Date;
  /** To the minute. */
  lastUsedAt: Date | null;
  expiresAt: Date | null;
}

/** Whom a key speaks for. */
export interface ApiKeyHolder {
  keyId: string;
  kind: ApiKeyKind;
  user: UserProfile;
  organizationId: string | null;
}

/** A system key by what it is asked for. */
export interface SystemKeyName {
  userId: string;
  organizationId: string;
  /** Without the prefix of system keys. */
  name: string;
}

/** A user may have no further key. */
export class TooManyApiKeys extends Error {
  constructor() {
    super(
      `You have ${MOST_KEYS_PER_USER} API keys, which is the most: delete one that you no longer use first.`,
    );
    this.name = 'TooManyApiKeys';
  }
}

export interface ApiKeyStoreDeps {
  database: Database;
  vault: Pick<Vault, 'seal' | 'open'>;
  /** The way of signing in by which users are known. */
  realm: string;
  now?: () => Date;
}

/** Keys are stored as SHA-256 of what is 32 random bytes; those of the service API encrypted beside it. */
export class ApiKeyStore {
  constructor(private readonly deps: ApiKeyStoreDeps) {}

  /**
   * Makes a key that its owner sees in the list.
   * @returns the key, which cannot be read again
   * @throws {TooManyApiKeys}
   */
  async create(
    owner: { userId: string; organizationId: string | null },
    { name, expiresAt }: { name: string; expiresAt: Date | null },
  ): Promise<ApiKeyInfo & { key: string }> {
    const { database, realm } = this.deps;
    const key = newKey();
    const info = {
      id: randomUUID(),
      name,
      prefix: key.slice(0, SHOWN_CHARACTERS),
      createdAt: this.#now(),
      lastUsedAt: null,
      expiresAt,
    };
    await database.transaction(async (tx) => {
      await tx.execute(sql`select pg_advisory_xact_lock(hashtextextended(${`api-keys/${owner.userId}`}, 7))`);
      const [held] = await tx.select({ count: count() }).from(apiKeys).where(this.#visible(owner.userId));
      if ((held?.count ?? 0) >= MOST_KEYS_PER_USER) throw new TooManyApiKeys();
      await tx.insert(apiKeys).values({ ...info, ...owner, realm, kind: 'user', keyHash: lookupHash(key) });
    });
    return { ...info, key };
  }

  /** The keys that a user made, oldest first; system keys are not among them. */
  async list(userId: string): Promise<ApiKeyInfo[]> {
    return this.deps.database
      .select({
        id: apiKeys.id,
        name: apiKeys.name,
        prefix: apiKeys.prefix,
        createdAt: apiKeys.createdAt,
        lastUsedAt: apiKeys.lastUsedAt,
        expiresAt: apiKeys.expiresAt,
      })
      .from(apiKeys)
      .where(this.#visible(userId))
      .orderBy(asc(apiKeys.createdAt), asc(apiKeys.id));
  }

  /** Deletes a key that a user made; a system key is none. @returns whether there was one. */
  async delete(userId: string, id: string): Promise<boolean> {
    const deleted = await this.deps.database
      .delete(apiKeys)
      .where(and(this.#visible(userId), eq(apiKeys.id, id)))
      .returning({ id: apiKeys.id });
    return deleted.length > 0;
  }

  /** The system key of a name, made if there is none that is good; all who ask at the same time get the same one. */
  async getOrCreateSystem(wanted: SystemKeyName): Promise<{ key: string; isNew: boolean }> {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const key = await this.#insertSystem(wanted);
      if (key !== null) return { key, isNew: true };
      const [row] = await this.deps.database.select().from(apiKeys).where(this.#system(wanted));
      if (row?.sealedKey && !isOver(row.expiresAt, this.#now())) {
        return { key: await this.deps.vault.open(purposes.apiKey(row.id), row.sealedKey), isNew: false };
      }
      if (row) await this.deps.database.delete(apiKeys).where(eq(apiKeys.id, row.id));
    }
    throw new Error('the system key is deleted as often as it is made');
  }

  /** @returns whether there was one. */
  async deleteSystem(wanted: SystemKeyName): Promise<boolean> {
    const deleted = await this.deps.database
      .delete(apiKeys)
      .where(this.#system(wanted))
      .returning({ id: apiKeys.id });
    return deleted.length > 0;
  }

  /**
   * Whom a key speaks for: one indexed query, and at most one write a minute.
   * @returns null for a key that is unknown or expired, of another way of signing in, or made for an organization that
   * the user has left
   */
  async find(key: string): Promise<ApiKeyHolder | null> {
    const now = this.#now();
    const [row] = await this.deps.database
      .select({
        keyId: apiKeys.id,
        kind: apiKeys.kind,
        organizationId: apiKeys.organizationId,
        lastUsedAt: apiKeys.lastUsedAt,
        user: { id: users.id, login: users.login, name: users.name, email: users.email },
      })
      .from(apiKeys)
      .innerJoin(users, eq(users.id, apiKeys.userId))
      .leftJoin(
        organizationMembers,
        and(
          eq(organizationMembers.organizationId, apiKeys.organizationId),
          eq(organizationMembers.userId, apiKeys.userId),
        ),
      )
      .where(
        and(
          eq(apiKeys.keyHash, lookupHash(key)),
          eq(apiKeys.realm, this.deps.realm),
          or(isNull(apiKeys.expiresAt), gt(apiKeys.expiresAt, now)),
          or(isNull(apiKeys.organizationId), eq(organizationMembers.userId, apiKeys.userId)),
        ),
      );
    if (!row) return null;
    const { lastUsedAt, ...holder } = row;
    const due = new Date(now.getTime() - TOUCH_EVERY_MS);
    if (lastUsedAt === null || lastUsedAt <= due) await this.#touch(holder.keyId, now, due);
    return holder;
  }

  /** One of several requests at once writes; the others find it written. */
  async #touch(id: string, now: Date, due: Date): Promise<void> {
    await this.deps.database
      .update(apiKeys)
      .set({ lastUsedAt: now })
      .where(and(eq(apiKeys.id, id), or(isNull(apiKeys.lastUsedAt), lte(apiKeys.lastUsedAt, due))));
  }

  /** @returns the key; null when there is one of that name */
  async #insertSystem({ userId, organizationId, name }: SystemKeyName): Promise<string | null> {
    const key = newKey();
    const id = randomUUID();
    const inserted = await this.deps.database
      .insert(apiKeys)
      .values({
        id,
        userId,
        organizationId,
        realm: this.deps.realm,
        kind: 'system',
        name: SYSTEM_NAME_PREFIX + name,
        keyHash: lookupHash(key),
        sealedKey: await this.deps.vault.seal(purposes.apiKey(id), key),
        prefix: key.slice(0, SHOWN_CHARACTERS),
        createdAt: this.#now(),
      })
      .onConflictDoNothing()
      .returning({ id: apiKeys.id });
    return inserted.length > 0 ? key : null;
  }

  #system({ userId, organizationId, name }: SystemKeyName) {
    return and(
      eq(apiKeys.kind, 'system'),
      eq(apiKeys.userId, userId),
      eq(apiKeys.organizationId, organizationId),
      eq(apiKeys.realm, this.deps.realm),
      eq(apiKeys.name, SYSTEM_NAME_PREFIX + name),
    );
  }

  #visible(userId: string) {
    return and(eq(apiKeys.userId, userId), eq(apiKeys.kind, 'user'), eq(apiKeys.realm, this.deps.realm));
  }

  #now(): Date {
    return this.deps.now?.() ?? new Date();
  }
}

const newKey = (): string => API_KEY_PREFIX + randomKey(base62);
const isOver = (expiresAt: Date | null, now: Date): boolean => expiresAt !== null && expiresAt <= now;
