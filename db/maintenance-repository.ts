import { sql } from 'drizzle-orm';
import type { StartStatus } from '../contract/start-task.js';
import type { Database } from './database.js';

/** A start that has not ended, as maintenance sees it. */
export interface StartUnderWay {
  id: string;
  status: StartStatus;
  sandboxId: string | null;
  /** Whether the sandbox goes with the start. */
  ownsSandbox: boolean;
  /** Somebody has deleted its conversation. */
  conversationDeleted: boolean;
}

/** A request that is not marked as accepted, and whether it is. */
export interface UnacceptedRequest {
  id: string;
  accepted: boolean;
}

/** Rows of each kind that were removed. */
export interface ExpiredRecords {
  secretsErased: number;
  startsRemoved: number;
  conversationsRemoved: number;
  sandboxesRemoved: number;
}

const before = (ms: number) => sql`now() - make_interval(secs => ${ms / 1000})`;

/** Finds what a crash has left in SQL, and removes what has had its time; each statement is one look into an index. */
export class MaintenanceRepository {
  constructor(private readonly database: Database) {}

  /**
   * Starts whose last change is older than `ageMs`, by id.
   * @param afterId continues after this one; '' begins
   */
  async startsUnderWay(ageMs: number, afterId: string, limit: number): Promise<StartUnderWay[]> {
    const { rows } = await this.database.execute<{
      id: string;
      status: StartStatus;
      sandbox_id: string | null;
      owns_sandbox: boolean;
      conversation_deleted: boolean;
    }>(sql`
      select task.id, task.status, task.sandbox_id, task.owns_sandbox,
        exists (
          select 1 from conversations
          where conversations.id = task.conversation_id and conversations.deleted_at is not null
        ) as conversation_deleted
      from start_tasks task
      where task.status not in ('READY', 'ERROR') and task.updated_at < ${before(ageMs)} and task.id > ${afterId}
      order by task.id limit ${limit}`);
    return rows.map((row) => ({
      id: row.id,
      status: row.status,
      sandboxId: row.sandbox_id,
      ownsSandbox: row.owns_sandbox,
      conversationDeleted: row.conversation_deleted,
    }));
  }

  /** Requests older than `ageMs` without a mark of their acceptance, oldest first. */
  async unacceptedRequests(ageMs: number, limit: number): Promise<UnacceptedRequest[]> {
    const { rows } = await this.database.execute<{ id: string; accepted: boolean }>(sql`
      select request.id, exists (select 1 from start_tasks where start_tasks.id = request.id) as accepted
      from start_requests request
      where request.accepted_at is null and request.created_at < ${before(ageMs)}
      order by request.created_at limit ${limit}`);
    return rows;
  }

  /** Marks accepted requests that an earlier version has left without the mark. */
  async markAccepted(ids: readonly string[]): Promise<void> {
    if (ids.length === 0) return;
    await this.database.execute(
      sql`update start_requests set accepted_at = created_at where id = any(${sql.param([...ids])})`,
    );
  }

  /** Conversations deleted longer than `ageMs` ago of which something is left, oldest first. */
  async unpurgedConversations(ageMs: number, limit: number): Promise<string[]> {
    const { rows } = await this.database.execute<{ id: string }>(sql`
      select id from conversations
      where deleted_at is not null and purged_at is null and deleted_at < ${before(ageMs)}
      order by deleted_at limit ${limit}`);
    return rows.map(({ id }) => id);
  }

  /** Erases the secrets of starts that ended longer than `ageMs` ago. */
  async eraseSecrets(ageMs: number, limit: number): Promise<number> {
    const { rowCount } = await this.database.execute(sql`
      update start_requests set secrets = null where id in (
        select request.id from start_requests request
        join start_tasks task on task.id = request.id
        where request.secrets is not null and request.created_at < ${before(ageMs)}
          and task.status in ('READY', 'ERROR') and task.updated_at < ${before(ageMs)}
        order by request.created_at limit ${limit})`);
    return rowCount ?? 0;
  }

  /** Removes starts that ended longer than `ageMs` ago, and the marks of what was deleted that long ago. */
  async removeExpired(ageMs: number, limit: number): Promise<Omit<ExpiredRecords, 'secretsErased'>> {
    const starts = await this.database.execute(sql`
      delete from start_requests where id in (
        select id from start_tasks
        where updated_at < ${before(ageMs)} and status in ('READY', 'ERROR')
        order by updated_at limit ${limit})`);
    const conversations = await this.database.execute(sql`
      delete from conversations where id in (
        select id from conversations where purged_at is not null and purged_at < ${before(ageMs)}
        order by purged_at limit ${limit})`);
    // Conversations that outlive their sandbox show it as MISSING with or without its row.
    const sandboxes = await this.database.execute(sql`
      delete from sandboxes where id in (
        select id from sandboxes
        where deleted_at is not null and deleted_at < ${before(ageMs)} and status = 'MISSING'
          and not exists (select 1 from start_tasks where start_tasks.sandbox_id = sandboxes.id)
          and not exists (select 1 from conversations where conversations.sandbox_id = sandboxes.id)
        order by deleted_at limit ${limit})`);
    return {
      startsRemoved: starts.rowCount ?? 0,
      conversationsRemoved: conversations.rowCount ?? 0,
      sandboxesRemoved: sandboxes.rowCount ?? 0,
    };
  }
}
