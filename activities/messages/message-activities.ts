import { cancellationSignal, heartbeat } from '@temporalio/activity';
import type { SandboxActors } from '../sandbox-actors.js';
import { currentActivity, whileBeating } from '../start/activity-scope.js';
import type { ConversationActors } from './conversation-actors.js';
import { deliverQueue, type DeliveryDeps, type DeliveryOutcome } from './delivery.js';

export interface MessageActivityDeps extends DeliveryDeps {
  actors: Pick<SandboxActors, 'ensureRunning'>;
  conversationActors: ConversationActors;
  /** Has other sandboxes of its owner give way before one is resumed. */
  makeRoomFor: (sandboxId: string) => Promise<void>;
}

/** How often a waiting activity says that it is alive, in milliseconds. */
const HEARTBEAT_MS = 2_000;

/** What delivering messages asks for. Each of these may run again after a crash. */
export function createMessageActivities(deps: MessageActivityDeps) {
  return {
    /** Delivers what waits for a conversation (hex), for about two minutes at most. */
    deliverMessages: (conversationId: string): Promise<DeliveryOutcome> => {
      const scope = currentActivity();
      return whileBeating(scope, 'delivering messages', () => deliverQueue(deps, conversationId, scope));
    },

    /**
     * Waits until the sandbox for which messages wait is RUNNING, resumed if need be; fails with the actor's reason.
     * @param requester the same for each attempt at this order
     */
    async resumeForMessages(sandboxId: string, requester: string): Promise<void> {
      const beat = setInterval(() => heartbeat({ phase: 'waiting for the sandbox' }), HEARTBEAT_MS);
      try {
        await deps.makeRoomFor(sandboxId);
        await deps.actors.ensureRunning(sandboxId, requester, cancellationSignal());
      } finally {
        clearInterval(beat);
      }
    },

    /** Says why the messages of a conversation (hex) wait, when nothing more is tried by itself. */
    blockMessages: (conversationId: string, detail: string): Promise<void> =>
      deps.messages.block(conversationId, detail),

    /** Has the messages of a conversation (hex) that is READY now delivered. */
    wakeForMessages: (conversationId: string): Promise<void> =>
      deps.conversationActors.messagesQueued(conversationId),
  };
}

export type MessageActivities = ReturnType<typeof createMessageActivities>;
