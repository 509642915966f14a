/** How a start gets its sandbox: it is noted with the start, and announced, at the instant at which it is taken. */
import { eq, sql } from 'drizzle-orm';
import { isTerminal } from '../contract/start-task.js';
import type { Database } from './database.js';
import type { Executor } from './executor.js';
import { insertSandbox, type NewSandbox } from './sandbox-repository.js';
import { startTasks } from './schema/index.js';
import { advanceTask, announcedChange, lockedTask, StartRequestMissing } from './start-transitions.js';
import { claimWarm } from './warm-sandboxes.js';

/**
 * Announces WAITING_FOR_SANDBOX with the sandbox of the start. Nobody can delete the sandbox as unused in between.
 * @param sandbox its id where it exists; one that is made for this start alone is stored in the same transaction, so
 *   that at no instant there is one that nobody knows of
 * @returns false when the sandbox is deleted already, or somebody else's: another one has to be found.
 * @throws {StartEnded} when nobody would give it back any more
 */
export async function occupySandbox(
  database: Database,
  taskId: string,
  sandbox: string | NewSandbox,
): Promise<boolean> {
  const made = typeof sandbox === 'string' ? null : sandbox;
  if (made && (await occupyNew(database, taskId, made))) return true;
  const sandboxId = made?.id ?? (sandbox as string);
  return database.transaction(async (tx) => {
    if (made) await insertSandbox(tx, made);
    const { rows } = await tx.execute<{ owner: string | null }>(
      sql`select created_by_user_id as owner from sandboxes where id = ${sandboxId} and deleted_at is null for share`,
    );
    const [found] = rows;
    if (!found || (made && found.owner !== made.createdByUserId)) return false;
    const fields = { sandboxId, ownsSandbox: made !== null };
    if (isTerminal(await advanceTask(tx, taskId, 'WAITING_FOR_SANDBOX', fields)))
      throw new StartEnded(taskId);
    return true;
  });
}

/**
 * The same in one statement for a sandbox that nobody has stored yet, which is all but every one.
 * @returns false, and has changed nothing, when it is stored already or the start does not wait for its first one
 */
async function occupyNew(executor: Executor, taskId: string, sandbox: NewSandbox): Promise<boolean> {
  const now = sql`${new Date().toISOString()}::timestamptz`;
  const { rows } = await executor.execute<{ told: string }>(sql`
    with ${lockedTask(taskId)}, made as (
      insert into sandboxes (id, created_by_user_id, spec_id, status, session_api_key, session_api_key_hash, secret_key,
        warm_since, host_id, last_active_at, created_at, updated_at)
      select ${sandbox.id}, ${sandbox.createdByUserId}, ${sandbox.specId}, 'STARTING', ${sandbox.sessionApiKey},
        ${sandbox.sessionApiKeyHash}, ${sandbox.secretKey}, ${sandbox.warmSince?.toISOString() ?? null}::timestamptz,
        ${sandbox.hostId ?? null}, ${now}, ${now}, ${now}
      from task where is_current and status = 'WORKING' and sandbox_id is null
      on conflict do nothing
      returning id
    ), changed as (
      update start_tasks
      set status = 'WAITING_FOR_SANDBOX', sandbox_id = made.id, owns_sandbox = true, updated_at = task.now
      from task, made
      where start_tasks.id = task.id
      returning start_tasks.*
    ), ${announcedChange(taskId)}
    select count(*) as told from announced`);
  return rows[0]?.told === '1';
}

/**
 * Gives a start a sandbox that is kept warm, and announces WAITING_FOR_SANDBOX with it, in one transaction: at no
 * instant is one taken and nobody's. Of several starts that want the same one, one gets it.
 * @returns the sandbox of the start; null when this one is not to be had any more
 * @throws {StartEnded} when nobody would give it back any more
 */
export async function occupyWarmSandbox(
  database: Database,
  taskId: string,
  sandboxId: string,
): Promise<string | null> {
  return database.transaction(async (tx) => {
    const [task] = await tx.select().from(startTasks).where(eq(startTasks.id, taskId)).for('update');
    if (!task) throw new StartRequestMissing(taskId);
    if (task.sandboxId !== null) return task.sandboxId; // another attempt was faster
    if (isTerminal(task.status)) throw new StartEnded(taskId);
    if (!(await claimWarm(tx, sandboxId, task.createdByUserId))) return null;
    await advanceTask(tx, taskId, 'WAITING_FOR_SANDBOX', { sandboxId, ownsSandbox: true });
    return sandboxId;
  });
}

/** A start that has ended takes nothing any more: nobody would give it back. */
export class StartEnded extends Error {
  constructor(taskId: string) {
    super(`start task ${taskId} has ended already`);
    this.name = 'StartEnded';
  }
}
