/** Sealing everything in the database anew with the newest master key, so that older ones can be taken away. */
import type { SealedTable, SealedValues } from '../db/sealed-values.js';
import { keyIdOfSealed, VaultError, type Vault } from './vault.js';

/** What was found in one table. */
export interface RewrapCount {
  table: string;
  /** Sealed anew. */
  resealed: number;
  /** Under the newest key already. */
  current: number;
  /** Under a key that is not in the ring, or damaged: left as they are. */
  locked: number;
}

export interface RewrapDeps {
  values: Pick<SealedValues, 'tables' | 'pages' | 'replace'>;
  vault: Pick<Vault, 'reseal'>;
  signal?: AbortSignal;
}

/**
 * Goes through all tables. It may be stopped and run again at any time, beside a running server too: what is done is
 * done, and a value that somebody changes meanwhile is under the newest key by that.
 */
export async function* rewrap({ values, vault, signal }: RewrapDeps): AsyncGenerator<RewrapCount> {
  for (const table of await values.tables()) {
    const count = { table: table.name, resealed: 0, current: 0, locked: 0 };
    for await (const page of values.pages(table)) {
      signal?.throwIfAborted();
      for (const row of page) for (const value of row.values) count[await outcome(table, row, value)]++;
    }
    if (count.resealed + count.current + count.locked > 0) yield count;
  }

  async function outcome(
    table: SealedTable,
    row: Parameters<SealedValues['replace']>[1],
    value: Parameters<SealedValues['replace']>[2],
  ): Promise<'resealed' | 'current' | 'locked'> {
    try {
      const successor = await vault.reseal(value.sealed);
      if (successor === null) return 'current';
      return (await values.replace(table, row, value, successor)) ? 'resealed' : 'current';
    } catch (error) {
      if (error instanceof VaultError) return 'locked';
      throw error;
    }
  }
}

/** How many sealed values there are under each master key, by its id. */
export async function sealedByKey(
  values: Pick<SealedValues, 'tables' | 'pages'>,
): Promise<Map<string, number>> {
  const counts = new Map<string, number>();
  for (const table of await values.tables()) {
    for await (const page of values.pages(table)) {
      for (const { sealed } of page.flatMap((row) => row.values)) {
        const id = keyIdOfSealed(sealed) ?? 'none';
        counts.set(id, (counts.get(id) ?? 0) + 1);
      }
    }
  }
  return counts;
}
