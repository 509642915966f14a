/** What a comparison of files and index can find, and what it counts. */
import type { Database } from '../db/database.js';
import type { EventDisk } from './event-disk.js';
import type { EventFiles } from './event-files.js';

/** What is wrong with a file or an index entry, and what `repair` does about it. */
export const REINDEX_ACTIONS = {
  added: 'a file without index entry: indexed',
  renamed: 'an event under a name that is not its own: renamed and indexed',
  missing: 'an index entry without file: removed, to be fetched again',
  torn: 'a file that is empty or cut off: set aside, to be fetched again',
  duplicate: 'a second file of one event: removed, or set aside where the texts differ',
  temporary: 'a file whose writing never ended: removed',
  leftover: 'files of a deleted conversation: removed',
  foreign: 'a file that is no event of ours: left where it is',
  unreadable: 'a file that the disk does not give out: left where it is',
  miscounted: 'numbers of events that are not those of the index: counted anew',
} as const;
export type ReindexKind = keyof typeof REINDEX_ACTIONS;

export interface ReindexFinding {
  kind: ReindexKind;
  conversationId: string;
  /** Name of the file; empty where it is about all of them, or about none. */
  name: string;
  /** Where the file was moved to. */
  setAside?: string;
}

export interface ReindexResult {
  conversations: number;
  /** Events that are as they should be. */
  sound: number;
  /** How many of each kind were found and, with `repair`, dealt with. */
  found: Record<ReindexKind, number>;
  /** Conversations of which events were lost: the agent-server may still have them. */
  toFetch: string[];
  /** Conversations for which callbacks have been queued. */
  toWake: string[];
}

export interface ReindexOptions {
  /** The persistence directory. */
  directory: string;
  database: Database;
  disk?: EventDisk;
  /** False only looks. */
  repair: boolean;
  /** Only this one; all where it is left out. */
  conversationId?: string;
  /** Only those whose ids come after this one: where an earlier run was interrupted. */
  after?: string;
  /** Told after each conversation. */
  onConversation?: (conversationId: string, result: ReindexResult) => void | Promise<void>;
  onFinding?: (finding: ReindexFinding) => void;
  /** Ends the work after the conversation in hand, with the signal's reason thrown. */
  signal?: AbortSignal;
}

/** What working on one conversation needs. */
export interface ReindexContext extends ReindexOptions {
  files: EventFiles;
  result: ReindexResult;
}

/** Counts a finding and tells of it. */
export function report({ result, onFinding }: ReindexContext, finding: ReindexFinding): void {
  result.found[finding.kind]++;
  onFinding?.(finding);
}

export const emptyResult = (): ReindexResult => ({
  conversations: 0,
  sound: 0,
  found: {
    added: 0,
    renamed: 0,
    missing: 0,
    torn: 0,
    duplicate: 0,
    temporary: 0,
    leftover: 0,
    foreign: 0,
    unreadable: 0,
    miscounted: 0,
  },
  toFetch: [],
  toWake: [],
});
