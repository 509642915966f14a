/** Wakes conversations' actors for what is queued for them: soon, together, and again until it has worked. */
import type { Client } from '@temporalio/client';
import type { SignalDefinition } from '@temporalio/common';
import type { Logger } from 'pino';
import { conversationWorkflowId, TASK_QUEUE } from '../contract/ids.js';
import { CONVERSATION_WORKFLOW, type ConversationInput } from '../workflows/messages.js';
import { createSignalQueue } from './signal-queue.js';

export interface ConversationWakerDeps {
  /** Signals the actor, or starts it with the signal. */
  signal: (conversationId: string) => Promise<void>;
  /** Conversations for which something waits in the queue table. */
  queued: () => Promise<string[]>;
  logger: Pick<Logger, 'warn'>;
  /** First wait after a failure, doubled up to the longest, in milliseconds. */
  retryMs?: { first: number; longest: number };
  /** Between two looks at the queue table, in milliseconds. */
  sweepMs?: number;
}

export interface ConversationWaker {
  /** Returns at once. Several wakes of a conversation before the signal has gone out are one. */
  wake(conversationId: string): void;
  /**
   * Wakes all conversations for which something waits, whoever queued it: what was queued while Temporal was away, or
   * by a process that ended between its commit and its signal. Runs by itself every minute.
   */
  sweep(): Promise<void>;
  close(): void;
}

export function createConversationWaker({
  signal,
  queued,
  logger,
  retryMs,
  sweepMs = 60_000,
}: ConversationWakerDeps): ConversationWaker {
  const queue = createSignalQueue({ signal, logger, retryMs });
  const wake = (conversationId: string): void => queue.add(conversationId);

  const sweep = async (): Promise<void> => {
    try {
      for (const conversationId of await queued()) wake(conversationId);
    } catch (error) {
      logger.warn({ err: error }, 'a queue of conversations cannot be read');
    }
  };

  const sweeper = setInterval(() => void sweep(), sweepMs);
  sweeper.unref();
  return {
    wake,
    sweep,
    close() {
      clearInterval(sweeper);
      queue.close();
    },
  };
}

/** How long Temporal may take to accept a signal, in milliseconds. */
const SIGNAL_LIMIT_MS = 5_000;

/** The signal itself: callbacks or messages are queued. */
export const signalConversation =
  (client: Pick<Client, 'workflow' | 'withDeadline'>, signal: SignalDefinition, taskQueue = TASK_QUEUE) =>
  async (conversationId: string): Promise<void> => {
    const input: ConversationInput = { conversationId };
    await client.withDeadline(Date.now() + SIGNAL_LIMIT_MS, () =>
      client.workflow.signalWithStart(CONVERSATION_WORKFLOW, {
        workflowId: conversationWorkflowId(conversationId),
        taskQueue,
        args: [input],
        signal,
        workflowIdReusePolicy: 'ALLOW_DUPLICATE',
      }),
    );
  };
