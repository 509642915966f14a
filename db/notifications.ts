import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { PENDING_MESSAGE_CHANNEL } from './pending-message-repository.js';
import { SANDBOX_CHANNEL } from './sandbox-repository.js';
import { START_TASK_CHANNEL } from './start-transitions.js';

export { PENDING_MESSAGE_CHANNEL, SANDBOX_CHANNEL, START_TASK_CHANNEL };

/** Channels that the hub listens on; the payload of each notification is the id of what changed. */
const CHANNELS = [START_TASK_CHANNEL, SANDBOX_CHANNEL, PENDING_MESSAGE_CHANNEL] as const;
export type NotificationChannel = (typeof CHANNELS)[number];

/** First pause before a lost connection is tried again, and the longest one, in milliseconds. */
const BACKOFF = { first: 100, longest: 5_000 };
/** How often a silent connection is asked whether it still lives, and how long it may take to answer. */
const PROBE = { everyMs: 20_000, limitMs: 5_000 };

export interface HubLogger {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

/** Wakes whoever waits for a change of one thing. */
export interface NotificationHub {
  /**
   * Calls `wake` after each change of the thing, and after each (re)connection, when something may have been missed.
   * A wake says "look again", nothing more; several may come for one change.
   * @returns ends the subscription
   */
  subscribe(channel: NotificationChannel, id: string, wake: () => void): () => void;
  /**
   * Tells of each change of any thing of a kind, by its id; null after each (re)connection, when any may have been missed.
   * @returns ends the subscription
   */
  watch(channel: NotificationChannel, changed: (id: string | null) => void): () => void;
  /** Resolves as soon as changes are being heard. */
  listening(): Promise<void>;
  /** Ends the connection; no wake comes afterwards. */
  stop(): Promise<void>;
}

/**
 * One connection per process that listens to all changes and passes each on to those who wait for it. It is kept up
 * for ever: lost, it is made again with growing pauses.
 */
export function createNotificationHub({ url, logger }: { url: string; logger: HubLogger }): NotificationHub {
  const subscribers = new Map<string, Set<() => void>>();
  const watchers = new Map<string, Set<(id: string | null) => void>>();
  const stopping = new AbortController();
  let heard = deferred();

  const key = (channel: string, id: string) => `${channel}/${id}`;

  const wakeAll = (wakes: Iterable<() => void>) => {
    for (const wake of [...wakes]) {
      try {
        wake();
      } catch (error) {
        logger.warn({ err: error }, 'a subscriber of database notifications failed');
      }
    }
  };

  const watching = (channel: string, id: string | null): (() => void)[] =>
    [...(watchers.get(channel) ?? [])].map((changed) => () => changed(id));

  /** One connection from its making to its loss. */
  async function listen(): Promise<void> {
    const client = new pg.Client({
      connectionString: url,
      application_name: 'callboard notifications',
      connectionTimeoutMillis: PROBE.limitMs,
      query_timeout: PROBE.limitMs,
      keepAlive: true,
    });
    let giveUp: () => void = () => undefined;
    // Rejects when the connection is lost or no longer wanted; `connect` itself settles in neither case.
    const lost = new Promise<never>((_, reject) => {
      client.once('error', reject);
      client.once('end', () => reject(new Error('the connection was closed')));
      giveUp = () => reject(new Error('stopped'));
      stopping.signal.addEventListener('abort', giveUp);
    });
    client.on('error', () => undefined); // a broken socket may report more than once
    client.on('notification', ({ channel, payload }) => {
      wakeAll(subscribers.get(key(channel, payload ?? '')) ?? []);
      wakeAll(watching(channel, payload ?? ''));
    });
    let probe: NodeJS.Timeout | undefined;
    try {
      await Promise.race([client.connect(), lost]);
      for (const channel of CHANNELS) await client.query(`listen ${client.escapeIdentifier(channel)}`);
      logger.info({}, 'listening for database notifications');
      heard.resolve();
      wakeAll([...subscribers.values()].flatMap((wakes) => [...wakes]));
      wakeAll(CHANNELS.flatMap((channel) => watching(channel, null)));
      // A peer that vanished without a word keeps the socket open: ask, and hang up when no answer comes.
      probe = setInterval(() => {
        client.query('select 1').catch((error: unknown) => {
          client.emit('error', error instanceof Error ? error : new Error(String(error)));
        });
      }, PROBE.everyMs);
      await lost;
    } finally {
      clearInterval(probe);
      stopping.signal.removeEventListener('abort', giveUp);
      if (!stopping.signal.aborted) heard = heard.settled ? deferred() : heard;
      void client.end().catch((error: unknown) => {
        logger.info({ err: error }, 'the connection for database notifications did not end cleanly');
      });
    }
  }

  async function keepListening(): Promise<void> {
    let pause = BACKOFF.first;
    while (!stopping.signal.aborted) {
      const began = Date.now();
      try {
        await listen();
      } catch (error) {
        if (stopping.signal.aborted) return;
        if (Date.now() - began > BACKOFF.longest) pause = BACKOFF.first;
        logger.warn({ err: error, retryInMs: pause }, 'database notifications are interrupted');
        await delay(pause, undefined, { signal: stopping.signal }).catch(() => undefined); // stopped while waiting
        pause = Math.min(pause * 2, BACKOFF.longest);
      }
    }
  }

  const running = keepListening();

  return {
    subscribe(channel, id, wake) {
      const name = key(channel, id);
      // A function of its own, so that the same `wake` subscribed twice is two subscriptions.
      const subscription = () => wake();
      const wakes = subscribers.get(name) ?? new Set();
      subscribers.set(name, wakes.add(subscription));
      return () => {
        wakes.delete(subscription);
        if (wakes.size === 0 && subscribers.get(name) === wakes) subscribers.delete(name);
      };
    },
    watch(channel, changed) {
      const all = watchers.get(channel) ?? new Set();
      const watcher = (id: string | null) => changed(id);
      watchers.set(channel, all.add(watcher));
      return () => void all.delete(watcher);
    },
    listening: () => heard.promise,
    async stop() {
      stopping.abort();
      subscribers.clear();
      watchers.clear();
      await running;
    },
  };
}

function deferred() {
  let settle: () => void = () => undefined;
  const state = {
    settled: false,
    promise: new Promise<void>((resolve) => (settle = resolve)),
    resolve: () => {
      state.settled = true;
      settle();
    },
  };
  return state;
}
