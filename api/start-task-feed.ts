/** Changes of start tasks, read once per process however many streams want to hear of them. */
import type { Logger } from 'pino';
import { setTimeout as delay } from 'node:timers/promises';
import type { StartTask } from '../contract/start-task.js';
import { START_TASK_CHANNEL, type NotificationHub } from '../db/notifications.js';
import type { StartTaskReadModel } from '../db/start-task-read-model.js';

/** Who listens to the feed. */
export interface StartTaskListener {
  /** A task that has changed, whoever it belongs to: the listener looks whether it may be told. */
  changed: (task: StartTask) => void;
  /** Changes may have been missed: everything has to be read anew. */
  interrupted: () => void;
}

export interface StartTaskFeed {
  /** @returns ends it */
  listen(listener: StartTaskListener): () => void;
}

export interface StartTaskFeedDeps {
  tasks: Pick<StartTaskReadModel, 'batch'>;
  hub: Pick<NotificationHub, 'watch'>;
  logger: Pick<Logger, 'warn'>;
}

/** Tasks read with one statement. */
const AT_ONCE = 100;
/** Pause before changes that could not be read are given up for a reading of everything, in milliseconds. */
const RETRY_MS = 1_000;

/** Nothing is read while nobody listens; changes that come while one reading is under way share the next. */
export function createStartTaskFeed({ tasks, hub, logger }: StartTaskFeedDeps): StartTaskFeed {
  const listeners = new Set<StartTaskListener>();
  const pending = new Set<string>();
  let unwatch: (() => void) | null = null;
  let reading = false;

  async function read(): Promise<void> {
    if (reading) return;
    reading = true;
    try {
      while (pending.size > 0 && listeners.size > 0) {
        const ids = [...pending].slice(0, AT_ONCE);
        for (const id of ids) pending.delete(id);
        const found = (await tasks.batch(null, ids)).filter((task) => task !== null);
        for (const listener of [...listeners]) for (const task of found) listener.changed(task);
      }
    } catch (error) {
      logger.warn({ err: error }, 'changes of starts cannot be read; trying again');
      await delay(RETRY_MS);
      for (const listener of [...listeners]) listener.interrupted();
    } finally {
      reading = false;
    }
    if (pending.size > 0) void read();
  }

  return {
    listen(listener) {
      listeners.add(listener);
      unwatch ??= hub.watch(START_TASK_CHANNEL, (id) => {
        if (id === null) {
          for (const each of [...listeners]) each.interrupted();
          return;
        }
        pending.add(id);
        void read();
      });
      return () => {
        listeners.delete(listener);
        if (listeners.size > 0) return;
        unwatch?.();
        unwatch = null;
        pending.clear();
      };
    },
  };
}
