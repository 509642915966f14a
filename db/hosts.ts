/** What the machines that own sandboxes tell of themselves: whoever places something looks here. */
import { asc, eq, gt, lt, sql } from 'drizzle-orm';
import type { Database } from './database.js';
import { hosts } from './schema/index.js';

/** A machine that owns sandboxes. */
export interface Host {
  id: string;
  /** Memory that new processes may still use, in bytes. */
  availableMemory: number;
  /** How many sandboxes may boot there at once beside everything else. */
  parallelBoots: number;
  /** When it has told so. */
  seenAt: Date;
}

/** One that has been silent for so long is not there; its worker tells something three times as often. */
const SILENT = '30 seconds';
/** Rows of machines that are long gone. */
const FORGOTTEN = '1 day';

export class Hosts {
  constructor(private readonly database: Database) {}

  /** Notes how things stand on a machine now. */
  async beat({ id, availableMemory, parallelBoots }: Omit<Host, 'seenAt'>): Promise<void> {
    const now = { availableMemory, parallelBoots, seenAt: sql`clock_timestamp()` };
    await this.database
      .insert(hosts)
      .values({ id, ...now })
      .onConflictDoUpdate({ target: hosts.id, set: now });
  }

  /** Those that are there, by their ids. */
  async present(): Promise<Host[]> {
    return this.database
      .select()
      .from(hosts)
      .where(gt(hosts.seenAt, sql`now() - ${SILENT}::interval`))
      .orderBy(asc(hosts.id));
  }

  /** Nothing is placed on a machine any more, until it tells of itself again. Rows of others that are long gone go too. */
  async leave(id: string): Promise<void> {
    await this.database.delete(hosts).where(eq(hosts.id, id));
    await this.database.delete(hosts).where(lt(hosts.seenAt, sql`now() - ${FORGOTTEN}::interval`));
  }
}
