/** The last step of taking in events: what has been written becomes durable and visible, for many webhooks at once. */
import { and, inArray, isNotNull } from 'drizzle-orm';
import pLimit from 'p-limit';
import type { AgentEvent } from '../contract/event.js';
import { lockConversationEvents, tryLockConversationEvents } from '../db/callback-repository.js';
import type { Database } from '../db/database.js';
import type { Executor } from '../db/executor.js';
import { isDatabaseOutage } from '../db/outages.js';
import { conversations } from '../db/schema/index.js';
import { isMissing } from './event-disk.js';
import type { EventFiles } from './event-files.js';
import { addAllToIndex, addToIndex, type Addition, type EventIndex } from './event-index.js';
import { groupCommit } from './group-commit.js';
import type { ArrivedEvent } from './incoming-event.js';

export interface IngestResult {
  /** Those that were not there before, in the order given. */
  stored: AgentEvent[];
  /** Whether the conversation's actor has to be woken. */
  callbacksQueued: boolean;
}

interface Arrival {
  conversationId: string;
  events: ArrivedEvent[];
}

/** What became of a conversation's events; null: it was deleted meanwhile. */
type Outcome = Addition | null;

export interface IngestCommitDeps {
  files: EventFiles;
  index: EventIndex;
  database: Database;
}

/** Commits at a time: while one waits for the disk, the other one's events are taken in. */
const LANES = 2;

/** Transactions at a time for conversations that somebody else holds: they must not take every connection of the pool. */
const PARALLEL_WAITS = 4;

/**
 * Makes written events durable and adds them to the index. Whatever arrives while one commit is under way shares the
 * next of its lane: one transaction for all, and one directory sync per conversation. A conversation that is held by somebody else,
 * or whose events the database does not take, is committed by itself and holds up nobody.
 */
export function createIngestCommit({ files, index, database }: IngestCommitDeps) {
  const waits = pLimit(PARALLEL_WAITS);
  const alone = groupCommit((conversationId: string, batches: readonly ArrivedEvent[][]) =>
    waits(async () => finished(conversationId, batches, await commitAlone(conversationId, batches.flat()))),
  );
  const together = groupCommit((_lane: string, arrivals: readonly Arrival[]) => commitAll(arrivals));

  async function commitAll(arrivals: readonly Arrival[]): Promise<PromiseLike<IngestResult>[]> {
    const batches = new Map<string, ArrivedEvent[][]>();
    for (const { conversationId, events } of arrivals) {
      batches.set(conversationId, [...(batches.get(conversationId) ?? []), events]);
    }
    const durable = new Set<string>();
    await Promise.all(
      [...batches.keys()].map(async (conversationId) => {
        // Why one directory cannot be synced is found out once more where it holds up nobody else.
        await files.makeDurable(conversationId).then(
          () => durable.add(conversationId),
          () => undefined,
        );
      }),
    );
    const outcomes = await commitTogether(
      new Map([...batches].filter(([id]) => durable.has(id)).map(([id, all]) => [id, all.flat()])),
    );
    const results = new Map<string, Promise<IngestResult[]>>();
    for (const [conversationId, all] of batches) {
      const outcome = outcomes.get(conversationId);
      results.set(
        conversationId,
        outcome === undefined
          ? Promise.all(all.map((events) => alone(conversationId, events)))
          : finished(conversationId, all, outcome),
      );
    }
    const places = new Map<string, number>();
    return arrivals.map(async ({ conversationId }) => {
      const place = places.get(conversationId) ?? 0;
      places.set(conversationId, place + 1);
      const result = (await results.get(conversationId))?.[place];
      if (!result) throw new Error('a batch of events was committed without a result');
      return result;
    });
  }

  /** Outcomes by conversation; none for those that have to be committed by themselves. */
  async function commitTogether(
    eventsOf: ReadonlyMap<string, ArrivedEvent[]>,
  ): Promise<Map<string, Outcome>> {
    if (eventsOf.size === 0) return new Map();
    try {
      return await database.transaction(async (tx) => {
        const held = await tryLockConversationEvents(tx, [...eventsOf.keys()]);
        const deleted = new Set(await deletedOf(tx, held));
        const present = held.filter((id) => !deleted.has(id));
        const outcomes = new Map<string, Outcome>([...deleted].map((id) => [id, null]));
        if (present.length === 0) return outcomes;
        const additions = await addAllToIndex(tx, new Map(present.map((id) => [id, eventsOf.get(id) ?? []])));
        for (const [id, addition] of additions) outcomes.set(id, addition);
        return outcomes;
      });
    } catch (error) {
      if (isDatabaseOutage(error)) throw error;
      return new Map(); // something in one of them: the others are not to suffer for it
    }
  }

  async function commitAlone(conversationId: string, events: ArrivedEvent[]): Promise<Outcome> {
    const lost = await files.makeDurable(conversationId).catch((error: unknown) => {
      if (!isMissing(error)) throw error;
      return error as Error; // the directory is there no more
    });
    return database.transaction(async (tx) => {
      await lockConversationEvents(tx, conversationId);
      if ((await deletedOf(tx, [conversationId])).length > 0) return null;
      if (lost) throw lost;
      return addToIndex(tx, conversationId, events);
    });
  }

  /** What remains to be done on the disk, and the result of each batch. */
  async function finished(
    conversationId: string,
    batches: readonly ArrivedEvent[][],
    outcome: Outcome,
  ): Promise<IngestResult[]> {
    if (outcome === null) {
      // Deleted while these came in: its actor may have removed the directory before they were written.
      await files.removeConversation(conversationId);
      return batches.map(() => ({ stored: [], callbacksQueued: false }));
    }
    const { added, queued } = outcome;
    await removeTwins(conversationId, batches.flat(), added);
    const claimed = new Set<string>();
    return batches.map((batch) => {
      const stored = batch.filter(({ id, fileName }) => added.get(id) === fileName && !claimed.has(id));
      for (const { id } of stored) claimed.add(id);
      return { stored: stored.map(({ event }) => event), callbacksQueued: queued > 0 };
    });
  }

  /** An event that came twice under different times or kinds has two files: only the indexed one stays. */
  async function removeTwins(
    conversationId: string,
    arrived: readonly ArrivedEvent[],
    added: ReadonlyMap<string, string>,
  ): Promise<void> {
    const others = arrived.filter(({ id, fileName }) => added.get(id) !== fileName);
    if (others.length === 0) return;
    const indexed = await index.fileNames(
      conversationId,
      others.map(({ id }) => id),
    );
    const twins = others.filter(({ id, fileName }) => indexed.has(id) && indexed.get(id) !== fileName);
    await files.remove(
      conversationId,
      twins.map(({ fileName }) => fileName),
    );
  }

  /** Makes events of a conversation durable, visible and queued for callbacks; their files have been written. */
  return (conversationId: string, events: ArrivedEvent[]): Promise<IngestResult> =>
    together(laneOf(conversationId), { conversationId, events });
}

/** Always the same of a conversation, whose batches are committed in their order. */
const laneOf = (conversationId: string): string => String(parseInt(conversationId.slice(-4), 16) % LANES);

/** Those of the conversations that are marked as deleted. */
async function deletedOf(tx: Executor, conversationIds: readonly string[]): Promise<string[]> {
  if (conversationIds.length === 0) return [];
  const rows = await tx
    .select({ id: conversations.id })
    .from(conversations)
    .where(and(inArray(conversations.id, [...conversationIds]), isNotNull(conversations.deletedAt)));
  return rows.map(({ id }) => id);
}
