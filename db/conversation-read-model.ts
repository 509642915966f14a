import { and, count, desc, eq, gte, inArray, isNull, lt, sql, type SQL } from 'drizzle-orm';
import type { ConversationTrigger } from '../contract/primitives.js';
import type { SandboxStatus } from '../contract/sandbox.js';
import type { Database } from './database.js';
import {
  after,
  alignedTo,
  containsText,
  cutPage,
  decodeCursor,
  ownedBy,
  type VisibleUsers,
} from './paging.js';
import { conversations, sandboxes } from './schema/index.js';

export interface ConversationFilter {
  /** Part of the title, without regard to case; `%` and `_` stand for themselves. */
  titleContains?: string | undefined;
  createdAtGte?: Date | undefined;
  createdAtLt?: Date | undefined;
  updatedAtGte?: Date | undefined;
  updatedAtLt?: Date | undefined;
  sandboxId?: string | undefined;
  /** `owner/repository`, as it was selected. */
  repository?: string | undefined;
  trigger?: ConversationTrigger | undefined;
  /** Conversations that have a parent are left out unless asked for. */
  includeSubConversations?: boolean | undefined;
}

/** What a conversation's sandbox contributes; the key is still encrypted. */
export interface SandboxOfConversation {
  id: string;
  /** MISSING for one that was deleted or of which there never was a record. */
  status: SandboxStatus;
  /** False when there never was a record of it. */
  known: boolean;
  /** True for one that was deleted; another that is MISSING can be resumed in its directory. */
  deleted: boolean;
  exposedUrls: (typeof sandboxes.$inferSelect)['exposedUrls'];
  /** Base URL for this server's own calls. */
  agentServerUrl: string | null;
  /** Absolute; null while it is not placed. */
  workingDirectory: string | null;
  sealedSessionKey: string | null;
}

export interface ListedConversation {
  conversation: typeof conversations.$inferSelect;
  sandbox: SandboxOfConversation;
  /** Hex ids, oldest first. */
  subConversationIds: string[];
}

/** Answers questions about conversations from SQL alone: a page, with sandboxes and children, is one statement. */
export class ConversationReadModel {
  constructor(private readonly database: Database) {}

  /** Newest first. */
  async search(
    users: VisibleUsers,
    filter: ConversationFilter,
    page: { limit: number; pageId?: string | undefined },
  ): Promise<{ records: ListedConversation[]; nextPageId: string | null }> {
    const rows = await this.#records()
      .where(
        and(
          matching(users, filter),
          after(conversations.createdAt, conversations.id, decodeCursor(page.pageId), true),
        ),
      )
      .orderBy(desc(conversations.createdAt), desc(conversations.id))
      .limit(page.limit + 1);
    const cut = cutPage(rows, page.limit, ({ conversation }) => ({
      at: conversation.createdAt,
      id: conversation.id,
    }));
    return { records: cut.rows.map(toRecord), nextPageId: cut.next };
  }

  async count(users: VisibleUsers, filter: ConversationFilter): Promise<number> {
    const [row] = await this.database
      .select({ total: count() })
      .from(conversations)
      .where(matching(users, filter));
    return row?.total ?? 0;
  }

  /** Conversations in the order of `ids` (hex), null for what is missing or not the caller's. */
  async batch(users: VisibleUsers, ids: readonly string[]): Promise<(ListedConversation | null)[]> {
    if (ids.length === 0) return [];
    const rows = await this.#records().where(
      and(matching(users, { includeSubConversations: true }), inArray(conversations.id, [...ids])),
    );
    return alignedTo(ids, rows.map(toRecord), ({ conversation }) => conversation.id);
  }

  /** One conversation, or null when it is missing or not the caller's. */
  async read(users: VisibleUsers, id: string): Promise<ListedConversation | null> {
    const [record] = await this.batch(users, [id]);
    return record ?? null;
  }

  #records() {
    return this.database
      .select({
        conversation: conversations,
        sandbox: {
          id: sandboxes.id,
          status: sandboxes.status,
          deletedAt: sandboxes.deletedAt,
          exposedUrls: sandboxes.exposedUrls,
          agentServerUrl: sandboxes.agentServerUrl,
          workingDirectory: sandboxes.workingDirectory,
          sessionApiKey: sandboxes.sessionApiKey,
        },
        subConversationIds: sql<string[]>`array(
          select sub.id from conversations sub
          where sub.parent_conversation_id = ${conversations.id} and sub.deleted_at is null
          order by sub.created_at, sub.id)`,
      })
      .from(conversations)
      .leftJoin(sandboxes, eq(sandboxes.id, conversations.sandboxId));
  }
}

/** One condition for search, count, batch and single reads: they can never disagree. */
function matching(users: VisibleUsers, filter: ConversationFilter): SQL | undefined {
  return and(
    isNull(conversations.deletedAt),
    ownedBy(conversations.createdByUserId, users),
    filter.includeSubConversations ? undefined : isNull(conversations.parentConversationId),
    filter.titleContains === undefined ? undefined : containsText(conversations.title, filter.titleContains),
    filter.createdAtGte ? gte(conversations.createdAt, filter.createdAtGte) : undefined,
    filter.createdAtLt ? lt(conversations.createdAt, filter.createdAtLt) : undefined,
    filter.updatedAtGte ? gte(conversations.updatedAt, filter.updatedAtGte) : undefined,
    filter.updatedAtLt ? lt(conversations.updatedAt, filter.updatedAtLt) : undefined,
    filter.sandboxId === undefined ? undefined : eq(conversations.sandboxId, filter.sandboxId),
    filter.repository === undefined ? undefined : eq(conversations.selectedRepository, filter.repository),
    filter.trigger === undefined ? undefined : eq(conversations.trigger, filter.trigger),
  );
}

interface JoinedRow {
  conversation: typeof conversations.$inferSelect;
  sandbox: Pick<
    typeof sandboxes.$inferSelect,
    'id' | 'status' | 'deletedAt' | 'exposedUrls' | 'agentServerUrl' | 'workingDirectory' | 'sessionApiKey'
  > | null;
  subConversationIds: string[];
}

function toRecord({ conversation, sandbox, subConversationIds }: JoinedRow): ListedConversation {
  return {
    conversation,
    sandbox: {
      id: conversation.sandboxId,
      status: !sandbox || sandbox.deletedAt ? 'MISSING' : sandbox.status,
      known: sandbox !== null,
      deleted: sandbox !== null && sandbox.deletedAt !== null,
      exposedUrls: sandbox?.exposedUrls ?? null,
      agentServerUrl: sandbox?.agentServerUrl ?? null,
      workingDirectory: sandbox?.workingDirectory ?? null,
      sealedSessionKey: sandbox?.sessionApiKey ?? null,
    },
    subConversationIds,
  };
}
