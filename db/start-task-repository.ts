import { and, eq, isNull, sql } from 'drizzle-orm';
import type { EffectiveStartRequest, StartStatus } from '../contract/start-task.js';
import type { Database } from './database.js';
import type { NewSandbox } from './sandbox-repository.js';
import { startRequests, startTaskArtifacts, startTasks } from './schema/index.js';
import { acceptRequest, type AcceptedStart } from './start-acceptance.js';
import { occupySandbox, occupyWarmSandbox } from './start-occupation.js';
import { forgetConversationOf } from './start-release.js';
import { stageRequest, unstageRequest, type StagedRequest, type StagingResult } from './start-staging.js';
import { advanceTask, passThroughStatuses, type TransitionFields } from './start-transitions.js';

/** Writes start requests, start tasks and their transitions; each method may be repeated after a crash. */
export class StartTaskRepository {
  constructor(private readonly database: Database) {}

  /**
   * Stores a request before its workflow is started. A conversation id (or idempotency key) that a live start holds
   * leads to that start; one whose start ended in ERROR is taken over.
   */
  async stage(staged: StagedRequest): Promise<StagingResult> {
    return stageRequest(this.database, staged);
  }

  /**
   * Forgets a request that was never accepted, so that the one whose place it took can be tried again; one that is being
   * accepted at this moment is waited for, and kept.
   */
  async unstage(taskId: string): Promise<void> {
    await unstageRequest(this.database, taskId);
  }

  /**
   * Makes the staged request a start task in WORKING; repeated, it changes nothing and tells where the task stands.
   * @throws {StartRequestMissing} when the request was withdrawn
   */
  async accept(taskId: string): Promise<AcceptedStart> {
    return acceptRequest(this.database, taskId);
  }

  /**
   * Writes a status and announces it, in one transaction: a listener never hears of what it cannot read yet.
   * The status a task already has is not written again; a terminal one is never left. With ERROR goes, in the same
   * transaction, what the start has made: a sandbox of its own is hidden, its conversation forgotten.
   * @returns the status before
   */
  async advance(taskId: string, status: StartStatus, fields: TransitionFields = {}): Promise<StartStatus> {
    if (status !== 'ERROR') return advanceTask(this.database, taskId, status, fields);
    return this.database.transaction((tx) => advanceTask(tx, taskId, status, fields));
  }

  /**
   * Writes and announces statuses that follow each other at once, in one statement; each of them is told to whoever
   * listens. Those that the task has reached or passed are left out, so that a repeated step leads nowhere back.
   * @param statuses none of them an end
   */
  async passThrough(
    taskId: string,
    statuses: readonly Exclude<StartStatus, 'READY' | 'ERROR'>[],
    fields: Pick<TransitionFields, 'agentServerUrl'> = {},
  ): Promise<void> {
    await passThroughStatuses(this.database, taskId, statuses, fields);
  }

  /**
   * Announces WAITING_FOR_SANDBOX with the sandbox of the start. Nobody can delete the sandbox as unused in between.
   * @param sandbox its id where it exists; one that is made for this start alone is stored in the same transaction, so
   *   that at no instant there is one that nobody knows of
   * @returns false when the sandbox is deleted already, or somebody else's: another one has to be found.
   * @throws {StartEnded} when nobody would give it back any more
   */
  async occupy(taskId: string, sandbox: string | NewSandbox): Promise<boolean> {
    return occupySandbox(this.database, taskId, sandbox);
  }

  /**
   * Gives a start a sandbox that is kept warm, and announces WAITING_FOR_SANDBOX with it, in one transaction: at no
   * instant is one taken and nobody's. Of several starts that want the same one, one gets it.
   * @returns the sandbox of the start; null when this one is not to be had any more
   * @throws {StartEnded} when nobody would give it back any more
   */
  async occupyWarm(taskId: string, sandboxId: string): Promise<string | null> {
    return occupyWarmSandbox(this.database, taskId, sandboxId);
  }

  /** The task with its request and encrypted secrets, for the activities of its start. */
  async read(taskId: string): Promise<StartTaskRecord | null> {
    const [row] = await this.database
      .select({
        task: startTasks,
        request: startRequests.request,
        secrets: startRequests.secrets,
        authority: startRequests.authority,
        supersedes: startRequests.supersedes,
        supersededAt: startRequests.supersededAt,
      })
      .from(startTasks)
      .innerJoin(startRequests, eq(startRequests.id, startTasks.id))
      .where(eq(startTasks.id, taskId));
    if (!row) return null;
    const { task, ...request } = row;
    return { ...task, ...request };
  }

  /** Removes rows, callbacks and index of the conversation of a start that ended in ERROR, unless another start has it. */
  async forgetConversation(taskId: string): Promise<{ forgotten: boolean }> {
    return this.database.transaction((tx) => forgetConversationOf(tx, taskId));
  }

  /** Whether a start of this conversation (hex) is under way. */
  async isStarting(conversationId: string): Promise<boolean> {
    const [row] = await this.database
      .select({ id: startTasks.id })
      .from(startRequests)
      .innerJoin(startTasks, eq(startTasks.id, startRequests.id))
      .where(
        and(
          eq(startRequests.conversationId, conversationId),
          isNull(startRequests.supersededAt),
          sql`${startTasks.status} not in ('READY', 'ERROR')`,
        ),
      );
    return row !== undefined;
  }

  /** Keeps what a later phase of the start needs. */
  async putArtifact(taskId: string, name: string, content: unknown): Promise<void> {
    await this.database
      .insert(startTaskArtifacts)
      .values({ taskId, name, content })
      .onConflictDoUpdate({ target: [startTaskArtifacts.taskId, startTaskArtifacts.name], set: { content } });
  }

  /**
   * Keeps what a later phase needs, unless that is kept already.
   * @returns what is kept
   */
  async keepArtifact(taskId: string, name: string, content: unknown): Promise<unknown> {
    const kept = await this.database
      .insert(startTaskArtifacts)
      .values({ taskId, name, content })
      .onConflictDoNothing()
      .returning({ name: startTaskArtifacts.name });
    return kept.length > 0 ? content : this.artifact(taskId, name);
  }

  /** What an earlier phase kept, or null. */
  async artifact(taskId: string, name: string): Promise<unknown> {
    const [row] = await this.database
      .select({ content: startTaskArtifacts.content })
      .from(startTaskArtifacts)
      .where(and(eq(startTaskArtifacts.taskId, taskId), eq(startTaskArtifacts.name, name)));
    return row?.content ?? null;
  }
}

export type StartTaskRecord = typeof startTasks.$inferSelect & {
  request: EffectiveStartRequest;
  secrets: string | null;
  authority: string | null;
  /** The start that this one tries again. */
  supersedes: string | null;
  /** Set when another start tries this one again. */
  supersededAt: Date | null;
};
