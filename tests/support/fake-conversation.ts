/** The side effects of a conversation's actor, counted instead of done. */
export class FakeConversation {
  /** Callbacks that wait; each run works off one. */
  queued = 0;
  runs = 0;
  reconciled: string[] = [];
  deleted: string[] = [];
  released: string[] = [];
  unreferencedSandboxId: string | null = null;

  activities = {
    runQueuedCallbacks: async () => {
      this.runs++;
      this.queued = Math.max(0, this.queued - 1);
      return { remaining: this.queued };
    },
    reconcileEvents: async (conversationId: string) => {
      this.reconciled.push(conversationId);
      return { fetched: 0, callbacksQueued: false };
    },
    deleteConversationData: async (conversationId: string) => {
      this.deleted.push(conversationId);
      return { unreferencedSandboxId: this.unreferencedSandboxId };
    },
    releaseSandbox: async (sandboxId: string) => void this.released.push(sandboxId),
  };
}
