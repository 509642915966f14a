import { and, eq, isNotNull, isNull, sql, type SQL } from 'drizzle-orm';
import {
  defaultTitle,
  NO_METRICS,
  type ConversationMetrics,
  type ExecutionStatus,
} from '../contract/conversation.js';
import type { ConversationTrigger, GitProvider } from '../contract/primitives.js';
import { lockConversationEvents, registerCallbacks } from './callback-repository.js';
import type { Database } from './database.js';
import type { Executor } from './executor.js';
import { conversations } from './schema/index.js';

export type ConversationRecord = typeof conversations.$inferSelect;
export type AgentKind = ConversationRecord['agentKind'];

/** What a start knows of its conversation, and owns. */
export interface StartedConversation {
  /** 32 hex digits. */
  id: string;
  createdByUserId: string | null;
  sandboxId: string;
  selectedRepository: string | null;
  selectedBranch: string | null;
  gitProvider: GitProvider | null;
  trigger: ConversationTrigger | null;
  prNumber: number[];
  /** 32 hex digits, or null. */
  parentConversationId: string | null;
  public: boolean | null;
  llmModel: string | null;
  /** Added to the tags that are there; a tag that is there keeps its value. */
  tags: Record<string, string>;
  agentKind: AgentKind;
  /** Absolute project directory inside the sandbox; null when unknown. */
  workingDirectory: string | null;
  /** The start's own time, the same in each attempt. */
  createdAt: Date;
}

/** What an agent-server's record says of a conversation, and webhooks own (contract 6.2). */
export interface ReportedConversation {
  id: string;
  llmModel: string | null;
  agentKind: AgentKind;
  /** Added to the tags that are there; these win. */
  tags: Record<string, string>;
  /** Added where there is no such tag. */
  derivedTags: Record<string, string>;
  workingDirectory: string | null;
  /** The record's own time; used only when the conversation was not known before. */
  createdAt: Date | null;
}

/** The sandbox in which a conversation lives, and its owner. */
export interface ConversationHome {
  id: string;
  createdByUserId: string | null;
}

/** Usage of a conversation at one time; what is null or absent keeps its value. */
export interface StatsSnapshot {
  /** US dollars since the beginning. */
  accumulatedCost: number | null;
  maxBudgetPerTask: number | null;
  tokens: Partial<ConversationMetrics['accumulated_token_usage']>;
}

/** What a user may change of a conversation; absent members stay, null clears. */
export type ConversationChange = Partial<
  Pick<ConversationRecord, 'title' | 'public' | 'selectedRepository' | 'selectedBranch' | 'gitProvider'>
>;

/** `isDefaultTitle` of the contract, as SQL. */
const HAS_DEFAULT_TITLE = sql`coalesce(${conversations.title}, '') ~ '^(Conversation [0-9a-f]{5,32})?$'`;

/** Tags that show that an automation made the conversation (contract 6.2). */
const AUTOMATION_TAGS = ['automationtrigger', 'automationid', 'automationrunid'];

/**
 * Writes conversations member by member, never a whole row: starts, webhooks, callbacks and users race, and each
 * owns its own columns. A deleted conversation stays deleted; it takes no further change.
 */
export class ConversationRepository {
  constructor(private readonly database: Database) {}

  /** The row, deleted ones included (`deletedAt`); null when there never was one. */
  async read(conversationId: string): Promise<ConversationRecord | null> {
    const [row] = await this.database
      .select()
      .from(conversations)
      .where(eq(conversations.id, conversationId));
    return row ?? null;
  }

  /**
   * Stores what a start owns; repeated, or after the first webhook, it changes only that. A title that somebody or a
   * model has given is kept, and so are a model and tags that the agent-server has reported.
   */
  async createFromStart(start: StartedConversation): Promise<void> {
    const title = defaultTitle(start.id);
    const { id, createdByUserId: _owner, llmModel, tags, trigger, ...own } = start;
    await this.database
      .insert(conversations)
      .values({ ...start, title, updatedAt: new Date() })
      .onConflictDoUpdate({
        target: conversations.id,
        set: {
          ...own,
          title: sql`case when ${HAS_DEFAULT_TITLE} then ${title} else ${conversations.title} end`,
          trigger: trigger ?? sql`${conversations.trigger}`,
          llmModel: sql`coalesce(${conversations.llmModel}, ${llmModel}::text)`,
          tags: sql`${JSON.stringify(tags)}::jsonb || ${conversations.tags}`,
          updatedAt: new Date(),
        },
        setWhere: and(eq(conversations.id, id), isNull(conversations.deletedAt)),
      });
  }

  /** Stores what an agent-server's record says. A conversation seen for the first time also gets its title callback. */
  async upsertFromWebhook(record: ReportedConversation, sandbox: ConversationHome): Promise<void> {
    const title = `Conversation ${record.id}`;
    const mergedTags = sql`
      ${JSON.stringify(record.derivedTags)}::jsonb || ${conversations.tags} || ${JSON.stringify(record.tags)}::jsonb`;
    await this.database.transaction(async (tx) => {
      await this.#createOnFirstSight(tx, record.id, sandbox, record.createdAt);
      await tx
        .update(conversations)
        .set({
          title: sql`coalesce(${conversations.title}, ${title})`,
          llmModel: sql`coalesce(${record.llmModel}::text, ${conversations.llmModel})`,
          agentKind: record.agentKind,
          tags: mergedTags,
          trigger: automationTrigger(mergedTags),
          workingDirectory: sql`coalesce(${conversations.workingDirectory}, ${record.workingDirectory}::text)`,
          updatedAt: new Date(),
        })
        .where(present(record.id));
    });
  }

  /** A row for a conversation of which only events are known so far (contract 6.3). */
  async stubFor(conversationId: string, sandbox: ConversationHome): Promise<void> {
    await this.database.transaction((tx) => this.#createOnFirstSight(tx, conversationId, sandbox, null));
  }

  /** Row and title callback come together, whoever sees the conversation first (contract 6.2). */
  async #createOnFirstSight(
    tx: Executor,
    conversationId: string,
    sandbox: ConversationHome,
    createdAt: Date | null,
  ): Promise<void> {
    const now = new Date();
    const created = await tx
      .insert(conversations)
      .values({
        id: conversationId,
        createdByUserId: sandbox.createdByUserId,
        sandboxId: sandbox.id,
        createdAt: createdAt ?? now,
        updatedAt: now,
      })
      .onConflictDoNothing()
      .returning({ id: conversations.id });
    if (created.length === 0) return;
    await lockConversationEvents(tx, conversationId);
    await registerCallbacks(tx, conversationId, [{ kind: 'SetTitleCallbackProcessor' }]);
  }

  /**
   * Takes over the run's status, unless a newer one is known.
   * @param at when the agent-server had it; null takes it only where nothing is known yet.
   */
  async setExecutionStatus(conversationId: string, status: ExecutionStatus, at: Date | null): Promise<void> {
    await this.database
      .update(conversations)
      .set({ executionStatus: status, executionStatusAt: at, updatedAt: new Date() })
      .where(and(present(conversationId), notOlder(conversations.executionStatusAt, at)));
  }

  /**
   * Takes over a usage snapshot, unless a newer one is known; the cost never goes down.
   * @param at when the agent-server had it; null takes it only where no dated one is known.
   */
  async applyStats(conversationId: string, stats: StatsSnapshot, at: Date | null): Promise<void> {
    const known = sql`coalesce(${conversations.metrics}, ${JSON.stringify(NO_METRICS)}::jsonb)`;
    const cost = sql`greatest(
      coalesce((${conversations.metrics} ->> 'accumulated_cost')::float8, 0), ${stats.accumulatedCost ?? 0}::float8)`;
    const own = { max_budget_per_task: stats.maxBudgetPerTask };
    await this.database
      .update(conversations)
      .set({
        metrics: sql`${known}
          || jsonb_strip_nulls(${JSON.stringify(own)}::jsonb)
          || jsonb_build_object(
            'accumulated_cost', ${cost},
            'accumulated_token_usage', ${known} -> 'accumulated_token_usage' || ${JSON.stringify(stats.tokens)}::jsonb)`,
        metricsAt: at,
        updatedAt: new Date(),
      })
      .where(and(present(conversationId), notOlder(conversations.metricsAt, at)));
  }

  /** The model in use after a switch. */
  async setLlmModel(conversationId: string, llmModel: string): Promise<void> {
    await this.#change(conversationId, { llmModel });
  }

  /**
   * Gives a conversation its title, unless somebody has chosen one.
   * @returns whether the title was taken.
   */
  async setTitleIfDefault(conversationId: string, title: string): Promise<boolean> {
    const changed = await this.database
      .update(conversations)
      .set({ title, updatedAt: new Date() })
      .where(and(present(conversationId), HAS_DEFAULT_TITLE))
      .returning({ id: conversations.id });
    return changed.length > 0;
  }

  /** A title chosen by a user; null clears it. */
  async rename(conversationId: string, title: string | null): Promise<void> {
    await this.#change(conversationId, { title });
  }

  /** What a user changes; `updated_at` moves when there is anything to change. */
  async patch(conversationId: string, change: ConversationChange): Promise<void> {
    if (Object.keys(change).length > 0) await this.#change(conversationId, change);
  }

  /** Adds tags; these win over tags of the same name. */
  async addTags(conversationId: string, tags: Record<string, string>): Promise<void> {
    const merged = sql`${conversations.tags} || ${JSON.stringify(tags)}::jsonb`;
    await this.database
      .update(conversations)
      .set({ tags: merged, updatedAt: new Date() })
      .where(present(conversationId));
  }

  /** Hides a conversation at once; what belongs to it is removed by its actor. False if it is not there. */
  async markDeleted(conversationId: string): Promise<boolean> {
    const now = new Date();
    const marked = await this.database
      .update(conversations)
      .set({ deletedAt: now, updatedAt: now })
      .where(present(conversationId))
      .returning({ id: conversations.id });
    return marked.length > 0;
  }

  /** Notes that nothing but the mark of a deleted conversation is left. */
  async markPurged(conversationId: string): Promise<void> {
    await this.database
      .update(conversations)
      .set({ purgedAt: new Date() })
      .where(and(eq(conversations.id, conversationId), isNotNull(conversations.deletedAt)));
  }

  async #change(conversationId: string, change: Partial<ConversationRecord>): Promise<void> {
    await this.database
      .update(conversations)
      .set({ ...change, updatedAt: new Date() })
      .where(present(conversationId));
  }
}

const present = (conversationId: string): SQL | undefined =>
  and(eq(conversations.id, conversationId), isNull(conversations.deletedAt));

/** True where nothing newer than `at` is known. */
function notOlder(
  known: typeof conversations.metricsAt | typeof conversations.executionStatusAt,
  at: Date | null,
): SQL {
  return at === null
    ? sql`${known} is null`
    : sql`(${known} is null or ${known} <= ${at.toISOString()}::timestamptz)`;
}

/** Kept; where there is none, `automation` if the tags say that one made the conversation. */
function automationTrigger(tags: SQL): SQL {
  const named = AUTOMATION_TAGS.map((tag) => sql`coalesce((${tags}) ->> ${tag}, '') <> ''`);
  return sql`coalesce(${conversations.trigger}, case when ${sql.join(named, sql` or `)} then 'automation' end)`;
}
