import type { Response } from 'express';
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import { isTerminal } from '../contract/start-task.js';
import { START_TASK_CHANNEL, type NotificationHub } from '../db/notifications.js';
import type { StartTaskReadModel, StartTaskTransition } from '../db/start-task-read-model.js';
import { Bell } from './bell.js';
import { writePiece } from './write-piece.js';

/** Pause before a read that failed is tried again, in milliseconds. */
const RETRY_MS = 1_000;

/** The open streams of this process, so that a shutdown can end them as valid JSON. */
export class StreamRegistry {
  readonly #open = new Set<() => void>();
  #ended = false;

  /** Whether the process is shutting down. */
  get ended(): boolean {
    return this.#ended;
  }

  /** @returns takes the stream out again */
  add(end: () => void): () => void {
    this.#open.add(end);
    return () => void this.#open.delete(end);
  }

  /** Number of streams that clients are reading now. */
  get size(): number {
    return this.#open.size;
  }

  /** Closes all arrays where they are; the starts go on, and clients find them by their tasks. */
  endAll(): void {
    this.#ended = true;
    for (const end of [...this.#open]) end();
  }
}

export interface StartStreamDeps {
  tasks: Pick<StartTaskReadModel, 'transitionsAfter'>;
  hub: Pick<NotificationHub, 'subscribe'>;
  streams: StreamRegistry;
  logger: Pick<Logger, 'warn'>;
}

/**
 * Writes a start task after each of its transitions, as one JSON array in pieces (contract 3.5). Reads past the last
 * sequence whenever it is woken, so that no status is skipped however quickly they follow; never polls. A client that
 * goes away ends the stream and nothing else.
 * @throws when the first state cannot be read: nothing has been written then
 */
export async function streamStart(response: Response, taskId: string, deps: StartStreamDeps): Promise<void> {
  const { tasks, hub, streams, logger } = deps;
  const over = new AbortController();
  const bell = new Bell();
  const end = () => {
    over.abort();
    bell.ring();
  };
  const unsubscribe = hub.subscribe(START_TASK_CHANNEL, taskId, () => bell.ring());
  const unregister = streams.add(end);
  response.on('close', end);
  if (response.destroyed) end(); // gone before the stream began

  const read = async (sequence: number): Promise<StartTaskTransition[]> => {
    try {
      return await tasks.transitionsAfter(taskId, sequence);
    } catch (error) {
      if (sequence === 0) throw error;
      logger.warn({ err: error, taskId }, 'the progress of a start cannot be read; trying again');
      await delay(RETRY_MS, undefined, { signal: over.signal }).catch(() => undefined); // over: nobody reads on
      bell.ring();
      return [];
    }
  };

  try {
    let sequence = 0;
    let finished = false;
    while (!finished) {
      for (const transition of await read(sequence)) {
        if (sequence === 0) begin(response);
        await writePiece(response, `${sequence === 0 ? '[\n' : ',\n'}${JSON.stringify(transition.task)}`);
        sequence = transition.sequence;
        finished = isTerminal(transition.task.status);
      }
      if (sequence === 0) throw new Error(`start task ${taskId} has no first state`);
      if (over.signal.aborted || streams.ended) break;
      if (!finished) await bell.rung();
    }
    if (!response.destroyed) response.end(']');
  } finally {
    unsubscribe();
    unregister();
    response.off('close', end);
  }
}

function begin(response: Response): void {
  response.status(200);
  response.setHeader('Content-Type', 'application/json');
  response.setHeader('X-Accel-Buffering', 'no'); // a proxy that collects the pieces would hide the progress
  response.flushHeaders();
}
