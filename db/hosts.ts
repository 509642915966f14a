/** What the machines that own sandboxes tell of themselves: whoever places something looks here. */
import { asc, eq, getTableColumns, gt, lt, sql } from 'drizzle-orm';
import type { Database } from './database.js';
import { hosts } from './schema/index.js';

/** A machine that owns sandboxes. */
export interface Host {
  id: string;
  /** Memory that new processes may still use, in bytes. */
  availableMemory: number;
  /** How many sandboxes may boot there at once beside everything else. */
  parallelBoots: number;
  /** What a further sandbox is expected to take of its memory, in bytes; null where its worker does not say. */
  sandboxBytes: number | null;
  /** When it has told so. */
  seenAt: Date;
}

/** One that may have gone meanwhile. */
export interface KnownHost extends Host {
  /** Whether it has told of itself lately. */
  isPresent: boolean;
}

/** One that has been silent for so long is not there; its worker tells something three times as often. */
export const SILENT_AFTER = '30 seconds';
/** Rows of machines that are long gone. */
const FORGOTTEN = '1 day';

export class Hosts {
  constructor(private readonly database: Database) {}

  /** Notes how things stand on a machine now. */
  async beat({ id, availableMemory, parallelBoots, sandboxBytes }: Omit<Host, 'seenAt'>): Promise<void> {
    const now = { availableMemory, parallelBoots, sandboxBytes, seenAt: sql`clock_timestamp()` };
    await this.database
      .insert(hosts)
      .values({ id, ...now })
      .onConflictDoUpdate({ target: hosts.id, set: now });
  }

  /** Those that are there, by their ids. */
  async present(): Promise<Host[]> {
    return this.database.select().from(hosts).where(isPresent()).orderBy(asc(hosts.id));
  }

  /** Those as well whose worker is silent and has not said that it leaves, by their ids; for people. */
  async known(): Promise<KnownHost[]> {
    return this.database
      .select({ ...getTableColumns(hosts), isPresent: sql<boolean>`${isPresent()}` })
      .from(hosts)
      .orderBy(asc(hosts.id));
  }

  /** Nothing is placed on a machine any more, until it tells of itself again. Rows of others that are long gone go too. */
  async leave(id: string): Promise<void> {
    await this.database.delete(hosts).where(eq(hosts.id, id));
    await this.database.delete(hosts).where(lt(hosts.seenAt, sql`now() - ${FORGOTTEN}::interval`));
  }
}

const isPresent = () => gt(hosts.seenAt, sql`now() - ${SILENT_AFTER}::interval`);
