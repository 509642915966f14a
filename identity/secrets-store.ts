import { and, asc, eq, gt, sql } from 'drizzle-orm';
import type { Database } from '../db/database.js';
import { NO_USER, secrets } from '../db/schema/index.js';
import { ProviderTokenStore } from './provider-token-store.js';
import { purposes, type Vault } from './vault.js';

export interface CustomSecret {
  name: string;
  description: string | null;
}

/** Custom secrets and git-provider tokens of users; values are encrypted and bound to owner, kind and name. */
export class SecretsStore extends ProviderTokenStore {
  constructor(
    private readonly database: Database,
    private readonly vault: Pick<Vault, 'seal' | 'open'>,
  ) {
    super(database, vault);
  }

  /** Custom secrets by name, without values; `nameContains` is compared without case. */
  async searchCustom(
    userId: string | null,
    { nameContains, after, limit }: { nameContains?: string; after?: string; limit?: number } = {},
  ): Promise<CustomSecret[]> {
    const query = this.database
      .select({ name: secrets.name, description: secrets.description })
      .from(secrets)
      .where(
        and(
          this.#own(userId),
          after === undefined ? undefined : gt(byBytes, after),
          nameContains === undefined
            ? undefined
            : sql`position(lower(${nameContains}) in lower(${secrets.name})) > 0`,
        ),
      )
      .orderBy(asc(byBytes));
    return limit === undefined ? query : query.limit(limit);
  }

  /** Custom secrets with their plain values, by name. */
  async readCustom(
    userId: string | null,
  ): Promise<Map<string, { value: string; description: string | null }>> {
    const rows = await this.#rows(userId);
    const opened = await Promise.all(
      rows.map(async (row) => {
        const value = await this.vault.open(purposes.secret(row.userId, 'custom', row.name), row.value);
        return [row.name, { value, description: row.description }] as const;
      }),
    );
    return new Map(opened);
  }

  /** The plain value of one custom secret; null when there is none. */
  async readCustomValue(userId: string | null, name: string): Promise<string | null> {
    const [row] = await this.database.select().from(secrets).where(this.#one(userId, name));
    return row ? this.vault.open(purposes.secret(row.userId, 'custom', name), row.value) : null;
  }

  /** Stores a custom secret over one of the same name, whose description stays if none is given. */
  async putCustom(
    userId: string | null,
    secret: { name: string; value: string; description?: string | null },
  ): Promise<void> {
    const values = await this.#sealed(userId, secret);
    await this.database
      .insert(secrets)
      .values(values)
      .onConflictDoUpdate({
        target: [secrets.userId, secrets.kind, secrets.name],
        set: {
          value: values.value,
          updatedAt: values.updatedAt,
          ...(values.description === null ? {} : { description: values.description }),
        },
      });
  }

  /** Stores a custom secret unless the name is taken. @returns whether it was stored. */
  async createCustom(
    userId: string | null,
    secret: { name: string; value: string; description?: string | null },
  ): Promise<boolean> {
    const stored = await this.database
      .insert(secrets)
      .values(await this.#sealed(userId, secret))
      .onConflictDoNothing()
      .returning({ name: secrets.name });
    return stored.length > 0;
  }

  /** Renames and describes a custom secret; its value stays. */
  async updateCustom(
    userId: string | null,
    name: string,
    change: CustomSecret,
  ): Promise<'updated' | 'missing' | 'taken'> {
    return this.database.transaction(async (tx) => {
      const [row] = await tx.select().from(secrets).where(this.#one(userId, name)).for('update');
      if (!row) return 'missing';
      let { value } = row;
      if (change.name !== name) {
        const plain = await this.vault.open(purposes.secret(row.userId, 'custom', name), value);
        value = await this.vault.seal(purposes.secret(row.userId, 'custom', change.name), plain);
        const [other] = await tx.select().from(secrets).where(this.#one(userId, change.name));
        if (other) return 'taken';
      }
      await tx
        .update(secrets)
        .set({ name: change.name, description: change.description, value, updatedAt: new Date() })
        .where(this.#one(userId, name));
      return 'updated';
    });
  }

  /** @returns whether there was such a secret. */
  async deleteCustom(userId: string | null, name: string): Promise<boolean> {
    const deleted = await this.database
      .delete(secrets)
      .where(this.#one(userId, name))
      .returning({ name: secrets.name });
    return deleted.length > 0;
  }

  async #sealed(
    userId: string | null,
    { name, value, description = null }: { name: string; value: string; description?: string | null },
  ) {
    const owner = userId ?? NO_USER;
    return {
      userId: owner,
      kind: 'custom' as const,
      name,
      value: await this.vault.seal(purposes.secret(owner, 'custom', name), value),
      description,
      updatedAt: new Date(),
    };
  }

  #rows(userId: string | null) {
    return this.database.select().from(secrets).where(this.#own(userId)).orderBy(asc(byBytes));
  }

  #own(userId: string | null) {
    return and(eq(secrets.userId, userId ?? NO_USER), eq(secrets.kind, 'custom'));
  }

  #one(userId: string | null, name: string) {
    return and(this.#own(userId), eq(secrets.name, name));
  }
}

/** One order everywhere, whatever the database's collation. */
const byBytes = sql<string>`${secrets.name} collate "C"`;
