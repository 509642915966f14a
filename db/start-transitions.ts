/** How a start goes from status to status: each is kept with its time, and announced to whoever listens. */
import { eq, sql } from 'drizzle-orm';
import { hexId } from '../contract/ids.js';
import { isTerminal, START_STATUSES, type StartStatus } from '../contract/start-task.js';
import type { Executor } from './executor.js';
import { startRequests, startTaskArtifacts, startTasks, startTaskTransitions } from './schema/index.js';
import { forgetConversationOf, releaseSandboxOf } from './start-release.js';

/** Channel on which each new status of a start is announced; the payload is the task id. */
export const START_TASK_CHANNEL = 'start_task';

/** What a start has got so far; members left out keep their value. */
export interface TransitionFields {
  detail?: string;
  sandboxId?: string;
  agentServerUrl?: string;
  appConversationId?: string;
  /** With ERROR: secrets of the request stay, so that the start can be tried again. */
  keepSecrets?: boolean;
}

/**
 * Writes a status and announces it, as part of a transaction; what the start has made goes with ERROR, what only it needed with its end.
 * @returns the status before
 * @throws {StartRequestMissing} when there is no such task
 */
export async function advanceTask(
  tx: Executor,
  taskId: string,
  status: StartStatus,
  fields: TransitionFields,
): Promise<StartStatus> {
  const [task] = await tx.select().from(startTasks).where(eq(startTasks.id, taskId)).for('update');
  if (!task) throw new StartRequestMissing(taskId);
  if (isTerminal(task.status) || task.status === status) return task.status;
  const now = new Date(Math.max(Date.now(), task.updatedAt.getTime() + 1)); // times of one task only grow
  const next = {
    status,
    detail: fields.detail ?? task.detail,
    sandboxId: fields.sandboxId ?? task.sandboxId,
    agentServerUrl: fields.agentServerUrl ?? task.agentServerUrl,
    appConversationId: fields.appConversationId ? hexId(fields.appConversationId) : task.appConversationId,
  };
  await tx
    .update(startTasks)
    .set({ ...next, updatedAt: now })
    .where(eq(startTasks.id, taskId));
  await tx.insert(startTaskTransitions).values({
    taskId,
    sequence: sql`(select coalesce(max(sequence), 0) + 1 from start_task_transitions where task_id = ${taskId})`,
    ...next,
    at: now,
  });
  if (status === 'ERROR') {
    await forgetConversationOf(tx, taskId);
    if (task.ownsSandbox && next.sandboxId) await releaseSandboxOf(tx, next.sandboxId);
  }
  if (isTerminal(status)) {
    // What only the start needed goes with its end: secrets first of all.
    if (!fields.keepSecrets) {
      await tx
        .update(startRequests)
        .set({ secrets: null, authority: null })
        .where(eq(startRequests.id, taskId));
    }
    await tx.delete(startTaskArtifacts).where(eq(startTaskArtifacts.taskId, taskId));
  }
  await tx.execute(sql`select pg_notify(${START_TASK_CHANNEL}, ${taskId})`);
  return task.status;
}

/**
 * Writes and announces statuses that follow each other at once, in one statement; each of them is told to whoever
 * listens. Those that the task has reached or passed are left out, so that a repeated step leads nowhere back.
 * @param statuses none of them an end
 */
export async function passThroughStatuses(
  executor: Executor,
  taskId: string,
  statuses: readonly Exclude<StartStatus, 'READY' | 'ERROR'>[],
  { agentServerUrl }: Pick<TransitionFields, 'agentServerUrl'> = {},
): Promise<void> {
  const order = sql`${textArray(START_STATUSES)}`;
  const { rows } = await executor.execute<{ found: boolean }>(sql`
    with task as (
      select *, greatest(${new Date().toISOString()}::timestamptz, updated_at + interval '1 ms') as now
      from start_tasks where id = ${taskId} for update
    ), ahead as (
      select given.status, row_number() over (order by given.step) as step
      from task, unnest(${textArray(statuses)}) with ordinality as given(status, step)
      where array_position(${order}, given.status) > array_position(${order}, task.status)
    ), passed as (
      insert into start_task_transitions
        (task_id, sequence, status, detail, sandbox_id, agent_server_url, app_conversation_id, at)
      select task.id,
        ahead.step + (select max(sequence) from start_task_transitions where task_id = ${taskId}),
        ahead.status, task.detail, task.sandbox_id, coalesce(${agentServerUrl ?? null}, task.agent_server_url),
        task.app_conversation_id, task.now + (ahead.step - 1) * interval '1 ms'
      from task, ahead
      returning status, sequence, agent_server_url, at
    ), reached as (
      update start_tasks
      set status = last.status, agent_server_url = last.agent_server_url, updated_at = last.at
      from (select * from passed where sequence = (select max(sequence) from passed)) as last
      where id = ${taskId}
      returning pg_notify(${START_TASK_CHANNEL}, id)
    )
    select exists (select from task) as found, (select count(*) from reached) as told`);
  if (rows[0]?.found !== true) throw new StartRequestMissing(taskId);
}

/** For PostgreSQL, which takes no list as a parameter from here. */
const textArray = (values: readonly string[]) =>
  sql`array[${sql.join(
    values.map((value) => sql`${value}`),
    sql`, `,
  )}]::text[]`;

/** The request of a start is not there: never staged, or swept as abandoned. */
export class StartRequestMissing extends Error {
  constructor(taskId: string) {
    super(`start request ${taskId} does not exist`);
    this.name = 'StartRequestMissing';
  }
}
