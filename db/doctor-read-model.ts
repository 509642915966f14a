import { and, asc, eq, gt, isNotNull, isNull, lt, notInArray, sql } from 'drizzle-orm';
import type { PgColumn } from 'drizzle-orm/pg-core';
import type { Database } from './database.js';
import {
  callbackQueue,
  conversations,
  sandboxes,
  secrets,
  settings,
  startRequests,
  startTasks,
} from './schema/index.js';

/** Rows read at a time: memory does not grow with the tables. */
const PAGE = 500;

/** A text that only the key ring opens, and what it was sealed as. */
export interface SealedText {
  what: 'session key' | 'secret key' | 'settings' | 'secret' | 'start';
  /** Names it to people; holds no secret. */
  name: string;
  /** What its purpose is made of. */
  path: readonly string[];
  sealed: string;
}

/** A start that has not ended. */
export interface OpenStart {
  id: string;
  sandboxId: string | null;
  /** Whether the sandbox goes with the start. */
  ownsSandbox: boolean;
}

export type DoctoredSandbox = Pick<
  typeof sandboxes.$inferSelect,
  'id' | 'status' | 'hostId' | 'createdAt' | 'deletedAt' | 'agentServerVersion'
>;

/** Reads what `callboard doctor` compares. Every method streams. */
export class DoctorReadModel {
  constructor(private readonly database: Database) {}

  /** Conversations that live in a sandbox of which there is no row. */
  async *conversationsWithoutSandbox(): AsyncGenerator<string> {
    for (let last = ''; ;) {
      const rows = await this.database
        .select({ id: conversations.id })
        .from(conversations)
        .leftJoin(sandboxes, eq(sandboxes.id, conversations.sandboxId))
        .where(and(gt(conversations.id, last), isNull(conversations.deletedAt), isNull(sandboxes.id)))
        .orderBy(asc(conversations.id))
        .limit(PAGE);
      for (const { id } of rows) yield id;
      if (rows.length < PAGE) return;
      last = rows.at(-1)?.id ?? '';
    }
  }

  /** Every sandbox, deleted ones included. */
  async *sandboxes(): AsyncGenerator<DoctoredSandbox> {
    for (let last = ''; ;) {
      const rows = await this.database
        .select({
          id: sandboxes.id,
          status: sandboxes.status,
          hostId: sandboxes.hostId,
          createdAt: sandboxes.createdAt,
          deletedAt: sandboxes.deletedAt,
          agentServerVersion: sandboxes.agentServerVersion,
        })
        .from(sandboxes)
        .where(gt(sandboxes.id, last))
        .orderBy(asc(sandboxes.id))
        .limit(PAGE);
      yield* rows;
      if (rows.length < PAGE) return;
      last = rows.at(-1)?.id ?? '';
    }
  }

  async hasSandbox(id: string): Promise<boolean> {
    const rows = await this.database.select({ id: sandboxes.id }).from(sandboxes).where(eq(sandboxes.id, id));
    return rows.length > 0;
  }

  /** Starts that have not ended and have not moved since `before`. */
  async *openStarts(before: Date): AsyncGenerator<OpenStart> {
    for (let last = ''; ;) {
      const rows = await this.database
        .select({
          id: startTasks.id,
          sandboxId: startTasks.sandboxId,
          ownsSandbox: startTasks.ownsSandbox,
        })
        .from(startTasks)
        .where(
          and(
            gt(startTasks.id, last),
            notInArray(startTasks.status, ['READY', 'ERROR']),
            lt(startTasks.updatedAt, before),
          ),
        )
        .orderBy(asc(startTasks.id))
        .limit(PAGE);
      yield* rows;
      if (rows.length < PAGE) return;
      last = rows.at(-1)?.id ?? '';
    }
  }

  /** Conversations for which callbacks wait. */
  async *waitingConversations(): AsyncGenerator<string> {
    for (let last = ''; ;) {
      const rows = await this.database
        .selectDistinct({ id: callbackQueue.conversationId })
        .from(callbackQueue)
        .where(gt(callbackQueue.conversationId, last))
        .orderBy(asc(callbackQueue.conversationId))
        .limit(PAGE);
      for (const { id } of rows) yield id;
      if (rows.length < PAGE) return;
      last = rows.at(-1)?.id ?? '';
    }
  }

  /** Everything that is encrypted. */
  async *sealedTexts(): AsyncGenerator<SealedText> {
    for await (const row of this.#keyed(sandboxes.id, sandboxes.sessionApiKey, sandboxes)) {
      yield {
        what: 'session key',
        name: `session key of sandbox ${row.key}`,
        path: [row.key],
        sealed: row.sealed,
      };
    }
    for await (const row of this.#keyed(sandboxes.id, sandboxes.secretKey, sandboxes)) {
      yield {
        what: 'secret key',
        name: `secret key of sandbox ${row.key}`,
        path: [row.key],
        sealed: row.sealed,
      };
    }
    for await (const row of this.#keyed(settings.userId, settings.secretMembers, settings)) {
      yield {
        what: 'settings',
        name: `settings of ${row.key || 'the one user'}`,
        path: [row.key],
        sealed: row.sealed,
      };
    }
    for await (const row of this.#keyed(startRequests.id, startRequests.secrets, startRequests)) {
      yield { what: 'start', name: `secrets of start ${row.key}`, path: [row.key], sealed: row.sealed };
    }
    const rows = await this.database
      .select({ userId: secrets.userId, kind: secrets.kind, name: secrets.name, sealed: secrets.value })
      .from(secrets)
      .orderBy(secrets.userId, secrets.kind, secrets.name);
    for (const { userId, kind, name, sealed } of rows) {
      yield {
        what: 'secret',
        name: `secret ${name} of ${userId || 'the one user'}`,
        path: [userId, kind, name],
        sealed,
      };
    }
  }

  async *#keyed(
    key: PgColumn,
    value: PgColumn,
    table: typeof sandboxes | typeof settings | typeof startRequests,
  ): AsyncGenerator<{ key: string; sealed: string }> {
    for (let last: string | null = null; ;) {
      const rows = await this.database
        .select({ key: sql<string>`${key}`, sealed: sql<string>`${value}` })
        .from(table)
        .where(and(isNotNull(value), last === null ? undefined : gt(key, last)))
        .orderBy(asc(key))
        .limit(PAGE);
      yield* rows;
      if (rows.length < PAGE) return;
      last = rows.at(-1)?.key ?? '';
    }
  }
}
