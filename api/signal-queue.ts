/** Signals to conversations' actors that must not get lost while Temporal is away: together, and again until they went. */
import type { Logger } from 'pino';

export interface SignalQueueDeps {
  /** Signals the actor of a conversation, or starts it with the signal. */
  signal: (conversationId: string) => Promise<void>;
  logger: Pick<Logger, 'warn'>;
  /** First wait after a failure, doubled up to the longest, in milliseconds. */
  retryMs?: { first: number; longest: number };
}

export interface SignalQueue {
  /** Returns at once. The same conversation several times before its signal has gone out is one signal. */
  add(conversationId: string): void;
  /** How many have not gone out yet. */
  readonly waiting: number;
  /** Sends nothing more. */
  close(): void;
}

export function createSignalQueue({
  signal,
  logger,
  retryMs = { first: 500, longest: 30_000 },
}: SignalQueueDeps): SignalQueue {
  const waiting = new Set<string>();
  let timer: NodeJS.Timeout | null = null;
  let delay = 0;
  let closed = false;

  const schedule = (): void => {
    if (closed || timer || waiting.size === 0) return;
    timer = setTimeout(() => void flush(), delay);
    timer.unref();
  };

  /** One failure is taken for an outage: the rest waits with it. */
  const flush = async (): Promise<void> => {
    for (const conversationId of [...waiting]) {
      if (closed) break;
      try {
        // Taken out first: what is queued while the signal is on its way gets a signal of its own.
        waiting.delete(conversationId);
        await signal(conversationId);
        delay = 0;
      } catch (error) {
        waiting.add(conversationId);
        delay = Math.min(Math.max(delay * 2, retryMs.first), retryMs.longest);
        logger.warn(
          { err: error, waiting: waiting.size, retryInMs: delay },
          'conversations cannot be woken yet',
        );
        break;
      }
    }
    timer = null;
    schedule();
  };

  return {
    add(conversationId) {
      waiting.add(conversationId);
      schedule();
    },
    get waiting() {
      return waiting.size;
    },
    close() {
      closed = true;
      if (timer) clearTimeout(timer);
    },
  };
}
