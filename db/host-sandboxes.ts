import { and, eq, inArray, isNotNull, isNull, notExists, notInArray, sql } from 'drizzle-orm';
import type { SandboxStatus } from '../contract/sandbox.js';
import type { Database } from './database.js';
import type { SandboxRecord } from './sandbox-repository.js';
import { sandboxes, startTasks } from './schema/index.js';

/** How far a sandbox's life has come. */
export type SandboxFate = Pick<SandboxRecord, 'status' | 'deletedAt'>;

export interface SandboxNeedingActor {
  id: string;
  status: SandboxStatus;
  hostId: string | null;
  /** Its deletion is ordered. */
  deleted: boolean;
  /** A conversation lives in it. */
  used: boolean;
}

const IDS_PER_QUERY = 1_000;

/** What hosts and sweeps ask about many sandboxes at once. */
export class HostSandboxes {
  constructor(private readonly database: Database) {}

  /** What a host has to look after. */
  async ofHost(hostId: string): Promise<SandboxRecord[]> {
    return this.database
      .select()
      .from(sandboxes)
      .where(
        and(
          eq(sandboxes.hostId, hostId),
          isNull(sandboxes.deletedAt),
          inArray(sandboxes.status, ['STARTING', 'RUNNING', 'PAUSED']),
        ),
      );
  }

  /** Of these ids, the sandboxes of which a row exists: whether it is deleted, and since when. */
  async fates(ids: readonly string[]): Promise<Map<string, SandboxFate>> {
    const fates = new Map<string, SandboxFate>();
    for (let at = 0; at < ids.length; at += IDS_PER_QUERY) {
      const rows = await this.database
        .select({ id: sandboxes.id, status: sandboxes.status, deletedAt: sandboxes.deletedAt })
        .from(sandboxes)
        .where(inArray(sandboxes.id, ids.slice(at, at + IDS_PER_QUERY)));
      for (const { id, ...fate } of rows) fates.set(id, fate);
    }
    return fates;
  }

  /** Hosts that own a sandbox which is not deleted to the end. */
  async hosts(): Promise<string[]> {
    const rows = await this.database
      .selectDistinct({ hostId: sandboxes.hostId })
      .from(sandboxes)
      .where(and(alive(), isNotNull(sandboxes.hostId)));
    return rows.flatMap(({ hostId }) => hostId ?? []);
  }

  /**
   * Sandboxes that are not deleted to the end, so that each should have an actor; those in which a start is under way
   * are left out, because that sees to it.
   * @param olderThanMs since their last change: what is being made right now is not meant
   */
  async needingActors(olderThanMs: number): Promise<SandboxNeedingActor[]> {
    const { rows } = await this.database.execute<{
      id: string;
      status: SandboxStatus;
      host_id: string | null;
      deleted: boolean;
      used: boolean;
    }>(sql`
      select sandboxes.id, sandboxes.status, sandboxes.host_id, sandboxes.deleted_at is not null as deleted,
        exists (
          select 1 from conversations
          where conversations.sandbox_id = sandboxes.id and conversations.deleted_at is null) as used
      from sandboxes
      where (sandboxes.deleted_at is null or sandboxes.status <> 'MISSING')
        and sandboxes.updated_at < now() - make_interval(secs => ${olderThanMs / 1000})
        and not exists (
          select 1 from start_tasks
          where start_tasks.sandbox_id = sandboxes.id and start_tasks.status not in ('READY', 'ERROR'))`);
    return rows.map(({ host_id: hostId, ...row }) => ({ ...row, hostId }));
  }

  /** Running sandboxes of a host in which no start is under way. */
  async restingOnHost(hostId: string): Promise<string[]> {
    const rows = await this.database
      .select({ id: sandboxes.id })
      .from(sandboxes)
      .where(
        and(
          eq(sandboxes.hostId, hostId),
          isNull(sandboxes.deletedAt),
          eq(sandboxes.status, 'RUNNING'),
          notExists(
            this.database
              .select({ id: startTasks.id })
              .from(startTasks)
              .where(
                and(
                  eq(startTasks.sandboxId, sandboxes.id),
                  notInArray(startTasks.status, ['READY', 'ERROR']),
                ),
              ),
          ),
        ),
      );
    return rows.map(({ id }) => id);
  }
}

/** As the partial index `sandboxes_alive` has it: not deleted, or not to the end. */
const alive = () => sql`(${sandboxes.deletedAt} is null or ${sandboxes.status} <> 'MISSING')`;
