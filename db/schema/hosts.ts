import { bigint, integer, pgTable, text } from 'drizzle-orm/pg-core';
import { time } from './columns.js';

/**
 * Machines that own sandboxes, as their workers tell of them; one that has said nothing for a while does not count. A
 * row per machine, written every few seconds: without an index on `seen_at` that stays in place.
 */
export const hosts = pgTable('hosts', {
  id: text('id').primaryKey(),
  /** Memory that new processes may still use, in bytes. */
  availableMemory: bigint('available_memory', { mode: 'number' }).notNull(),
  /** How many sandboxes may boot there at once beside everything else. */
  parallelBoots: integer('parallel_boots').notNull(),
  /** What a further sandbox is expected to take of that, in bytes; null where its worker does not say. */
  sandboxBytes: bigint('sandbox_bytes', { mode: 'number' }),
  /** When it has told so, by the clock of the database. */
  seenAt: time('seen_at').notNull(),
});
