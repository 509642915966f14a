/** Wakes conversations for the messages that wait for them. */
import type { Client } from '@temporalio/client';
import type { Logger } from 'pino';
import { SANDBOX_CHANNEL, type NotificationHub } from '../db/notifications.js';
import type { PendingMessageRepository } from '../db/pending-message-repository.js';
import { messagesQueuedSignal } from '../workflows/messages.js';
import { createConversationWaker, signalConversation, type ConversationWaker } from './conversation-waker.js';

export interface MessageWakerDeps {
  client: Pick<Client, 'workflow' | 'withDeadline'>;
  messages: Pick<PendingMessageRepository, 'conversationsToWake'>;
  hub: Pick<NotificationHub, 'watch'>;
  logger: Pick<Logger, 'warn'>;
}

/** Besides what is queued, each change of a sandbox is a reason to look: it may run again. */
export function createMessageWaker({ client, messages, hub, logger }: MessageWakerDeps): ConversationWaker {
  const waker = createConversationWaker({
    signal: signalConversation(client, messagesQueuedSignal),
    queued: () => messages.conversationsToWake(),
    logger,
  });
  const wakeThoseOf = async (sandboxId: string): Promise<void> => {
    try {
      for (const conversationId of await messages.conversationsToWake(sandboxId)) waker.wake(conversationId);
    } catch (error) {
      logger.warn({ err: error, sandboxId }, 'the messages that wait for a sandbox cannot be read'); // the sweep will
    }
  };
  const unwatch = hub.watch(SANDBOX_CHANNEL, (id) => void (id === null ? waker.sweep() : wakeThoseOf(id)));
  return {
    ...waker,
    close() {
      unwatch();
      waker.close();
    },
  };
}
