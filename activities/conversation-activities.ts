import type { CallbackActivities } from './callback-activities.js';
import type { MessageActivities } from './messages/message-activities.js';
import type { createSandboxSteps } from './start-conversation-activities.js';

/** Deleting a conversation also releases its sandbox, the way a failed start does. */
export type ConversationActivities = CallbackActivities &
  MessageActivities &
  Pick<ReturnType<typeof createSandboxSteps>, 'releaseSandbox'>;
