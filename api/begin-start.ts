import type { StartTask } from '../contract/start-task.js';
import type { StartTaskReadModel } from '../db/start-task-read-model.js';
import { StartRequestMissing } from '../db/start-transitions.js';
import type { StartTaskRepository } from '../db/start-task-repository.js';
import type { Actors } from './actors.js';
import { HttpError } from './http-error.js';
import { RETRY_AFTER_SECONDS } from './outages.js';

export interface BeginStartDeps {
  starts: Pick<StartTaskRepository, 'accept' | 'unstage'>;
  tasks: Pick<StartTaskReadModel, 'read' | 'transitionsAfter'>;
  actors: Pick<Actors, 'startConversation'>;
}

/** A request that is stored, and whether this call has stored it. */
export interface StoredRequest {
  taskId: string;
  staged: boolean;
  userId: string | null;
}

/**
 * Has the workflow of a stored request begun, and answers when the start task is stored: its first state for a new one,
 * its present one for a task that was known already.
 */
export async function beginStart(deps: BeginStartDeps, stored: StoredRequest): Promise<StartTask> {
  const known = await ensureBegun(deps, stored);
  if (known) return known;
  // The answer is the first state, however far the start has got by now (contract 3.3).
  const [first] = await deps.tasks.transitionsAfter(stored.taskId, 0);
  if (!first) throw new Error(`start task ${stored.taskId} was accepted but is not stored`);
  return first.task;
}

/**
 * The same for whoever reads the states of the task anyway.
 * @returns the present state of a task that was known already; null for a new one
 */
export async function ensureBegun(
  { starts, tasks, actors }: BeginStartDeps,
  { taskId, staged, userId }: StoredRequest,
): Promise<StartTask | null> {
  // What was accepted once is never started again, whatever became of it.
  const known = staged ? null : await tasks.read(taskId);
  if (known) return known;
  try {
    // Also for a request that another call has stored: that one may have died before it came to this.
    await actors.startConversation(taskId, userId);
    // Its workflow would do the same, and does where this process comes to its end here.
    await starts.accept(taskId);
    return null;
  } catch (error) {
    // Nobody knows how far the call got: what is not accepted by now never will be, what is accepted counts.
    if (staged) await starts.unstage(taskId);
    const accepted = await tasks.read(taskId);
    if (accepted) return accepted;
    throw error instanceof StartRequestMissing ? withdrawnMeanwhile(error) : error;
  }
}

/** Another call for the same request could not begin it, and took it back. */
const withdrawnMeanwhile = (cause: unknown): HttpError =>
  Object.assign(
    new HttpError(503, 'The start could not be stored; try again in a few seconds.', undefined, {
      'Retry-After': String(RETRY_AFTER_SECONDS),
    }),
    { cause },
  );
