import { and, asc, eq, sql } from 'drizzle-orm';
import pLimit from 'p-limit';
import { GitProvider } from '../contract/primitives.js';
import type { Database } from '../db/database.js';
import { NO_USER, secrets } from '../db/schema/index.js';
import { SingleFlight } from './bounded-cache.js';
import type { ProviderToken } from './user-context.js';
import { purposes, type Vault } from './vault.js';

/** A provider token as it is kept: with what renews it, where it expires. */
export interface StoredProviderToken extends ProviderToken {
  refreshToken: string | null;
  expiresAt: Date | null;
}

/** A token to be stored; without what renews it, it is good until its provider says otherwise. */
export type NewProviderToken = ProviderToken & Partial<StoredProviderToken>;

/** Renewals under way at a time: each holds a connection while the provider answers, and must leave some for others. */
const PARALLEL_RENEWALS = 4;

/** Git-provider tokens of users; values are encrypted and bound to owner, kind and provider. */
export class ProviderTokenStore {
  readonly #database: Database;
  readonly #vault: Pick<Vault, 'seal' | 'open'>;
  readonly #renewals = new SingleFlight<StoredProviderToken | null>();
  readonly #renewalLimit = pLimit(PARALLEL_RENEWALS);

  constructor(database: Database, vault: Pick<Vault, 'seal' | 'open'>) {
    this.#database = database;
    this.#vault = vault;
  }

  /** The user's providers and the hosts of their tokens; null is the provider's own host. */
  async providerHosts(userId: string | null): Promise<Map<GitProvider, string | null>> {
    const rows = await this.#rows(userId);
    return new Map(
      rows.flatMap((row) => {
        const provider = GitProvider.safeParse(row.name);
        return provider.success ? [[provider.data, row.attributes.host ?? null] as const] : [];
      }),
    );
  }

  /** The user's provider tokens, plain, as they were stored: they may have expired. */
  async providerTokens(userId: string | null): Promise<Map<GitProvider, StoredProviderToken>> {
    const rows = await this.#rows(userId);
    const opened = await Promise.all(
      rows.map(async (row): Promise<[GitProvider, StoredProviderToken][]> => {
        const provider = GitProvider.safeParse(row.name);
        return provider.success ? [[provider.data, await this.#opened(row)]] : [];
      }),
    );
    return new Map(opened.flat());
  }

  /** Replaces all provider tokens of a user: providers not named are removed. */
  async replaceProviderTokens(
    userId: string | null,
    tokens: ReadonlyMap<GitProvider, NewProviderToken>,
  ): Promise<void> {
    const owner = userId ?? NO_USER;
    const rows = await Promise.all(
      [...tokens].map(([provider, token]) => this.#providerRow(owner, provider, token)),
    );
    await this.#database.transaction(async (tx) => {
      // Two replacements at once would otherwise leave the union of both.
      await tx.execute(sql`select pg_advisory_xact_lock(hashtextextended(${`providers/${owner}`}, 3))`);
      await tx.delete(secrets).where(this.#own(userId));
      if (rows.length > 0) await tx.insert(secrets).values(rows);
    });
  }

  /** Stores one provider's token and leaves the others as they are. */
  async putProviderToken(
    userId: string | null,
    provider: GitProvider,
    token: NewProviderToken,
  ): Promise<void> {
    const row = await this.#providerRow(userId ?? NO_USER, provider, token);
    await this.#database
      .insert(secrets)
      .values(row)
      .onConflictDoUpdate({ target: [secrets.userId, secrets.kind, secrets.name], set: row });
  }

  /**
   * Renews a provider token exactly once, however many ask at the same time in however many processes.
   * @param isDue whether a token has to be renewed.
   * @param renew asks the provider; null when it will never renew this token, which is removed then. What it throws
   *   leaves everything as it is.
   * @returns the token as it is now; null when there is none any more
   */
  async renewProviderToken(
    userId: string | null,
    provider: GitProvider,
    isDue: (token: StoredProviderToken) => boolean,
    renew: (token: StoredProviderToken) => Promise<StoredProviderToken | null>,
  ): Promise<StoredProviderToken | null> {
    const owner = userId ?? NO_USER;
    const one = and(this.#own(userId), eq(secrets.name, provider));
    return this.#renewals.run(`${owner}/${provider}`, () =>
      this.#renewalLimit(() =>
        this.#database.transaction(async (tx) => {
          await tx.execute(
            sql`select pg_advisory_xact_lock(hashtextextended(${`renewal/${owner}/${provider}`}, 3))`,
          );
          const [row] = await tx.select().from(secrets).where(one);
          if (!row) return null;
          const held = await this.#opened(row);
          if (!isDue(held)) return held;
          const renewed = await renew(held);
          // Whoever stored another token meanwhile keeps it.
          const unchanged = and(one, eq(secrets.value, row.value));
          if (renewed === null) await tx.delete(secrets).where(unchanged);
          else {
            await tx
              .update(secrets)
              .set(await this.#providerRow(owner, provider, renewed))
              .where(unchanged);
          }
          return renewed;
        }),
      ),
    );
  }

  async #opened(row: typeof secrets.$inferSelect): Promise<StoredProviderToken> {
    const { host, userId: owner } = row.attributes;
    return {
      token: await this.#vault.open(purposes.secret(row.userId, 'provider', row.name), row.value),
      host: host ?? null,
      userId: owner ?? null,
      refreshToken:
        row.refreshValue === null
          ? null
          : await this.#vault.open(
              purposes.secret(row.userId, 'provider-refresh', row.name),
              row.refreshValue,
            ),
      expiresAt: row.expiresAt,
    };
  }

  async #providerRow(owner: string, provider: GitProvider, token: NewProviderToken) {
    return {
      userId: owner,
      kind: 'provider' as const,
      name: provider,
      value: await this.#vault.seal(purposes.secret(owner, 'provider', provider), token.token),
      attributes: {
        ...(token.host === null ? {} : { host: token.host }),
        ...(token.userId === null ? {} : { userId: token.userId }),
      },
      refreshValue: token.refreshToken
        ? await this.#vault.seal(purposes.secret(owner, 'provider-refresh', provider), token.refreshToken)
        : null,
      expiresAt: token.expiresAt ?? null,
      updatedAt: new Date(),
    };
  }

  #rows(userId: string | null) {
    return this.#database
      .select()
      .from(secrets)
      .where(this.#own(userId))
      .orderBy(asc(sql`${secrets.name} collate "C"`));
  }

  #own(userId: string | null) {
    return and(eq(secrets.userId, userId ?? NO_USER), eq(secrets.kind, 'provider'));
  }
}
