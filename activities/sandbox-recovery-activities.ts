import type { CallbackActivities } from './callback-activities.js';

export interface SandboxRecoveryDeps {
  /** Stores what webhooks have lost of all conversations of a sandbox. */
  reconcileSandboxEvents: CallbackActivities['reconcileSandboxEvents'];
  /** Signals the actor of a conversation for which callbacks have been queued. */
  wakeConversation: (conversationId: string) => Promise<void>;
}

/** What is made good when a sandbox comes back, or when its worker does. */
export function createSandboxRecoveryActivities({
  reconcileSandboxEvents,
  wakeConversation,
}: SandboxRecoveryDeps) {
  return {
    /**
     * Brings events, statistics and the status of every agent in a running sandbox up to what its agent-server says,
     * and has the callbacks run that the events are registered for.
     */
    async catchUpSandbox(sandboxId: string): Promise<void> {
      const { conversationsToWake } = await reconcileSandboxEvents(sandboxId);
      for (const conversationId of conversationsToWake) await wakeConversation(conversationId);
    },
  };
}

export type SandboxRecoveryActivities = ReturnType<typeof createSandboxRecoveryActivities>;
