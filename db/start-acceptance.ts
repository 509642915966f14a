/** How a stored request becomes a start task. */
import { sql } from 'drizzle-orm';
import type { StartStatus } from '../contract/start-task.js';
import type { Executor } from './executor.js';
import { START_TASK_CHANNEL, StartRequestMissing } from './start-transitions.js';

/** A start whose request was accepted, and where it stands. */
export interface AcceptedStart {
  status: StartStatus;
  conversationId: string;
}

/**
 * Makes the staged request a start task in WORKING; repeated, it changes nothing and tells where the task stands.
 * @throws {StartRequestMissing} when the request was withdrawn
 */
export async function acceptRequest(executor: Executor, taskId: string): Promise<AcceptedStart> {
  // Whoever waited for another acceptance of the same request does not see its task before the next statement.
  const accepted = (await makeTask(executor, taskId)) ?? (await makeTask(executor, taskId));
  if (!accepted) throw new StartRequestMissing(taskId);
  return accepted;
}

/**
 * The task, made or found, in one statement; null for one that somebody else has made just now, and for none. A request
 * is held before its task is made: it can be accepted or withdrawn, never both. Secrets of the start whose place it
 * takes are its own now.
 */
async function makeTask(executor: Executor, taskId: string): Promise<AcceptedStart | null> {
  const now = sql`${new Date().toISOString()}::timestamptz`;
  const { rows } = await executor.execute<AcceptedStart & Record<string, unknown>>(sql`
    with known as (
      select status, conversation_id from start_tasks where id = ${taskId}
    ), staged as (
      select conversation_id, created_by_user_id, supersedes from start_requests
      where id = ${taskId} and not exists (select from known) for no key update
    ), made as (
      insert into start_tasks (id, conversation_id, created_by_user_id, status, created_at, updated_at)
      select ${taskId}, conversation_id, created_by_user_id, 'WORKING', ${now}, ${now} from staged
      on conflict do nothing
      returning id, status, conversation_id
    ), accepted as (
      update start_requests set accepted_at = ${now} from made where start_requests.id = made.id
    ), taken_over as (
      update start_requests set secrets = null, authority = null
      from staged, made where start_requests.id = staged.supersedes
    ), announced as (
      insert into start_task_transitions (task_id, sequence, status, at)
      select id, 1, status, ${now} from made
      returning pg_notify(${START_TASK_CHANNEL}, task_id)
    )
    select status, conversation_id as "conversationId", (select count(*) from announced) as told
    from (select status, conversation_id from known union all select status, conversation_id from made) as task`);
  const [task] = rows;
  return task ? { status: task.status, conversationId: task.conversationId } : null;
}
