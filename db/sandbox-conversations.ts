import { and, eq, isNull, sql } from 'drizzle-orm';
import type { Database } from './database.js';
import { conversations } from './schema/index.js';

/** What lives in a sandbox: conversations, and starts that will make one. */
export class SandboxConversations {
  constructor(private readonly database: Database) {}

  /** Ids of its conversations (hex). */
  async idsIn(sandboxId: string): Promise<string[]> {
    const rows = await this.database
      .select({ id: conversations.id })
      .from(conversations)
      .where(and(eq(conversations.sandboxId, sandboxId), isNull(conversations.deletedAt)));
    return rows.map(({ id }) => id);
  }

  /** Whether a start is under way in it. */
  async isStartUnderWay(sandboxId: string): Promise<boolean> {
    const { rows } = await this.database.execute<{ under_way: boolean }>(sql`
      select exists (
        select 1 from start_tasks
        where sandbox_id = ${sandboxId} and status not in ('READY', 'ERROR')) as under_way`);
    return rows[0]?.under_way ?? false;
  }

  /** Whether a conversation, or a start under way, uses it. */
  async isReferenced(sandboxId: string): Promise<boolean> {
    const { rows } = await this.database.execute<{ referenced: boolean }>(sql`
      select exists (select 1 from conversations where sandbox_id = ${sandboxId} and deleted_at is null)
        or exists (
          select 1 from start_tasks where sandbox_id = ${sandboxId} and status not in ('READY', 'ERROR')) as referenced`);
    return rows[0]?.referenced ?? false;
  }

  /** In a frozen sandbox no agent runs, whatever was heard last; what was heard before never overwrites this. */
  async markPaused(sandboxId: string): Promise<void> {
    await this.database
      .update(conversations)
      .set({ executionStatus: 'paused', executionStatusAt: new Date() })
      .where(
        and(
          eq(conversations.sandboxId, sandboxId),
          isNull(conversations.deletedAt),
          eq(conversations.executionStatus, 'running'),
        ),
      );
  }
}
