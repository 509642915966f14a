import { and, eq, isNull, sql } from 'drizzle-orm';
import { needsStartSecrets } from '../contract/start-secrets.js';
import type { EffectiveStartRequest, StartStatus } from '../contract/start-task.js';
import type { Database } from './database.js';
import type { Executor } from './executor.js';
import { ownedBy, type VisibleUsers } from './paging.js';
import { conversations, startRequests, startTasks } from './schema/index.js';
import { lockConversationStarts, supersede } from './start-staging.js';

/** A start that somebody wants to try again. */
export interface EarlierStart {
  taskId: string;
  conversationId: string;
  createdByUserId: string | null;
  status: StartStatus;
  /** Why it ended, for people; `cancelled` when somebody called it off. */
  detail: string | null;
  request: EffectiveStartRequest;
  /** Encrypted for the earlier start; null when it had none, or they are not kept any more. */
  secrets: string | null;
}

/** The new request, or why there is none. */
export type RetryStaging =
  | { outcome: 'staged' | 'existing'; taskId: string }
  | { outcome: 'not-failed' | 'conversation-deleted' | 'secrets-erased' };

/** Stages a failed start anew: same request, same conversation id, a new task. */
export class StartRetries {
  constructor(private readonly database: Database) {}

  /** The start to try again; null when it does not exist or is not the caller's. */
  async find(users: VisibleUsers, taskId: string): Promise<EarlierStart | null> {
    const [row] = await this.database
      .select({
        taskId: startTasks.id,
        conversationId: startTasks.conversationId,
        createdByUserId: startTasks.createdByUserId,
        status: startTasks.status,
        detail: startTasks.detail,
        request: startRequests.request,
        secrets: startRequests.secrets,
      })
      .from(startTasks)
      .innerJoin(startRequests, eq(startRequests.id, startTasks.id))
      .where(and(eq(startTasks.id, taskId), ownedBy(startTasks.createdByUserId, users)));
    return row ?? null;
  }

  /**
   * Puts a new request in the place of an earlier one that ended in ERROR. Asked again, it finds the first one: a start
   * has one successor.
   * @param sealed the secrets of the earlier start and in whose name the new one acts, encrypted for the new one
   */
  async stage(
    earlier: EarlierStart,
    taskId: string,
    { secrets, authority }: { secrets: string | null; authority: string | null },
  ): Promise<RetryStaging> {
    const { conversationId, createdByUserId, request } = earlier;
    return this.database.transaction(async (tx) => {
      await lockConversationStarts(tx, conversationId);
      const successor = await successorOf(tx, earlier);
      if (successor !== null) return { outcome: 'existing', taskId: successor };
      if (earlier.status !== 'ERROR') return { outcome: 'not-failed' };
      if (await isDeleted(tx, conversationId)) return { outcome: 'conversation-deleted' };
      if (secrets === null && needsStartSecrets(request)) return { outcome: 'secrets-erased' };
      await supersede(tx, earlier.taskId);
      await tx.insert(startRequests).values({
        id: taskId,
        conversationId,
        createdByUserId,
        request,
        secrets,
        authority,
        supersedes: earlier.taskId,
      });
      return { outcome: 'staged', taskId };
    });
  }
}

/** The start that took an earlier one's place, directly or, before successors were noted, by its conversation. */
async function successorOf(tx: Executor, { taskId, conversationId }: EarlierStart): Promise<string | null> {
  const [direct] = await tx
    .select({ id: startRequests.id })
    .from(startRequests)
    .where(eq(startRequests.supersedes, taskId));
  if (direct) return direct.id;
  const [live] = await tx
    .select({ id: startRequests.id })
    .from(startRequests)
    .where(and(eq(startRequests.conversationId, conversationId), isNull(startRequests.supersededAt)));
  return live && live.id !== taskId ? live.id : null;
}

async function isDeleted(tx: Executor, conversationId: string): Promise<boolean> {
  const [row] = await tx
    .select({ isDeleted: sql<boolean>`${conversations.deletedAt} is not null` })
    .from(conversations)
    .where(eq(conversations.id, conversationId));
  return row?.isDeleted ?? false;
}
