/** What this agent-server has seen and been told, for whoever checks afterwards: it outlives the sandbox. */
import { createHash } from 'node:crypto';
import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * A line of the ledger; ids of conversations are 32 hex digits. What stands in a log is noted again at each boot: lines
 * about one event are one event.
 */
export type LedgerEntry =
  /** The process listens. */
  | { what: 'boot' }
  /** A conversation was created here. */
  | { what: 'created'; conversation: string }
  | { what: 'deleted'; conversation: string }
  /** A user's message stands in the log. */
  | { what: 'message'; conversation: string; event: string; text: string }
  /** An event stands in the log. */
  | { what: 'event'; conversation: string; event: string; digest: string }
  /** The receiver of webhooks has answered 2xx for these events. */
  | { what: 'acknowledged'; conversation: string; events: string[] };

/** An entry with what every line has. */
export type LedgerLine = LedgerEntry & { at: number; pid: number; sandbox: string };

export interface Ledger {
  write(entry: LedgerEntry): void;
}

/** @param directory holds one file per sandbox; none is kept without it */
export function openLedger(directory: string | undefined, sandbox: string): Ledger {
  return {
    write(entry) {
      if (directory === undefined) return;
      const line = { at: Date.now(), pid: process.pid, sandbox, ...entry };
      appendFileSync(join(directory, `${sandbox}.jsonl`), `${JSON.stringify(line)}\n`);
    },
  };
}

/** Equal for two events that differ only in the order of members and in members that are null. */
export const digestOf = (event: unknown): string =>
  createHash('sha256').update(canonical(event)).digest('hex').slice(0, 24);

function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const members = Object.entries(value)
    .filter(([, member]) => member !== null && member !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${members.map(([name, member]) => `${JSON.stringify(name)}:${canonical(member)}`).join(',')}}`;
}

/** A short, random wait: a process that dies in it has done something of which nobody heard. */
export const hesitate = (longestMs: number): Promise<unknown> =>
  longestMs > 0 ? sleep(Math.random() * longestMs) : Promise.resolve();
