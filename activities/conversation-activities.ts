import type { SandboxActors } from './sandbox-actors.js';
import type { CallbackActivities } from './callback-activities.js';

/** What deleting a conversation asks of its sandbox's actor. */
export function createConversationSandboxSteps({ actors }: { actors: SandboxActors }) {
  return {
    /** Orders the deletion of a sandbox that no conversation uses any more. */
    releaseSandbox: (sandboxId: string): Promise<void> => actors.requestDelete(sandboxId),
  };
}

export type ConversationActivities = CallbackActivities & ReturnType<typeof createConversationSandboxSteps>;
