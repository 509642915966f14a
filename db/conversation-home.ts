import { and, eq, isNull, sql } from 'drizzle-orm';
import type { ConversationHome } from './conversation-repository.js';
import type { Database } from './database.js';
import { conversations, startRequests, startTasks } from './schema/index.js';
import { whenAsked } from './when-asked.js';

/**
 * Whether a conversation lives in a sandbox: `here`, `deleted` from there, `unknown` so far, or `elsewhere`: then the
 * sandbox has no business with it.
 */
export type Residence = 'here' | 'deleted' | 'unknown' | 'elsewhere';

/** Tells what a sandbox may report on (contract 6.1). */
export class ConversationResidence {
  readonly #home;

  constructor(private readonly database: Database) {
    this.#home = whenAsked(() => homeStatement(database));
  }

  /** Also a conversation that is only being started belongs to the owner, and the sandbox, of its start. */
  async of(conversationId: string, sandbox: ConversationHome): Promise<Residence> {
    const [row] = await this.#home().execute({ id: conversationId });
    if (row) {
      if (row.sandboxId !== sandbox.id || row.owner !== sandbox.createdByUserId) return 'elsewhere';
      return row.deletedAt ? 'deleted' : 'here';
    }
    const [start] = await this.database
      .select({
        sandboxId: startTasks.sandboxId,
        owner: startRequests.createdByUserId,
        status: startTasks.status,
      })
      .from(startRequests)
      .leftJoin(startTasks, eq(startTasks.id, startRequests.id))
      .where(and(eq(startRequests.conversationId, conversationId), isNull(startRequests.supersededAt)));
    if (!start) return 'unknown';
    const isHere = start.owner === sandbox.createdByUserId && (start.sandboxId ?? sandbox.id) === sandbox.id;
    if (!isHere) return 'elsewhere';
    // A start that failed has taken its conversation back: a late word of it brings nothing to life again.
    return start.status === 'ERROR' ? 'deleted' : 'unknown';
  }
}

/** Prepared, since it is asked for every webhook, and making it takes longer than asking. */
const homeStatement = (database: Database) =>
  database
    .select({
      sandboxId: conversations.sandboxId,
      owner: conversations.createdByUserId,
      deletedAt: conversations.deletedAt,
    })
    .from(conversations)
    .where(eq(conversations.id, sql.placeholder('id')))
    .prepare('conversation_residence');
