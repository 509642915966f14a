import { and, eq, isNull } from 'drizzle-orm';
import type { Database } from './database.js';
import type { NewSandbox } from './sandbox-repository.js';
import { conversations, sandboxes, startRequests, startTasks, startTaskTransitions } from './schema/index.js';

/** A conversation of another server. */
export type TakenConversation = Pick<
  typeof conversations.$inferSelect,
  | 'id'
  | 'createdByUserId'
  | 'sandboxId'
  | 'selectedRepository'
  | 'selectedBranch'
  | 'gitProvider'
  | 'title'
  | 'trigger'
  | 'prNumber'
  | 'llmModel'
  | 'agentKind'
  | 'metrics'
  | 'parentConversationId'
  | 'public'
  | 'tags'
  | 'executionStatus'
  | 'createdAt'
  | 'updatedAt'
>;

/** A start of another server, ended. */
export type TakenStart = Pick<
  typeof startTasks.$inferSelect,
  | 'id'
  | 'conversationId'
  | 'createdByUserId'
  | 'status'
  | 'detail'
  | 'appConversationId'
  | 'sandboxId'
  | 'createdAt'
  | 'updatedAt'
> & { request: (typeof startRequests.$inferSelect)['request'] };

/** Rows of another server, taken over as they are. What is here already is never changed: all of it may be repeated. */
export class ImportRepository {
  constructor(private readonly database: Database) {}

  /** Whether there is such a conversation, or was one that somebody has deleted. */
  async findConversation(id: string): Promise<'absent' | 'present' | 'deleted'> {
    const [row] = await this.database
      .select({ deletedAt: conversations.deletedAt })
      .from(conversations)
      .where(eq(conversations.id, id));
    if (!row) return 'absent';
    return row.deletedAt === null ? 'present' : 'deleted';
  }

  /**
   * Stores a conversation, and its sandbox as one that is gone: its events can be read, and it says of itself that it
   * takes no more messages.
   * @param sandbox null when it is here already
   */
  async takeConversation(conversation: TakenConversation, sandbox: NewSandbox | null): Promise<void> {
    const { createdAt, updatedAt } = conversation;
    await this.database.transaction(async (tx) => {
      if (sandbox) {
        await tx
          .insert(sandboxes)
          .values({
            ...sandbox,
            status: 'MISSING',
            detail: 'It belongs to the server from which its conversations were taken over.',
            lastActiveAt: updatedAt,
            createdAt,
            updatedAt,
            deletedAt: updatedAt,
          })
          .onConflictDoNothing();
      }
      await tx.insert(conversations).values(conversation).onConflictDoNothing();
    });
  }

  async hasSandbox(id: string): Promise<boolean> {
    const rows = await this.database.select({ id: sandboxes.id }).from(sandboxes).where(eq(sandboxes.id, id));
    return rows.length > 0;
  }

  async hasStart(id: string): Promise<boolean> {
    const rows = await this.database
      .select({ id: startRequests.id })
      .from(startRequests)
      .where(eq(startRequests.id, id));
    return rows.length > 0;
  }

  /** Stores a start with its one status; where its conversation has another one already, as one that was superseded. */
  async takeStart({ request, ...task }: TakenStart): Promise<void> {
    const { id, conversationId, createdByUserId, createdAt, updatedAt, status, detail } = task;
    await this.database.transaction(async (tx) => {
      const [other] = await tx
        .select({ id: startRequests.id })
        .from(startRequests)
        .where(and(eq(startRequests.conversationId, conversationId), isNull(startRequests.supersededAt)));
      const stored = await tx
        .insert(startRequests)
        .values({
          id,
          conversationId,
          createdByUserId,
          request,
          supersededAt: other ? createdAt : null,
          acceptedAt: createdAt,
          createdAt,
        })
        .onConflictDoNothing()
        .returning({ id: startRequests.id });
      if (stored.length === 0) return;
      await tx.insert(startTasks).values(task);
      await tx.insert(startTaskTransitions).values({
        taskId: id,
        sequence: 1,
        status,
        detail,
        appConversationId: task.appConversationId,
        sandboxId: task.sandboxId,
        at: updatedAt,
      });
    });
  }
}
