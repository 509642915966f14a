import { and, eq, isNull, sql, type SQLWrapper } from 'drizzle-orm';
import type { StartStatus } from '../contract/start-task.js';
import type { Database } from './database.js';
import type { Executor } from './executor.js';
import { conversations, startRequests, startTasks } from './schema/index.js';
import { whenAsked } from './when-asked.js';

/**
 * Whether a conversation lives in a sandbox: `here`, `deleted` from there, `unknown` so far, or `elsewhere`: then the
 * sandbox has no business with it.
 */
export type Residence = 'here' | 'deleted' | 'unknown' | 'elsewhere';

/** The sandbox in which a conversation lives, and its owner. */
export interface ConversationHome {
  id: string;
  createdByUserId: string | null;
}

/** Where the row of a conversation says that it lives. */
interface KnownHome {
  sandboxId: string;
  owner: string | null;
  isDeleted: boolean;
}

/** Where the start of a conversation that has no row yet says that it is going to live. */
interface StartingHome {
  sandboxId: string | null;
  owner: string | null;
  status: StartStatus | null;
}

/** Of a conversation that has a row. */
function residenceOf(home: KnownHome, sandbox: ConversationHome): Residence {
  if (home.sandboxId !== sandbox.id || home.owner !== sandbox.createdByUserId) return 'elsewhere';
  return home.isDeleted ? 'deleted' : 'here';
}

/** Of one that has none. */
function residenceOfStart(start: StartingHome | undefined, sandbox: ConversationHome): Residence {
  if (!start) return 'unknown';
  const isHere = start.owner === sandbox.createdByUserId && (start.sandboxId ?? sandbox.id) === sandbox.id;
  if (!isHere) return 'elsewhere';
  // A start that failed has taken its conversation back: a late word of it brings nothing to life again.
  return start.status === 'ERROR' ? 'deleted' : 'unknown';
}

/** Tells what a sandbox may report on (contract 6.1). */
export class ConversationResidence {
  readonly #home;

  constructor(private readonly database: Database) {
    this.#home = whenAsked(() => homeStatement(database));
  }

  /** Also a conversation that is only being started belongs to the owner, and the sandbox, of its start. */
  async of(conversationId: string, sandbox: ConversationHome): Promise<Residence> {
    const [row] = await this.#home().execute({ id: conversationId });
    if (row) return residenceOf({ ...row, isDeleted: row.deletedAt !== null }, sandbox);
    const [start] = await this.database
      .select({
        sandboxId: startTasks.sandboxId,
        owner: startRequests.createdByUserId,
        status: startTasks.status,
      })
      .from(startRequests)
      .leftJoin(startTasks, eq(startTasks.id, startRequests.id))
      .where(and(eq(startRequests.conversationId, conversationId), isNull(startRequests.supersededAt)));
    return residenceOfStart(start, sandbox);
  }
}

/** The same, found out by the statement that changes the row of a conversation that lives in the sandbox. */
export async function residenceAfter(
  executor: Executor,
  change: SQLWrapper,
  conversationId: string,
  sandbox: ConversationHome,
): Promise<Residence | 'changed'> {
  const { rows } = await executor.execute<HomeRow>(sql`
    with changed as ${change}
    select exists (select from changed) as "isChanged",
      conversations.sandbox_id as "sandboxId", conversations.created_by_user_id as owner,
      conversations.deleted_at is not null as "isDeleted",
      start_requests.id is not null as "isStarted", start_tasks.sandbox_id as "startSandboxId",
      start_requests.created_by_user_id as "startOwner", start_tasks.status as "startStatus"
    from (select ${conversationId}::text as id) as asked
    left join conversations on conversations.id = asked.id
    left join start_requests on conversations.id is null
      and start_requests.conversation_id = asked.id and start_requests.superseded_at is null
    left join start_tasks on start_tasks.id = start_requests.id`);
  const [row] = rows;
  if (!row) throw new Error('a question for one conversation was left without an answer');
  if (row.isChanged) return 'changed';
  const { sandboxId, owner, isDeleted } = row;
  if (sandboxId !== null) return residenceOf({ sandboxId, owner, isDeleted }, sandbox);
  const start = { sandboxId: row.startSandboxId, owner: row.startOwner, status: row.startStatus };
  return residenceOfStart(row.isStarted ? start : undefined, sandbox);
}

/** A type and no interface, for the index signature that rows have. */
type HomeRow = {
  isChanged: boolean;
  sandboxId: string | null;
  owner: string | null;
  isDeleted: boolean;
  isStarted: boolean;
  startSandboxId: string | null;
  startOwner: string | null;
  startStatus: StartStatus | null;
};

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
