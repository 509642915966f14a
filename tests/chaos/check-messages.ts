import type { AcknowledgedMessage, Books } from './books.js';
import { excusedConversations } from './check-events.js';
import type { Snapshot } from './snapshot.js';
import type { Violation } from './violation.js';

/** Each acknowledged message has reached the agent, once, and in the order in which it was sent. */
export function checkMessages(snapshot: Snapshot, books: Books): Violation[] {
  const found: Violation[] = [];
  const heard = heardMessages(snapshot);
  for (const [conversation, messages] of heard) {
    const seen = new Set<string>();
    for (const { text, sandbox } of messages) {
      // A start that failed may have been made anew, in another sandbox.
      if (seen.has(`${sandbox}/${text}`))
        found.push({
          is: 'doubled',
          what: `message ${JSON.stringify(text)} in conversation ${conversation}`,
        });
      seen.add(`${sandbox}/${text}`);
    }
  }

  const tasks = new Map(snapshot.tasks.map((task) => [task.id, task]));
  const excused = excusedConversations(snapshot, books);
  const ready = new Map(
    snapshot.tasks.filter(({ status }) => status === 'READY').map((task) => [task.conversation_id, task]),
  );
  const unsendable = new Set(
    snapshot.sandboxes.filter((row) => row.deleted || row.status !== 'RUNNING').map(({ id }) => id),
  );
  const acknowledged = new Map<string, AcknowledgedMessage[]>();
  for (const message of books.messages) {
    // One that was sent to a start which failed goes to the next start of the same conversation.
    const task = ready.get(tasks.get(message.taskId)?.conversation_id ?? '');
    // What waits is not lost while its sandbox cannot take it; one that was deleted never will.
    if (!task || unsendable.has(task.sandbox_id ?? '')) continue;
    const conversation = task.conversation_id;
    if (excused.has(conversation)) continue;
    acknowledged.set(conversation, [...(acknowledged.get(conversation) ?? []), message]);
  }
  for (const [conversation, messages] of acknowledged) {
    const texts = textsOf(heard, conversation);
    const places = messages.map(({ text }) => texts.indexOf(text));
    messages.forEach(({ text, via }, index) => {
      if (places[index] !== -1) return;
      const waiting = snapshot.pending.filter((one) => one.conversation_id === conversation);
      const queue = waiting.map(({ status, detail }) => `${status}: ${detail ?? ''}`).join('; ');
      const what = `message ${JSON.stringify(text)} (${via}) to conversation ${conversation}; queue: ${queue}`;
      found.push({ is: 'lost', what });
    });
    const known = places.filter((place) => place >= 0);
    if (known.some((place, index) => place < (known[index - 1] ?? -1)))
      found.push({ is: 'lost', what: `order of the messages of ${conversation}: ${texts.join(', ')}` });
  }
  return found;
}

interface Heard {
  text: string;
  sandbox: string;
}

const textsOf = (heard: ReadonlyMap<string, Heard[]>, conversation: string): string[] =>
  (heard.get(conversation) ?? []).map(({ text }) => text);

/** Users' messages in the order of the log, by conversation: from the agent-servers, else from the store. */
function heardMessages({ ledger, events }: Snapshot): Map<string, Heard[]> {
  const heard = new Map<string, Map<string, Heard>>();
  const hear = (conversation: string, event: string, message: Heard): void => {
    heard.set(conversation, (heard.get(conversation) ?? new Map<string, Heard>()).set(event, message));
  };
  for (const line of ledger) if (line.what === 'message') hear(line.conversation, line.event, line);
  const light = new Set(heard.keys());
  // Names of files begin with the event's time.
  for (const event of events.toSorted((a, b) => (a.file_name < b.file_name ? -1 : 1))) {
    const { conversation_id, event_id, text } = event;
    if (text !== null && !light.has(conversation_id)) hear(conversation_id, event_id, { text, sandbox: '' });
  }
  return new Map([...heard].map(([conversation, messages]) => [conversation, [...messages.values()]]));
}
