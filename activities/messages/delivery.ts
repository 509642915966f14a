/** Works through the messages that wait for a conversation: in order, and each once. */
import { ApplicationFailure } from '@temporalio/common';
import type { AgentServerClient } from '../../agent-server/client.js';
import { AgentServerError } from '../../agent-server/errors.js';
import { dashedId } from '../../contract/ids.js';
import type { ConversationRepository } from '../../db/conversation-repository.js';
import type { PendingMessage } from '../../db/pending-message-row.js';
import type { PendingMessageRepository } from '../../db/pending-message-repository.js';
import type { SandboxRepository } from '../../db/sandbox-repository.js';
import type { StartTaskRepository } from '../../db/start-task-repository.js';
import { runtimeOf, type RuntimeDeps } from '../callbacks/conversation-runtime.js';
import type { ActivityScope } from '../start/activity-scope.js';
import { hasArrived, isLogged, newestEvent, type ArrivalTimes, type MessageLog } from './arrival.js';

/** What is asked of an agent-server. */
export type MessageRuntime = MessageLog & Pick<AgentServerClient, 'sendMessage'>;

export interface DeliveryDeps extends RuntimeDeps<MessageRuntime> {
  messages: PendingMessageRepository;
  conversations: Pick<ConversationRepository, 'read'>;
  sandboxes: Pick<SandboxRepository, 'read' | 'touch'>;
  startTasks: Pick<StartTaskRepository, 'isStarting'>;
  log: { warn(fields: Record<string, unknown>, message: string): void };
  /** Replaces the times of {@link hasArrived} in tests. */
  arrivalTimes?: ArrivalTimes;
}

/** Why delivering stopped. */
export type DeliveryOutcome =
  /** Nothing waits any more, or nothing that can be delivered: a start or an order will say when. */
  | { outcome: 'done' }
  /** The time was up. */
  | { outcome: 'more' }
  /** Messages wait for this sandbox to run. */
  | { outcome: 'asleep'; sandboxId: string };

/** After this long the rest is left to the next call, in milliseconds. */
const TIME_BUDGET_MS = 120_000;
/** An agent-server that failed at a message this often is believed. */
const MOST_REFUSALS = 3;
/** A deliverer that stood still longer than this has been replaced, and must not tell any more, in milliseconds. */
const MAY_STAND_STILL_MS = 8_000;

/** What the agent-server says when it cannot now, but may later. */
const isPassing = (status: number): boolean => status >= 500 || [408, 425, 429].includes(status);

/** Delivers what can be delivered now. */
export async function deliverQueue(
  deps: DeliveryDeps,
  conversationId: string,
  scope: ActivityScope,
): Promise<DeliveryOutcome> {
  const end = Date.now() + TIME_BUDGET_MS;
  while (Date.now() < end) {
    const message = await deps.messages.next(conversationId);
    if (!message) return { outcome: 'done' };
    const place = await placeOf(deps, conversationId);
    if ('outcome' in place) return place;
    await deps.sandboxes.touch(place.sandboxId); // not to be paused for idleness while it is under way
    await deliver(deps, place.runtime, message, scope);
  }
  return { outcome: 'more' };
}

/** Where the messages of a conversation go now. */
async function placeOf(
  deps: DeliveryDeps,
  conversationId: string,
): Promise<{ runtime: MessageRuntime; sandboxId: string } | DeliveryOutcome> {
  // Its first message comes before any other: the end of the start calls again.
  if (await deps.startTasks.isStarting(conversationId)) return { outcome: 'done' };
  const conversation = await deps.conversations.read(conversationId);
  if (!conversation) return { outcome: 'done' }; // its start failed: they wait for another
  if (conversation.deletedAt) {
    await deps.messages.forget([conversationId]);
    return { outcome: 'done' };
  }
  const { sandboxId } = conversation;
  const sandbox = await deps.sandboxes.read(sandboxId);
  if (!sandbox || sandbox.deletedAt) {
    await deps.messages.allFailed(conversationId, 'The sandbox of the conversation no longer exists.');
    return { outcome: 'done' };
  }
  const runtime = await runtimeOf(deps, conversation);
  return runtime ? { runtime, sandboxId } : { outcome: 'asleep', sandboxId };
}

async function deliver(
  deps: DeliveryDeps,
  runtime: MessageRuntime,
  message: PendingMessage,
  { signal }: ActivityScope,
): Promise<void> {
  const { messages, arrivalTimes } = deps;
  const id = dashedId(message.conversationId);
  try {
    if (message.toldAt !== null) {
      const sought = { content: message.content, logPosition: message.logPosition ?? '' };
      if (await hasArrived(runtime, id, sought, signal, arrivalTimes))
        return await messages.delivered(message.id);
    }
    const logPosition = message.logPosition ?? (await newestEvent(runtime, id, signal));
    const failure = await tell(deps, runtime, message, logPosition, signal);
    if (failure === null) return await messages.delivered(message.id);
    await settle(deps, runtime, { ...message, logPosition }, failure, signal);
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof AgentServerError)) throw error;
    // Only asked so far: what it was told before, if it was, stays as uncertain as it is.
    note(deps, message, error);
    if (error.status === null || isPassing(error.status)) throw notTaken();
    await messages.failed(message.id, refusal(error.status));
  }
}

/**
 * @returns what the agent-server, or the way to it, had against it; null when it was taken
 * @throws a failure to be tried again when it is somebody else's to tell
 */
async function tell(
  { messages }: DeliveryDeps,
  runtime: MessageRuntime,
  message: PendingMessage,
  logPosition: string,
  signal: AbortSignal,
): Promise<AgentServerError | null> {
  const began = Date.now();
  if (!(await messages.tell(message, logPosition)) || Date.now() - began > MAY_STAND_STILL_MS) {
    throw ApplicationFailure.retryable('another worker delivers the message', 'MessageTakenOver');
  }
  try {
    const { content, run } = message;
    await runtime.sendMessage(dashedId(message.conversationId), { role: 'user', content, run }, { signal });
    return null;
  } catch (error) {
    if (error instanceof AgentServerError) return error;
    throw error;
  }
}

/** Writes down what is certain after a message was told in vain. */
async function settle(
  deps: DeliveryDeps,
  runtime: MessageRuntime,
  message: PendingMessage & { logPosition: string },
  error: AgentServerError,
  signal: AbortSignal,
): Promise<void> {
  const { messages } = deps;
  note(deps, message, error);
  if (error.kind === 'http' && error.status !== null) {
    // After an answer nothing is on its way any more: one look tells whether it was kept all the same.
    const kept = await isLogged(runtime, dashedId(message.conversationId), message, signal);
    if (kept) return messages.delivered(message.id);
    if (!isPassing(error.status) || message.refusals + 1 >= MOST_REFUSALS) {
      return messages.failed(message.id, refusal(error.status));
    }
    await messages.untell(message.id, refusal(error.status), { refused: true });
  } else if (error.kind === 'refused') {
    await messages.untell(message.id, 'Nothing listens at the address of the agent-server.', {
      refused: false,
    });
  }
  throw notTaken();
}

const notTaken = () =>
  ApplicationFailure.retryable('the agent-server did not take a message', 'MessageNotTaken');

/** Clients read this text (contract 3.9). */
const refusal = (status: number): string => `Agent server error: ${status}`;

function note({ log }: DeliveryDeps, { id, conversationId }: PendingMessage, error: AgentServerError): void {
  log.warn({ conversationId, messageId: id, detail: error.message }, 'a message could not be delivered');
}
