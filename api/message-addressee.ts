/** Whom a message is for, and whether it can be told anything (contract 3.9, 3.14). */
import { dashedId } from '../contract/ids.js';
import type { SandboxStatus } from '../contract/sandbox.js';
import type { ConversationReadModel, ListedConversation } from '../db/conversation-read-model.js';
import type { StandingStart, StartTaskReadModel } from '../db/start-task-read-model.js';
import { ownUserIds, visibleUserIds, type UserContext } from '../identity/user-context.js';
import { requireAuthor } from './authorship.js';
import { HttpError, notFound } from './http-error.js';

export interface Addressee {
  /** Hex. */
  conversationId: string;
  /** Of its sandbox; STARTING while its start is under way. */
  sandboxStatus: SandboxStatus;
}

export interface AddresseeDeps {
  conversations: Pick<ConversationReadModel, 'read'>;
  tasks: Pick<StartTaskReadModel, 'standing'>;
}

/**
 * A conversation (hex id) of the caller, or the one that a start of the caller is about to lead to.
 * @throws {HttpError} when there is none, or its sandbox takes no messages in this state
 */
export async function addresseeOf(
  { conversations, tasks }: AddresseeDeps,
  user: UserContext,
  conversationId: string,
): Promise<Addressee> {
  const listed = await conversations.read(await visibleUserIds(user), conversationId);
  if (listed) {
    requireAuthor(user, listed.conversation.createdByUserId, 'conversation');
    return { conversationId, sandboxStatus: takingMessages(listed) };
  }
  const start = await tasks.standing(ownUserIds(user), { conversationId });
  if (!start || start.status === 'READY') throw unknownConversation(dashedId(conversationId));
  return { conversationId, sandboxStatus: starting(start) };
}

/** The same for the start task (hex id) that leads, or has led, to the conversation. */
export async function addresseeOfTask(
  deps: AddresseeDeps,
  user: UserContext,
  taskId: string,
): Promise<Addressee> {
  const start = await deps.tasks.standing(ownUserIds(user), { taskId });
  if (!start) throw unknownConversation(`task-${taskId}`);
  if (start.status === 'READY') return addresseeOf(deps, user, start.conversationId);
  return { conversationId: start.conversationId, sandboxStatus: starting(start) };
}

/**
 * Whose queue it is, whatever state its sandbox is in.
 * @returns `failure`: why the start has failed that would lead to the conversation, else null
 * @throws {HttpError} when there is no such conversation or start of the caller
 */
export async function queueOwner(
  { conversations, tasks }: AddresseeDeps,
  user: UserContext,
  address: { taskId: string } | { conversationId: string },
  given: string,
): Promise<{ conversationId: string; failure: string | null }> {
  const own = ownUserIds(user);
  const start = await tasks.standing(own, address);
  if (start && start.status !== 'READY') {
    const failure = start.status === 'ERROR' ? startFailed(start.detail) : null;
    return { conversationId: start.conversationId, failure };
  }
  const conversationId = 'taskId' in address ? start?.conversationId : address.conversationId;
  const listed = conversationId === undefined ? null : await conversations.read(own, conversationId);
  if (!listed) throw unknownConversation(given);
  return { conversationId: listed.conversation.id, failure: null };
}

export const unknownConversation = (id: string): HttpError => notFound(`Conversation ${id} not found`);

function starting({ status, detail }: StandingStart): SandboxStatus {
  if (status !== 'ERROR') return 'STARTING';
  throw new HttpError(409, startFailed(detail));
}

const startFailed = (detail: string | null): string =>
  `The start of this conversation has failed (${detail ?? 'without a reason'}): start it again to have messages delivered.`;

/** A sandbox that stands still is resumed for a message; one that is gone, or broken, takes none. */
function takingMessages({ conversation, sandbox }: ListedConversation): SandboxStatus {
  if (!sandbox.known) throw notFound(`Sandbox not found for conversation ${dashedId(conversation.id)}`);
  if (sandbox.deleted) {
    throw new HttpError(410, 'Conversation is archived. The sandbox no longer exists.');
  }
  if (sandbox.status === 'ERROR') {
    throw new HttpError(503, 'Sandbox is in an error state and cannot accept messages.');
  }
  if (sandbox.status === 'RUNNING' && sandbox.agentServerUrl === null) {
    throw new HttpError(503, 'No agent server URL found for sandbox.');
  }
  return sandbox.status;
}
