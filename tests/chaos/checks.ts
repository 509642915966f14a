/** Holds what clients and agent-servers were told against what is there. */
import type { Books } from './books.js';
import { checkCallbacks, checkEvents } from './check-events.js';
import { checkMessages } from './check-messages.js';
import { checkSandboxes } from './check-sandboxes.js';
import type { Snapshot } from './snapshot.js';
import type { Violation } from './violation.js';

/** All violations in a snapshot that was taken at rest. */
export const check = (snapshot: Snapshot, books: Books): Violation[] => [
  ...checkStarts(snapshot, books),
  ...checkSandboxes(snapshot, books),
  ...checkEvents(snapshot, books),
  ...checkCallbacks(snapshot),
  ...checkMessages(snapshot, books),
  ...books.wrongAnswers.map((what): Violation => ({ is: 'wrong answer', what })),
  ...books.hangs.map((what): Violation => ({ is: 'stuck', what })),
];

/** Every accepted start ends, once, and says why it failed. */
export function checkStarts({ tasks, conversations, workflows }: Snapshot, books: Books): Violation[] {
  const found: Violation[] = [];
  const byId = new Map(tasks.map((task) => [task.id, task]));
  // A deleted conversation takes all its ended starts with it, those that failed before included.
  const endedLives = new Set(
    [...books.starts.values()].filter(({ taskId }) => wasDeleted(taskId, books)).map(({ life }) => life),
  );
  for (const { taskId, life } of books.starts.values()) {
    if (!byId.has(taskId) && !endedLives.has(life))
      found.push({ is: 'lost', what: `start task ${taskId} is not there` });
  }
  for (const { id, status, detail, app_conversation_id } of tasks) {
    if (status !== 'READY' && status !== 'ERROR')
      found.push({ is: 'stuck', what: `start task ${id} is still ${status}` });
    if (status === 'ERROR' && (detail ?? '').trim().length < 8 && detail !== 'cancelled')
      found.push({ is: 'stuck', what: `start task ${id} is ERROR and says only ${JSON.stringify(detail)}` });
    if (status === 'READY' && !conversations.some((one) => one.id === app_conversation_id))
      found.push({ is: 'lost', what: `the conversation of start task ${id}, which is READY, is not there` });
  }
  for (const [key, ids] of books.tasksByKey) {
    // A start that has failed makes room for another one with the same conversation.
    const counted = [...ids].filter((id) => byId.get(id)?.status !== 'ERROR');
    if (counted.length > 1)
      found.push({ is: 'doubled', what: `${key} led to the tasks ${counted.join(', ')}` });
  }
  const live = new Map<string, string>();
  for (const { id, status, conversation_id } of tasks) {
    if (status === 'ERROR') continue;
    const other = live.get(conversation_id);
    if (other)
      found.push({
        is: 'doubled',
        what: `tasks ${other} and ${id} have one conversation ${conversation_id}`,
      });
    live.set(conversation_id, id);
  }
  for (const id of workflows) {
    if (/^(start-task|conversation)\//.test(id))
      found.push({ is: 'stuck', what: `workflow ${id} still runs` });
  }
  return found;
}

/** Whether the conversation of a start was deleted, before or after it had come to be. */
function wasDeleted(taskId: string, books: Books): boolean {
  const conversation = books.conversations.get(taskId)?.replaceAll('-', '');
  return (
    books.cancelled.has(taskId) ||
    (conversation !== undefined && books.deletedConversations.has(conversation))
  );
}
