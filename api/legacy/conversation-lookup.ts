/** How the routes of older clients find a conversation (contract 16). */
import { z } from 'zod';
import { hexId, isUuid } from '../../contract/ids.js';
import type { StartTask } from '../../contract/start-task.js';
import type { ConversationReadModel, ListedConversation } from '../../db/conversation-read-model.js';
import type { StartTaskReadModel } from '../../db/start-task-read-model.js';
import { visibleUserIds, type UserContext } from '../../identity/user-context.js';
import { HttpError, notFound } from '../http-error.js';

export interface LookupDeps {
  conversations: Pick<ConversationReadModel, 'read'>;
  tasks: Pick<StartTaskReadModel, 'ofConversation'>;
}

/** Path of everything about one conversation. */
export const LEGACY_CONVERSATION = '/api/conversations/{conversation_id}';
export const LegacyPath = z.object({ conversation_id: z.string() });

const LONGEST_ID = 100;

/**
 * Reads an id as older clients send it.
 * @returns hex; null for one that no conversation can have
 * @throws {HttpError} 400 for what is not even an id
 */
export function legacyId(given: string): string | null {
  if (given.length > LONGEST_ID) {
    throw new HttpError(400, `Conversation ID is too long: at most ${LONGEST_ID} characters are accepted.`);
  }
  if (/\p{Cc}/u.test(given)) throw new HttpError(400, 'Conversation ID contains control characters.');
  if (/\.\.|[/\\]/.test(given)) throw new HttpError(400, 'Conversation ID contains parts of a path.');
  return isUuid(given) ? hexId(given) : null;
}

/** A conversation that the caller may see, or null. */
export async function findConversation(
  { conversations }: Pick<LookupDeps, 'conversations'>,
  user: UserContext,
  given: string,
): Promise<ListedConversation | null> {
  const id = legacyId(given);
  return id === null ? null : conversations.read(await visibleUserIds(user), id);
}

/** @throws {HttpError} 404 when there is none that the caller may see */
export async function requireConversation(
  deps: Pick<LookupDeps, 'conversations'>,
  user: UserContext,
  given: string,
): Promise<ListedConversation> {
  const found = await findConversation(deps, user, given);
  if (!found) throw unknown(given);
  return found;
}

/** The start that is about to lead to a conversation, or has failed to; null for one that was taken back. */
export async function findStart(
  { tasks }: LookupDeps,
  user: UserContext,
  conversationId: string,
): Promise<StartTask | null> {
  const task = await tasks.ofConversation(await visibleUserIds(user), conversationId);
  const over = task?.status === 'READY' || (task?.status === 'ERROR' && task.detail === 'cancelled');
  return over ? null : task;
}

export const unknown = (given: string): HttpError => notFound(`Conversation ${given} not found`);

/** An error in the form of the older conversation routes (contract 1.5, shape F). */
export const shapeF = (
  status: number,
  given: string | null,
  message: string,
  messageId?: string,
): HttpError =>
  new HttpError(status, message, {
    status: 'error',
    message,
    ...(messageId === undefined ? {} : { msg_id: messageId }),
    ...(given === null ? {} : { conversation_id: given }),
  });
