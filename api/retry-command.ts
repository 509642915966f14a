import { randomUUID } from 'node:crypto';
import { hexId } from '../contract/ids.js';
import type { StartTask } from '../contract/start-task.js';
import type { EarlierStart, StartRetries } from '../db/start-retry.js';
import { sealAuthority } from '../identity/start-authority.js';
import { visibleUserIds, type UserContext } from '../identity/user-context.js';
import { purposes, type Vault } from '../identity/vault.js';
import { requireAuthor } from './authorship.js';
import { beginStart, type BeginStartDeps } from './begin-start.js';
import { HttpError, notFound } from './http-error.js';

export interface RetryCommandDeps extends BeginStartDeps {
  vault: Pick<Vault, 'seal' | 'open'>;
  retries: Pick<StartRetries, 'find' | 'stage'>;
}

/**
 * Tries a start again that ended in ERROR: same request with its secrets, same conversation id, and the sandbox it was
 * given, in a new task. Repeated, it answers with that task.
 * @throws {HttpError} 404 when there is no such start of the caller, 409 when it cannot be tried again
 */
export type RetryCommand = (taskId: string, user: UserContext) => Promise<StartTask>;

export function createRetryCommand(deps: RetryCommandDeps): RetryCommand {
  const { vault, retries } = deps;

  /** Secrets are bound to their task: they are encrypted anew for the next one. */
  async function secretsFor(taskId: string, earlier: EarlierStart): Promise<string | null> {
    if (earlier.secrets === null) return null;
    const opened = await vault.open(purposes.startSecrets(earlier.taskId), earlier.secrets);
    return vault.seal(purposes.startSecrets(taskId), opened);
  }

  return async (id, user) => {
    const earlier = await retries.find(await visibleUserIds(user), id);
    if (!earlier) throw notFound('Start task not found');
    requireAuthor(user, earlier.createdByUserId, 'start task');
    const taskId = hexId(randomUUID());
    const result = await retries.stage(earlier, taskId, {
      secrets: await secretsFor(taskId, earlier),
      authority: await sealAuthority(vault, taskId, user),
    });
    switch (result.outcome) {
      case 'not-failed':
        throw new HttpError(
          409,
          earlier.status === 'READY'
            ? 'This start ended in READY: there is nothing to try again.'
            : `This start is under way (${earlier.status}): only one that ended in ERROR can be tried again.`,
        );
      case 'conversation-deleted':
        throw new HttpError(409, 'The conversation of this start was deleted: start a new one.');
      case 'secrets-erased':
        throw new HttpError(
          409,
          earlier.detail === 'cancelled'
            ? 'This start was cancelled, and the secrets given with it were erased with that: start a new conversation, and send them again.'
            : 'The secrets given with this start are not kept any more: start a new conversation, and send them again.',
        );
      case 'existing':
      case 'staged':
        return beginStart(deps, {
          taskId: result.taskId,
          staged: result.outcome === 'staged',
          userId: earlier.createdByUserId,
        });
    }
  };
}
