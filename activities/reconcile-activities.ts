import { cancellationSignal } from '@temporalio/activity';
import pLimit from 'p-limit';
import type { Logger } from 'pino';
import { AgentServerError } from '../agent-server/errors.js';
import { ExecutionStatus } from '../contract/conversation.js';
import { dashedId } from '../contract/ids.js';
import { WebhookConversation } from '../contract/webhook.js';
import type { ConversationResidence } from '../db/conversation-home.js';
import type { ConversationRecord, ConversationRepository } from '../db/conversation-repository.js';
import type { SandboxConversations } from '../db/sandbox-conversations.js';
import type { LostEventReadModel } from '../db/lost-event-read-model.js';
import type { SandboxRecord, SandboxRepository } from '../db/sandbox-repository.js';
import { concealed, type Conceal } from '../events/concealment.js';
import { applyEventEffects, reportedConversation } from '../events/event-effects.js';
import type { EventStore } from '../events/event-store.js';
import type { IncomingEvent } from '../events/incoming-event.js';
import { reconcileEvents } from '../events/reconcile.js';
import { statsSnapshot } from '../events/statistics.js';
import type { SecretSandbox } from '../identity/event-secrets.js';
import { VaultError } from '../identity/vault.js';
import { beating } from './beating.js';
import {
  runtimeOfSandbox,
  type ConversationRuntime,
  type RuntimeDeps,
} from './callbacks/conversation-runtime.js';

export interface ReconcileActivityDeps extends RuntimeDeps {
  conversations: Pick<ConversationRepository, 'read' | 'applyRun' | 'upsertFromWebhook'>;
  sandboxConversations: Pick<SandboxConversations, 'idsIn'>;
  sandboxes: Pick<SandboxRepository, 'read' | 'touch'>;
  events: Pick<EventStore, 'count' | 'missing' | 'ingest'>;
  residence: Pick<ConversationResidence, 'of'>;
  lostEvents: Pick<LostEventReadModel, 'runningSandboxes'>;
  /** Sandboxes without an event for longer than this are not looked into by the periodic comparison. */
  activeWithinSeconds?: number;
  /** What takes the secrets of a sandbox and its owner out of events. */
  concealerOf: (sandbox: SecretSandbox) => Promise<Conceal>;
  logger: Pick<Logger, 'info' | 'warn'>;
}

/** What a look through all sandboxes has found. */
export interface ReconcileSweep {
  /** Running sandboxes that were asked. */
  sandboxes: number;
  /** Of these, with something that happened lately. */
  active: number;
  /** Events that had been lost. */
  fetched: number;
  /** Sandboxes that did not answer, or not as they should; the next sweep asks again. */
  failed: number;
}

/** Sandboxes asked at a time. */
const PARALLEL = 4;
/** Running sandboxes read from the table at a time. */
const PAGE = 200;
/** How long a sandbox may take to say since when it idles, in milliseconds. */
const INFO_LIMIT_MS = 3_000;

/** Fetches what webhooks have lost from the logs of the agent-servers. Each of these may run again after a crash. */
export function createReconcileActivities(deps: ReconcileActivityDeps) {
  const { conversations, sandboxConversations, events, logger } = deps;

  /**
   * Brings events, status and statistics up to what the agent-server has. Costs three small requests when nothing is
   * missing; a sandbox that is not running, or does not know the conversation, has nothing to add.
   */
  async function reconcileConversation(
    conversationId: string,
  ): Promise<{ fetched: number; callbacksQueued: boolean }> {
    const nothing = { fetched: 0, callbacksQueued: false };
    const conversation = await conversations.read(conversationId);
    if (!conversation || conversation.deletedAt) return nothing;
    const sandbox = await deps.sandboxes.read(conversation.sandboxId);
    const runtime = sandbox && (await runtimeOfSandbox(deps, sandbox));
    return runtime ? reconcileAt(runtime, sandbox, conversation) : nothing;
  }

  async function reconcileAt(
    runtime: ConversationRuntime,
    sandbox: SandboxRecord,
    conversation: ConversationRecord,
  ): Promise<{ fetched: number; callbacksQueued: boolean }> {
    const conversationId = conversation.id;
    const id = dashedId(conversationId);
    const options = { signal: cancellationSignal() };
    const askedAt = new Date();
    const record = await runtime.conversation(id, options);
    if (record === null) return { fetched: 0, callbacksQueued: false };
    const log = {
      countEvents: () => runtime.countEvents(id, {}, options),
      searchEvents: (_id: string, page: Parameters<typeof runtime.searchEvents>[1]) =>
        runtime.searchEvents(id, page, options),
    };
    const reconciled = await reconcileEvents(storeOf(sandbox), log, conversationId, {
      onStored: (stored) => applyEventEffects(conversations, conversationId, stored),
    });
    // What was not heard in time counts from now: its callbacks need a sandbox that is awake.
    if (reconciled.fetched > 0) await deps.sandboxes.touch(sandbox.id);
    // Where nothing is new nothing is written: `updated_at` says when something has happened.
    if (conversation.llmModel === null) await takeOver(sandbox, record);
    const stats = statsSnapshot(record.stats);
    const areStatsNews =
      reconciled.fetched > 0 || stats?.accumulatedCost !== conversation.metrics?.accumulated_cost;
    const status = ExecutionStatus.safeParse(record.execution_status);
    const run = {
      ...(stats && areStatsNews && { stats: { value: stats, at: askedAt } }),
      ...(status.success &&
        status.data !== conversation.executionStatus && { status: { value: status.data, at: askedAt } }),
    };
    if (Object.keys(run).length > 0) await conversations.applyRun(conversationId, run);
    return reconciled;
  }

  /** What a lost webhook about the conversation itself would have said. */
  async function takeOver(sandbox: SandboxRecord, record: unknown): Promise<void> {
    const { data } = WebhookConversation.safeParse(record);
    if (data) await conversations.upsertFromWebhook(reportedConversation(data), sandbox);
  }

  /** The event store as it takes events of one sandbox: without its secrets. */
  const storeOf = (sandbox: SandboxRecord): Pick<EventStore, 'count' | 'missing' | 'ingest'> => ({
    ...events,
    ingest: async (conversationId: string, incoming: readonly IncomingEvent[]) =>
      events.ingest(conversationId, concealed(incoming, await deps.concealerOf(sandbox))),
  });

  /** Conversations that the agent-server has and of which nobody has heard here, because every webhook was lost. */
  async function discover(runtime: ConversationRuntime, sandbox: SandboxRecord): Promise<void> {
    for await (const record of runtime.allConversations({ signal: cancellationSignal() })) {
      const { data } = WebhookConversation.safeParse(record);
      if (!data || (await deps.residence.of(data.id, sandbox)) !== 'unknown') continue;
      await conversations.upsertFromWebhook(reportedConversation(data), sandbox);
      logger.info({ conversationId: data.id, sandboxId: sandbox.id }, 'a conversation nobody had heard of');
    }
  }

  /** All conversations of one sandbox; one that fails does not stop the others. */
  async function reconcileSandbox(
    sandbox: SandboxRecord,
    runtime: ConversationRuntime,
  ): Promise<{ fetched: number; failed: boolean; conversationsToWake: string[] }> {
    const result = { fetched: 0, failed: false, conversationsToWake: [] as string[] };
    const attempt = async (conversationId: string | null, work: () => Promise<void>): Promise<void> => {
      try {
        await work();
      } catch (error) {
        if (!(error instanceof AgentServerError)) throw error;
        result.failed = true;
        const where = { sandboxId: sandbox.id, conversationId, detail: error.message };
        logger.warn(where, 'lost events could not be fetched');
      }
    };
    await attempt(null, () => discover(runtime, sandbox));
    for (const id of await sandboxConversations.idsIn(sandbox.id)) {
      await attempt(id, async () => {
        const conversation = await conversations.read(id);
        if (!conversation || conversation.deletedAt) return;
        const { fetched, callbacksQueued } = await reconcileAt(runtime, sandbox, conversation);
        result.fetched += fetched;
        if (callbacksQueued) result.conversationsToWake.push(id);
      });
    }
    return result;
  }

  async function sweepOne(id: string, activeWithinSeconds: number, sweep: ReconcileSweep): Promise<void> {
    cancellationSignal().throwIfAborted();
    const sandbox = await deps.sandboxes.read(id);
    sweep.sandboxes++;
    try {
      const runtime = sandbox && (await runtimeOfSandbox(deps, sandbox));
      if (!runtime) return;
      const { idle_time } = await runtime.serverInfo({
        signal: cancellationSignal(),
        timeoutMs: INFO_LIMIT_MS,
      });
      if (idle_time > activeWithinSeconds) return;
      sweep.active++;
      const { fetched, failed } = await reconcileSandbox(sandbox, runtime);
      sweep.fetched += fetched;
      if (failed) sweep.failed++;
    } catch (error) {
      if (!(error instanceof AgentServerError || error instanceof VaultError)) throw error;
      sweep.failed++;
    }
  }

  return {
    /** Fetches what webhooks have lost of one conversation. */
    reconcileEvents: (conversationId: string) => beating(() => reconcileConversation(conversationId)),

    /** The same for all conversations of a sandbox that has come back, those included that were never heard of. */
    reconcileSandboxEvents: (sandboxId: string): Promise<{ conversationsToWake: string[] }> =>
      beating(async () => {
        const sandbox = await deps.sandboxes.read(sandboxId);
        const runtime = sandbox && (await runtimeOfSandbox(deps, sandbox));
        if (!runtime) return { conversationsToWake: [] };
        const { conversationsToWake } = await reconcileSandbox(sandbox, runtime);
        return { conversationsToWake };
      }),

    /**
     * The same for every running sandbox in which something has happened lately, by its agent-server's own word: what is
     * run periodically with a little more than its period costs one small request for each sandbox at rest. Callbacks
     * that come of it are taken up by the next look at the queue.
     * @param activeWithinSeconds by default what the worker was told; else all
     */
    reconcileRunningSandboxes: (
      activeWithinSeconds = deps.activeWithinSeconds ?? Number.MAX_SAFE_INTEGER,
    ): Promise<ReconcileSweep> =>
      beating(async () => {
        const sweep: ReconcileSweep = { sandboxes: 0, active: 0, fetched: 0, failed: 0 };
        const limit = pLimit(PARALLEL);
        let ids: string[] = [];
        do {
          ids = await deps.lostEvents.runningSandboxes(ids.at(-1) ?? '', PAGE);
          await Promise.all(ids.map((id) => limit(() => sweepOne(id, activeWithinSeconds, sweep))));
        } while (ids.length === PAGE);
        if (sweep.fetched + sweep.failed > 0) logger.info({ ...sweep }, 'looked for events that were missed');
        return sweep;
      }),
  };
}

export type ReconcileActivities = ReturnType<typeof createReconcileActivities>;
