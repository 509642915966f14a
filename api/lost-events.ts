/** Notes where webhooks may have lost events, and has these fetched from the agent-servers' own logs. */
import type { Logger } from 'pino';
import { createSignalQueue } from './signal-queue.js';

export interface LostEventsDeps {
  /** Has a conversation's actor compare the agent-server's log with ours. */
  reconcile: (conversationId: string) => Promise<void>;
  conversations: {
    /** Those of the ids that are conversations here. */
    present(ids: readonly string[]): Promise<string[]>;
    /** Conversations whose agent-server runs, those that were active last first. */
    inRunningSandboxes(limit: number): Promise<string[]>;
  };
  logger: Pick<Logger, 'info' | 'warn'>;
  /** After a failed webhook, how long its sender goes on trying, in milliseconds. */
  settleMs?: number;
  /** Between two conversations of a sweep, in milliseconds: it must not hold up what people wait for. */
  paceMs?: number;
  retryMs?: { first: number; longest: number };
}

export interface LostEvents {
  /** A webhook was not answered with success. Its sender tries again for some seconds; after these, its log is read. */
  failed(conversationId: string): void;
  /** Something is certainly to be fetched, or a run has ended: the log is read now. */
  compare(conversationId: string): void;
  /**
   * Has all conversations compared whose agent-server runs: after a time in which nobody listened, it is not known
   * whose events were lost. Never fails; waits until the database answers.
   */
  sweep(): Promise<void>;
  close(): void;
}

/** An agent-server of ours tries 11 times within 10 s; see `sandboxes/process-environment.ts`. */
const SETTLE_MS = 15_000;
const PACE_MS = 100;
/** Of more conversations than these nothing is noted one by one: all are looked through instead. */
const MOST_NOTED = 10_000;
/** Conversations that one sweep looks at. The periodic comparison comes to the others. */
const MOST_SWEPT = 1_000;

export function createLostEvents({
  reconcile,
  conversations,
  logger,
  settleMs = SETTLE_MS,
  paceMs = PACE_MS,
  retryMs = { first: 500, longest: 30_000 },
}: LostEventsDeps): LostEvents {
  const queue = createSignalQueue({ signal: reconcile, logger, retryMs });
  /** By conversation, when its last webhook failed. */
  const failures = new Map<string, number>();
  let tooMany = false;
  let closed = false;
  const stopped = new AbortController();

  const pause = (ms: number): Promise<void> =>
    new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      timer.unref();
      stopped.signal.addEventListener('abort', () => {
        clearTimeout(timer);
        resolve();
      });
    });

  /** Passes on what has settled. While the database is away, everything stays noted. */
  const settle = async (): Promise<void> => {
    const due = [...failures].filter(([, at]) => Date.now() - at >= settleMs);
    if (due.length === 0) return;
    // Taken out first: what fails while the database is asked is a new failure, and the next look does not ask again.
    for (const [id] of due) failures.delete(id);
    try {
      for (const id of await conversations.present(due.map(([id]) => id))) queue.add(id);
      if (!tooMany) return;
      tooMany = false;
      void sweep();
    } catch (error) {
      for (const [id, at] of due) if (!failures.has(id)) failures.set(id, at);
      logger.warn({ err: error, conversations: failures.size }, 'lost events cannot be looked for yet');
    }
  };
  const timer = setInterval(() => void settle(), Math.max(settleMs / 3, 10));
  timer.unref();

  async function sweep(): Promise<void> {
    for (let wait = retryMs.first; !closed; wait = Math.min(wait * 2, retryMs.longest)) {
      try {
        const ids = await conversations.inRunningSandboxes(MOST_SWEPT);
        if (ids.length > 0) logger.info({ conversations: ids.length }, 'looking for events that were missed');
        for (const id of ids) {
          if (closed) return;
          queue.add(id);
          await pause(paceMs);
        }
        return;
      } catch (error) {
        logger.warn({ err: error, retryInMs: wait }, 'lost events cannot be looked for yet');
        await pause(wait);
      }
    }
  }

  return {
    failed(conversationId) {
      if (failures.size < MOST_NOTED || failures.has(conversationId))
        failures.set(conversationId, Date.now());
      else tooMany = true;
    },
    compare: (conversationId) => queue.add(conversationId),
    sweep,
    close() {
      closed = true;
      clearInterval(timer);
      stopped.abort();
      queue.close();
    },
  };
}
