import { and, eq, isNotNull, isNull, sql, type SQL } from 'drizzle-orm';
import { defaultTitle } from '../contract/conversation.js';
import type { ConversationTrigger, GitProvider } from '../contract/primitives.js';
import { registerCallbacks } from './callback-repository.js';
import { residenceAfter, type ConversationHome, type Residence } from './conversation-home.js';
import {
  isNews,
  recordColumns,
  runColumns,
  type ReportedConversation,
  type ReportedRun,
} from './conversation-report.js';
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

/** What a user may change of a conversation; absent members stay, null clears. */
export type ConversationChange = Partial<
  Pick<ConversationRecord, 'title' | 'public' | 'selectedRepository' | 'selectedBranch' | 'gitProvider'>
>;

/** `isDefaultTitle` of the contract, as SQL. */
const HAS_DEFAULT_TITLE = sql`coalesce(${conversations.title}, '') ~ '^(Conversation [0-9a-f]{5,32})?$'`;

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
   * @returns kinds of the callbacks that it has already: whoever sees a conversation first registers some
   */
  async createFromStart(start: StartedConversation): Promise<readonly string[]> {
    const title = defaultTitle(start.id);
    const { id, createdByUserId: _owner, llmModel, tags, trigger, ...own } = start;
    const [stored] = await this.database
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
      })
      .returning({
        callbackKinds: sql<
          string[]
        >`array(select processor_kind from event_callbacks where event_callbacks.conversation_id = ${id})`,
      });
    return stored?.callbackKinds ?? [];
  }

  /**
   * Stores what an agent-server's record says of a conversation that lives in the sandbox.
   * @returns where any other one lives, of which nothing is stored
   */
  async updateFromWebhook(
    record: ReportedConversation,
    sandbox: ConversationHome,
    run: ReportedRun,
  ): Promise<Residence | 'changed'> {
    const change = this.database
      .update(conversations)
      .set({ ...recordColumns(record), ...runColumns(run), updatedAt: new Date() })
      .where(and(present(record.id), livesIn(sandbox)))
      .returning({ id: conversations.id });
    return residenceAfter(this.database, change, record.id, sandbox);
  }

  /** Stores what an agent-server's record says. A conversation seen for the first time also gets its title callback. */
  async upsertFromWebhook(
    record: ReportedConversation,
    sandbox: ConversationHome,
    run: ReportedRun = {},
  ): Promise<void> {
    await this.database.transaction(async (tx) => {
      await this.#createOnFirstSight(tx, record.id, sandbox, record.createdAt);
      await tx
        .update(conversations)
        .set({ ...recordColumns(record), ...runColumns(run), updatedAt: new Date() })
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
    await registerCallbacks(tx, conversationId, [{ kind: 'SetTitleCallbackProcessor' }]);
  }

  /** Takes over what an agent-server has told of a run; where nothing of it is news, nothing is written. */
  async applyRun(conversationId: string, run: ReportedRun): Promise<void> {
    await this.database
      .update(conversations)
      .set({ ...runColumns(run), updatedAt: new Date() })
      .where(and(present(conversationId), isNews(run)));
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

const livesIn = (sandbox: ConversationHome): SQL | undefined =>
  and(
    eq(conversations.sandboxId, sandbox.id),
    sql`${conversations.createdByUserId} is not distinct from ${sandbox.createdByUserId}`,
  );
