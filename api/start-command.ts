import { randomUUID } from 'node:crypto';
import { hexId } from '../contract/ids.js';
import type { StartRequest, StartTask } from '../contract/start-task.js';
import type { ConversationReadModel } from '../db/conversation-read-model.js';
import type { ConversationRepository } from '../db/conversation-repository.js';
import type { StartTaskReadModel } from '../db/start-task-read-model.js';
import type { StartTaskRepository } from '../db/start-task-repository.js';
import { sealAuthority } from '../identity/start-authority.js';
import { isAuthor, type UserContext } from '../identity/user-context.js';
import { purposes, type Vault } from '../identity/vault.js';
import { beginStart, ensureBegun, type BeginStartDeps, type StoredRequest } from './begin-start.js';
import { HttpError } from './http-error.js';
import { requestFingerprint } from './request-fingerprint.js';
import { prepareStart } from './start-request.js';

export interface StartCommandDeps extends BeginStartDeps {
  vault: Pick<Vault, 'seal'>;
  starts: Pick<StartTaskRepository, 'stage' | 'accept' | 'unstage'>;
  tasks: Pick<StartTaskReadModel, 'read' | 'transitionsAfter' | 'knowsConversation'>;
  conversations: Pick<ConversationReadModel, 'read'>;
  conversationRows: Pick<ConversationRepository, 'read'>;
}

export interface StartOrder {
  given: StartRequest;
  /** Value of the `Idempotency-Key` header, or null: the same key leads to the same task. */
  idempotencyKey: string | null;
  user: UserContext;
}

/**
 * Begins a start, or finds the one that an earlier, equal request began; returns when the task is stored.
 * @throws {HttpError} 400, 404, 409, 422 for requests that cannot be started, 503 when nothing was started
 */
export interface StartCommand {
  (order: StartOrder): Promise<StartTask>;
  /** The same for whoever reads the states of the task itself; returns the id of the task. */
  taskId(order: StartOrder): Promise<string>;
}

export function createStartCommand(deps: StartCommandDeps): StartCommand {
  const { vault, starts, tasks } = deps;

  /** A conversation that did not come from a start, or is somebody else's, cannot be started. */
  async function refuseTakenId(conversationId: string, user: UserContext): Promise<void> {
    const row = await deps.conversationRows.read(conversationId);
    if (!row) return;
    const mine = isAuthor(user, row.createdByUserId) && row.deletedAt === null;
    if (!mine || !(await tasks.knowsConversation(conversationId))) throw taken(conversationId);
  }

  /** Stores the request under a new task id, or finds the task that holds its conversation or idempotency key. */
  async function stage({
    given,
    idempotencyKey,
    user,
  }: StartOrder): Promise<{ taskId: string; staged: boolean }> {
    const { request, secrets } = await prepareStart(given, user, deps.conversations);
    if (given.conversation_id !== null) await refuseTakenId(given.conversation_id, user);
    const taskId = hexId(randomUUID());
    const conversationId = given.conversation_id ?? hexId(randomUUID());
    const result = await starts.stage({
      taskId,
      conversationId,
      createdByUserId: user.userId,
      request,
      secrets: secrets && (await vault.seal(purposes.startSecrets(taskId), secrets)),
      authority: await sealAuthority(vault, taskId, user),
      idempotencyKey,
      fingerprint: idempotencyKey === null ? null : requestFingerprint(given),
    });
    if (result.outcome === 'other-request') throw keyUsedOtherwise(result.taskId);
    if (result.outcome === 'existing' && !isAuthor(user, result.createdByUserId)) throw taken(conversationId);
    return { taskId: result.taskId, staged: result.outcome === 'staged' };
  }

  const stored = async (order: StartOrder): Promise<StoredRequest> => ({
    ...(await stage(order)),
    userId: order.user.userId,
  });
  const start = async (order: StartOrder): Promise<StartTask> => beginStart(deps, await stored(order));
  return Object.assign(start, {
    async taskId(order: StartOrder): Promise<string> {
      const request = await stored(order);
      await ensureBegun(deps, request);
      return request.taskId;
    },
  });
}

const taken = (conversationId: string): HttpError =>
  new HttpError(
    409,
    `The conversation id ${conversationId} is taken: send another one, or none to get a new one.`,
  );

const keyUsedOtherwise = (taskId: string): HttpError =>
  new HttpError(
    422,
    `This Idempotency-Key belongs to another request, the one of start task ${taskId}: send a new key, or that request again.`,
  );
