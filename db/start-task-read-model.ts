import { and, asc, count, desc, eq, gt, gte, isNotNull, isNull, notExists, sql, type SQL } from 'drizzle-orm';
import { wireDate } from '../contract/dates.js';
import { dashedId } from '../contract/ids.js';
import type { Page } from '../contract/primitives.js';
import { StartRequest, type EffectiveStartRequest, type StartTask } from '../contract/start-task.js';
import { askedTogether } from './asked-together.js';
import type { Database } from './database.js';
import { after, cutPage, decodeCursor, isOwnedBy, ownedBy, type VisibleUsers } from './paging.js';
import { conversations, startRequests, startTasks, startTaskTransitions } from './schema/index.js';
import { whenAsked } from './when-asked.js';

export interface StartTaskFilter {
  /** Hex id of the conversation a start led to. */
  conversationId?: string | undefined;
  createdAtGte?: Date | undefined;
}

export const START_TASK_ORDERS = ['CREATED_AT', 'CREATED_AT_DESC', 'UPDATED_AT', 'UPDATED_AT_DESC'] as const;
export type StartTaskOrder = (typeof START_TASK_ORDERS)[number];

/** A start as it was after one of its transitions. */
export interface StartTaskTransition {
  /** 1, 2, 3, … within the task. */
  sequence: number;
  task: StartTask;
}

/** What somebody who waits for a start has to know of it. */
export type StandingStart = Pick<typeof startTasks.$inferSelect, 'conversationId' | 'status' | 'detail'>;

type TaskState = Pick<
  typeof startTasks.$inferSelect,
  | 'id'
  | 'createdByUserId'
  | 'status'
  | 'detail'
  | 'appConversationId'
  | 'sandboxId'
  | 'agentServerUrl'
  | 'createdAt'
> & { request: EffectiveStartRequest; updatedAt: Date };

interface StoredTask {
  task: Omit<TaskState, 'request'>;
  request: EffectiveStartRequest;
}

interface BatchQuestion {
  users: VisibleUsers;
  /** Hex ids. */
  ids: readonly string[];
}

/** Answers questions about starts from SQL alone, one statement per page, and one for all batches of the same moment. */
export class StartTaskReadModel {
  readonly #byIds;
  readonly #after;
  readonly #batch;

  /** @param clientAddress how clients reach an agent-server, where that differs from its own address */
  constructor(
    private readonly database: Database,
    private readonly clientAddress: (sandboxId: string, directUrl: string) => string = (_, url) => url,
  ) {
    this.#byIds = whenAsked(() =>
      this.#tasks()
        .where(and(sql`${startTasks.id} = any(${sql.placeholder('ids')})`, this.#notDeleted()))
        .prepare('start_tasks_by_ids'),
    );
    this.#after = whenAsked(() =>
      this.#transitions()
        .where(
          and(
            eq(startTaskTransitions.taskId, sql.placeholder('taskId')),
            gt(startTaskTransitions.sequence, sql.placeholder('sequence')),
          ),
        )
        .orderBy(asc(startTaskTransitions.sequence))
        .prepare('start_transitions_after'),
    );
    this.#batch = askedTogether((questions: readonly BatchQuestion[]) => this.#batches(questions));
  }

  async search(
    users: VisibleUsers,
    filter: StartTaskFilter,
    page: { limit: number; pageId?: string | undefined; order?: StartTaskOrder | undefined },
  ): Promise<Page<StartTask>> {
    const order = page.order ?? 'CREATED_AT_DESC';
    const time = order.startsWith('CREATED_AT') ? startTasks.createdAt : startTasks.updatedAt;
    const descending = order.endsWith('_DESC');
    const direction = descending ? desc : asc;
    const rows = await this.#tasks()
      .where(
        and(this.#visible(users, filter), after(time, startTasks.id, decodeCursor(page.pageId), descending)),
      )
      .orderBy(direction(time), direction(startTasks.id))
      .limit(page.limit + 1);
    const cut = cutPage(rows, page.limit, ({ task }) => ({
      at: order.startsWith('CREATED_AT') ? task.createdAt : task.updatedAt,
      id: task.id,
    }));
    return { items: cut.rows.map((row) => this.#toStartTask(row)), next_page_id: cut.next };
  }

  async count(users: VisibleUsers, filter: StartTaskFilter): Promise<number> {
    const [row] = await this.database
      .select({ total: count() })
      .from(startTasks)
      .where(this.#visible(users, filter));
    return row?.total ?? 0;
  }

  /** Tasks in the order of `ids` (hex), null for what is missing or not the caller's. */
  async batch(users: VisibleUsers, ids: readonly string[]): Promise<(StartTask | null)[]> {
    if (ids.length === 0) return [];
    const found = await this.#batch({ users, ids });
    return found.map((stored) => stored && this.#shown(stored));
  }

  /** One task whoever asks, for the answer to its own start; null before it is accepted. */
  async read(taskId: string): Promise<StartTask | null> {
    const [row] = await this.#tasks().where(eq(startTasks.id, taskId));
    return row ? this.#toStartTask(row) : null;
  }

  /** Whether a start, accepted or about to be, led or leads to this conversation (hex id). */
  async knowsConversation(conversationId: string): Promise<boolean> {
    const [row] = await this.database
      .select({ id: startRequests.id })
      .from(startRequests)
      .where(and(eq(startRequests.conversationId, conversationId), isNull(startRequests.supersededAt)));
    return row !== undefined;
  }

  /** Where one start of these users stands, found by its own id or as the latest of a conversation (hex ids). */
  async standing(
    users: VisibleUsers,
    by: { taskId: string } | { conversationId: string },
  ): Promise<StandingStart | null> {
    const [row] = await this.database
      .select({
        conversationId: startTasks.conversationId,
        status: startTasks.status,
        detail: startTasks.detail,
      })
      .from(startRequests)
      .innerJoin(startTasks, eq(startTasks.id, startRequests.id))
      .where(
        and(
          ownedBy(startTasks.createdByUserId, users),
          'taskId' in by
            ? eq(startRequests.id, by.taskId)
            : and(eq(startRequests.conversationId, by.conversationId), isNull(startRequests.supersededAt)),
        ),
      );
    return row ?? null;
  }

  /** The latest start that leads, or has led, to a conversation (hex id). */
  async ofConversation(users: VisibleUsers, conversationId: string): Promise<StartTask | null> {
    const [row] = await this.#tasks().where(
      and(
        this.#visible(users, {}),
        eq(startRequests.conversationId, conversationId),
        isNull(startRequests.supersededAt),
      ),
    );
    return row ? this.#toStartTask(row) : null;
  }

  /** The task after each transition past a sequence number, oldest first: what a stream has not written yet. */
  async transitionsAfter(taskId: string, sequence: number): Promise<StartTaskTransition[]> {
    const rows = await this.#after().execute({ taskId, sequence });
    return rows.map((row) => ({ sequence: row.sequence, task: this.#toStartTask(row) }));
  }

  #transitions() {
    return this.database
      .select({
        sequence: startTaskTransitions.sequence,
        task: {
          id: startTasks.id,
          createdByUserId: startTasks.createdByUserId,
          status: startTaskTransitions.status,
          detail: startTaskTransitions.detail,
          appConversationId: startTaskTransitions.appConversationId,
          sandboxId: startTaskTransitions.sandboxId,
          agentServerUrl: startTaskTransitions.agentServerUrl,
          createdAt: startTasks.createdAt,
          updatedAt: startTaskTransitions.at,
        },
        request: startRequests.request,
      })
      .from(startTaskTransitions)
      .innerJoin(startTasks, eq(startTasks.id, startTaskTransitions.taskId))
      .innerJoin(startRequests, eq(startRequests.id, startTaskTransitions.taskId));
  }

  #tasks() {
    return this.database
      .select({ task: startTasks, request: startRequests.request })
      .from(startTasks)
      .innerJoin(startRequests, eq(startRequests.id, startTasks.id));
  }

  /** One statement for all; whose a task is, is looked at for each of the callers. */
  async #batches(questions: readonly BatchQuestion[]): Promise<(StoredTask | null)[][]> {
    const rows = await this.#byIds().execute({ ids: [...new Set(questions.flatMap(({ ids }) => ids))] });
    const stored = new Map(
      rows.map(({ task, request }) => [task.id, { task, request: inWireOrder(request) }]),
    );
    return questions.map(({ users, ids }) =>
      ids.map((id) => {
        const found = stored.get(id);
        return found && isOwnedBy(found.task.createdByUserId, users) ? found : null;
      }),
    );
  }

  /** One condition for search and count, and in its parts for batch: they can never disagree. */
  #visible(users: VisibleUsers, filter: StartTaskFilter): SQL | undefined {
    return and(
      ownedBy(startTasks.createdByUserId, users),
      filter.conversationId === undefined
        ? undefined
        : eq(startTasks.appConversationId, filter.conversationId),
      filter.createdAtGte ? gte(startTasks.createdAt, filter.createdAtGte) : undefined,
      this.#notDeleted(),
    );
  }

  /** A start that reached READY while its conversation was being deleted goes the way of the conversation. */
  #notDeleted(): SQL {
    return notExists(
      this.database
        .select({ one: sql`1` })
        .from(conversations)
        .where(and(eq(conversations.id, startTasks.appConversationId), isNotNull(conversations.deletedAt))),
    );
  }

  #toStartTask({ task, request }: StoredTask): StartTask {
    return this.#shown({ task, request: inWireOrder(request) });
  }

  /** Members in the order in which the stream writes them (contract 3.4, 3.5). */
  #shown({ task, request }: StoredTask): StartTask {
    return {
      id: task.id,
      created_by_user_id: task.createdByUserId,
      status: task.status,
      detail: task.detail,
      app_conversation_id: task.appConversationId,
      sandbox_id: task.sandboxId,
      agent_server_url:
        task.agentServerUrl === null || task.sandboxId === null
          ? task.agentServerUrl
          : this.clientAddress(task.sandboxId, task.agentServerUrl),
      request,
      created_at: wireDate(task.createdAt),
      updated_at: wireDate(task.updatedAt),
    };
  }
}

/** `jsonb` forgets the order of members; the contract's order comes back by reading it with the schema. */
function inWireOrder(stored: EffectiveStartRequest): EffectiveStartRequest {
  const { conversation_id, ...rest } = stored;
  const read = StartRequest.safeParse(rest);
  // A request of an older version that today's schema refuses is shown as it was stored.
  const request = read.success ? read.data : stored;
  return { ...request, conversation_id: conversation_id === null ? null : dashedId(conversation_id) };
}
