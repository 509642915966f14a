import { Context } from '@temporalio/activity';
import { ApplicationFailure } from '@temporalio/common';
import type { DeliveryOutcome } from '../../activities/messages/delivery.js';

/** The side effects of a conversation's actor, counted instead of done. */
export class FakeConversation {
  /** Callbacks that wait; each run works off one. */
  queued = 0;
  runs = 0;
  reconciled: string[] = [];
  deleted: string[] = [];
  released: string[] = [];
  unreferencedSandboxId: string | null = null;
  /** What the next deliveries end with; `done` when nothing is said. */
  deliveries: DeliveryOutcome[] = [];
  delivered: string[] = [];
  /** Why the next attempts to resume a sandbox fail; null for one that works. */
  resumeFailures: (string | null)[] = [];
  resumed: { sandboxId: string; requester: string }[] = [];
  blocked: { conversationId: string; detail: string }[] = [];
  /** Messages that wait; each delivery takes all of them. */
  waiting: string[] = [];
  /** Messages in the order in which they were told. */
  told: string[] = [];
  /** Deliveries do not end while this is true, unless they are cancelled. */
  holdDeliveries = false;

  activities = {
    runQueuedCallbacks: async () => {
      this.runs++;
      this.queued = Math.max(0, this.queued - 1);
      return { remaining: this.queued };
    },
    reconcileRunningSandboxes: () => Promise.resolve({ sandboxes: 0, active: 0, fetched: 0, failed: 0 }),
    reconcileEvents: async (conversationId: string) => {
      this.reconciled.push(conversationId);
      return { fetched: 0, callbacksQueued: false };
    },
    deleteConversationData: async (conversationId: string) => {
      this.deleted.push(conversationId);
      return { unreferencedSandboxId: this.unreferencedSandboxId };
    },
    deliverMessages: async (conversationId: string) => {
      this.delivered.push(conversationId);
      while (this.holdDeliveries) {
        Context.current().heartbeat();
        await Context.current().sleep(20);
      }
      this.told.push(...this.waiting.splice(0));
      return this.deliveries.shift() ?? { outcome: 'done' as const };
    },
    resumeForMessages: async (sandboxId: string, requester: string) => {
      this.resumed.push({ sandboxId, requester });
      const failure = this.resumeFailures.shift();
      if (failure) throw ApplicationFailure.nonRetryable(failure, 'SandboxExited');
    },
    blockMessages: async (conversationId: string, detail: string) =>
      void this.blocked.push({ conversationId, detail }),
    releaseSandbox: async (sandboxId: string) => void this.released.push(sandboxId),
  };
}
