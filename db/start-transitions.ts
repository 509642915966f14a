/** How a start goes from status to status: each is kept with its time, and announced to whoever listens. */
import { eq, sql, type SQL } from 'drizzle-orm';
import { hexId } from '../contract/ids.js';
import { START_STATUSES, type StartStatus } from '../contract/start-task.js';
import type { Executor } from './executor.js';
import { startRequests, startTaskArtifacts } from './schema/index.js';
import { forgetConversationOf, releaseSandboxOf } from './start-release.js';

/** Channel on which each new status of a start is announced; the payload is the task id. */
export const START_TASK_CHANNEL = 'start_task';

/** What a start has got so far; members left out keep their value. */
export interface TransitionFields {
  detail?: string;
  sandboxId?: string;
  agentServerUrl?: string;
  appConversationId?: string;
  /** Whether the sandbox was made for this start alone. */
  ownsSandbox?: boolean;
  /** With ERROR: secrets of the request stay, so that the start can be tried again. */
  keepSecrets?: boolean;
}

/** How a task stood when somebody wanted to write its next status. */
interface Standing {
  was: StartStatus;
  ownsSandbox: boolean;
  /** The sandbox it has now. */
  sandboxId: string | null;
  /** Whether the status was written. */
  isWritten: boolean;
}

/**
 * Writes a status and announces it; what the start has made goes with ERROR, what only it needed with its end.
 * @param executor a transaction where the status is ERROR, which is more than one statement
 * @returns the status before
 * @throws {StartRequestMissing} when there is no such task
 */
export async function advanceTask(
  executor: Executor,
  taskId: string,
  status: StartStatus,
  fields: TransitionFields,
): Promise<StartStatus> {
  const { was, ownsSandbox, sandboxId, isWritten } = await writeStatus(executor, taskId, status, fields);
  if (!isWritten || status !== 'ERROR') return was;
  await forgetConversationOf(executor, taskId);
  if (ownsSandbox && sandboxId) await releaseSandboxOf(executor, sandboxId);
  if (!fields.keepSecrets) {
    await executor
      .update(startRequests)
      .set({ secrets: null, authority: null })
      .where(eq(startRequests.id, taskId));
  }
  await executor.delete(startTaskArtifacts).where(eq(startTaskArtifacts.taskId, taskId));
  return was;
}

/** One statement, in which what only the start needed goes with READY: secrets first of all. */
async function writeStatus(
  executor: Executor,
  taskId: string,
  status: StartStatus,
  { detail, sandboxId, agentServerUrl, appConversationId, ownsSandbox }: TransitionFields,
): Promise<Standing> {
  const conversationId = appConversationId ? hexId(appConversationId) : null;
  const erased = sql`, erased as (
      update start_requests set secrets = null, authority = null from changed where start_requests.id = changed.id
    ), cleared as (
      delete from start_task_artifacts using changed where task_id = changed.id
    )`;
  return repeatedWhileStale(taskId, () =>
    executor.execute<Standing & Freshness>(sql`
    with ${lockedTask(taskId)}, changed as (
      update start_tasks
      set status = ${status}, detail = coalesce(${detail ?? null}, task.detail),
        sandbox_id = coalesce(${sandboxId ?? null}, task.sandbox_id),
        agent_server_url = coalesce(${agentServerUrl ?? null}, task.agent_server_url),
        app_conversation_id = coalesce(${conversationId}, task.app_conversation_id),
        owns_sandbox = coalesce(${ownsSandbox ?? null}::boolean, task.owns_sandbox), updated_at = task.now
      from task
      where start_tasks.id = task.id and task.is_current
        and task.status not in ('READY', 'ERROR') and task.status <> ${status}
      returning start_tasks.*
    ), ${announcedChange(taskId)}${status === 'READY' ? erased : sql``}
    select task.status as was, task.is_current as "isCurrent", task.owns_sandbox as "ownsSandbox",
      coalesce(changed.sandbox_id, task.sandbox_id) as "sandboxId", changed.id is not null as "isWritten",
      (select count(*) from announced) as told
    from task left join changed on true`),
  );
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
  const order = textArray(START_STATUSES);
  await repeatedWhileStale(taskId, () =>
    executor.execute<Freshness>(sql`
    with ${lockedTask(taskId)}, ahead as (
      select given.status, row_number() over (order by given.step) as step
      from task, unnest(${textArray(statuses)}) with ordinality as given(status, step)
      where task.is_current and array_position(${order}, given.status) > array_position(${order}, task.status)
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
    select task.is_current as "isCurrent", (select count(*) from reached) as told from task`),
  );
}

/**
 * CTEs that hold the row of a task until the end: `task` with what is stored now, and `now`, later than all its times.
 * Whoever had to wait for the row sees the rest of the database as it was before; it is `is_current` where nobody has
 * advanced it meanwhile, so that the sequence number after the last one that is seen is free.
 */
export const lockedTask = (taskId: string): SQL => sql`held as (
      select *, greatest(${new Date().toISOString()}::timestamptz, updated_at + interval '1 ms') as now
      from start_tasks where id = ${taskId} for update
    ), task as (
      select held.*, held.updated_at = seen.updated_at as is_current
      from held join start_tasks seen on seen.id = held.id
    )`;

/** CTE that keeps and announces what another one, `changed`, has made of the row of a task. */
export const announcedChange = (taskId: string): SQL => sql`announced as (
      insert into start_task_transitions
        (task_id, sequence, status, detail, sandbox_id, agent_server_url, app_conversation_id, at)
      select id, 1 + (select coalesce(max(sequence), 0) from start_task_transitions where task_id = ${taskId}),
        status, detail, sandbox_id, agent_server_url, app_conversation_id, updated_at
      from changed
      returning pg_notify(${START_TASK_CHANNEL}, task_id)
    )`;

interface Freshness extends Record<string, unknown> {
  isCurrent: boolean;
}

/**
 * The answer of a statement about {@link lockedTask}, asked again for as long as others advance the task meanwhile.
 * @throws {StartRequestMissing} when there is no such task
 */
async function repeatedWhileStale<Row extends Freshness>(
  taskId: string,
  ask: () => Promise<{ rows: Row[] }>,
): Promise<Row> {
  for (;;) {
    const [row] = (await ask()).rows;
    if (!row) throw new StartRequestMissing(taskId);
    if (row.isCurrent) return row;
  }
}

/** A list as one parameter, so that the text does not vary with its length. */
const textArray = (values: readonly string[]): SQL => sql`${sql.param([...values])}::text[]`;

/** The request of a start is not there: never staged, or swept as abandoned. */
export class StartRequestMissing extends Error {
  constructor(taskId: string) {
    super(`start request ${taskId} does not exist`);
    this.name = 'StartRequestMissing';
  }
}
