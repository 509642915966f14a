/** Queuing messages for agents, and waiting for what becomes of them. */
import { MOST_PENDING_MESSAGES } from '../contract/pending-message.js';
import { PENDING_MESSAGE_CHANNEL, type NotificationHub } from '../db/notifications.js';
import type { NewMessage, PendingMessageRepository } from '../db/pending-message-repository.js';
import type { PendingMessage } from '../db/pending-message-row.js';
import type { ConversationWaker } from './conversation-waker.js';
import { HttpError } from './http-error.js';
import type { StreamRegistry } from './start-stream.js';

export interface MessageQueueDeps {
  messages: Pick<PendingMessageRepository, 'add' | 'read'>;
  hub: Pick<NotificationHub, 'subscribe'>;
  /** Wakes conversations for which messages wait; keeps trying while Temporal is away. */
  waker: Pick<ConversationWaker, 'wake'>;
  /** Ends the waiting when the process does. */
  streams: Pick<StreamRegistry, 'add' | 'ended'>;
}

export interface MessageQueue {
  /**
   * Stores a message and has it delivered in its turn; what this returns for is certain to be tried.
   * @throws {HttpError} 429 when too many wait, 413 when those that wait are too large
   */
  enqueue(message: NewMessage): Promise<{ id: string; position: number }>;
  /**
   * Waits until a message was delivered or has failed, as long as the limit allows; null when it was taken back.
   * @param limitMs milliseconds
   */
  outcome(id: string, limitMs: number): Promise<PendingMessage | null>;
}

/** Seconds after which a full queue may have room again. */
const RETRY_AFTER = '5';

export function createMessageQueue({ messages, hub, waker, streams }: MessageQueueDeps): MessageQueue {
  return {
    async enqueue(message) {
      const result = await messages.add(message);
      if (result.outcome === 'too many') {
        throw new HttpError(
          429,
          `Too many pending messages. Maximum ${MOST_PENDING_MESSAGES} messages per conversation.`,
          undefined,
          { 'Retry-After': RETRY_AFTER },
        );
      }
      if (result.outcome === 'too large') {
        throw new HttpError(
          413,
          'The pending messages of this conversation are too large together: wait until some are delivered.',
        );
      }
      waker.wake(message.conversationId);
      return { id: result.id, position: result.position };
    },

    async outcome(id, limitMs) {
      const limit = AbortSignal.timeout(limitMs);
      for (;;) {
        let look: () => void = () => undefined;
        const news = new Promise<void>((resolve) => (look = resolve));
        // Subscribed before it is read: what happens in between is told.
        const unsubscribe = hub.subscribe(PENDING_MESSAGE_CHANNEL, id, look);
        const unregister = streams.add(look);
        limit.addEventListener('abort', look, { once: true });
        try {
          const message = await messages.read(id);
          if (message?.status !== 'waiting' || limit.aborted || streams.ended) return message;
          await news;
        } finally {
          unsubscribe();
          unregister();
        }
      }
    },
  };
}
