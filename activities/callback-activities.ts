import { cancellationSignal, heartbeat, sleep } from '@temporalio/activity';
import type { Logger } from 'pino';
import { AgentServerError } from '../agent-server/errors.js';
import { ExecutionStatus } from '../contract/conversation.js';
import type { AgentEvent } from '../contract/event.js';
import { dashedId } from '../contract/ids.js';
import type { CallbackOutcome, CallbackRepository } from '../db/callback-repository.js';
import type { ConversationRecord, ConversationRepository } from '../db/conversation-repository.js';
import { applyEventEffects } from '../events/event-effects.js';
import { concealed, type Conceal } from '../events/concealment.js';
import type { EventStore } from '../events/event-store.js';
import type { IncomingEvent } from '../events/incoming-event.js';
import { reconcileEvents } from '../events/reconcile.js';
import type { SecretSandbox } from '../identity/event-secrets.js';
import { VaultError } from '../identity/vault.js';
import { statsSnapshot } from '../events/statistics.js';
import { runQueue, type Processor } from './callbacks/queue-runner.js';
import { runtimeOf, type RuntimeDeps } from './callbacks/conversation-runtime.js';
import { setTitle } from './callbacks/set-title.js';

export interface CallbackActivityDeps extends RuntimeDeps {
  callbacks: CallbackRepository;
  conversations: ConversationRepository;
  events: EventStore;
  /** What takes the secrets of a sandbox and its owner out of events. */
  concealerOf: (sandbox: SecretSandbox) => Promise<Conceal>;
  logger: Pick<Logger, 'info' | 'warn'>;
}

/** How often a working activity says that it is alive, in milliseconds. */
const HEARTBEAT_MS = 3_000;
/** A DELETE waits for a running tool call: no longer than this for each attempt. */
const DELETE_LIMIT_MS = 5_000;
/** Waits before each attempt where other conversations go on in the same sandbox. */
const DELETE_WAITS_MS = [0, 1_000, 2_000];

/** What the `conversation` actor asks for. Each of these may run again after a crash. */
export function createCallbackActivities(deps: CallbackActivityDeps) {
  const { callbacks, conversations, events, logger } = deps;

  const processors: Readonly<Record<string, Processor>> = {
    SetTitleCallbackProcessor: (conversationId) =>
      setTitle(
        {
          conversations,
          events,
          runtimeOf: (conversation) => runtimeOf(deps, conversation),
          sleep,
          signal: cancellationSignal(),
          logger,
        },
        conversationId,
      ),
    LoggingCallbackProcessor: async (conversationId, { id, kind, ...event }) => {
      logger.info(
        { conversationId, eventId: id, kind, source: event['source'] },
        'an event of a conversation',
      );
      return { result: { status: 'SUCCESS', detail: null } };
    },
    GithubV1CallbackProcessor: async (_conversationId, event) => (endsRun(event) ? GITHUB_UNAVAILABLE : {}),
  };

  return {
    /** Runs what is queued for a conversation, in order, for about a minute at most; the rest is `remaining`. */
    runQueuedCallbacks: (conversationId: string): Promise<{ remaining: number }> =>
      beating(() =>
        runQueue({ callbacks, events, processors, signal: cancellationSignal(), logger }, conversationId),
      ),

    /**
     * Removes what a deleted conversation leaves: at the agent-server if it can be reached, events, callbacks.
     * @returns its sandbox, if no conversation and no start uses that any more.
     */
    deleteConversationData: (conversationId: string): Promise<{ unreferencedSandboxId: string | null }> =>
      beating(async () => {
        await conversations.markDeleted(conversationId);
        const conversation = await conversations.read(conversationId);
        const isLast = !conversation || !(await conversations.isSandboxReferenced(conversation.sandboxId));
        if (conversation) await deleteAtRuntime(conversation, isLast ? [0] : DELETE_WAITS_MS);
        await events.deleteConversation(conversationId);
        await callbacks.deleteOfConversation(conversationId);
        await conversations.markPurged(conversationId);
        return { unreferencedSandboxId: isLast ? (conversation?.sandboxId ?? null) : null };
      }),

    /** Fetches what webhooks have lost of a conversation; see {@link reconcileConversation}. */
    reconcileEvents: (conversationId: string) => beating(() => reconcileConversation(conversationId)),

    /** The same for all conversations of a sandbox that has come back; one that fails does not stop the others. */
    reconcileSandboxEvents: (sandboxId: string): Promise<{ conversationsToWake: string[] }> =>
      beating(async () => {
        const conversationsToWake: string[] = [];
        for (const conversationId of await conversations.idsIn(sandboxId)) {
          try {
            const { callbacksQueued } = await reconcileConversation(conversationId);
            if (callbacksQueued) conversationsToWake.push(conversationId);
          } catch (error) {
            if (!(error instanceof AgentServerError)) throw error;
            logger.warn({ conversationId, detail: error.message }, 'lost events could not be fetched');
          }
        }
        return { conversationsToWake };
      }),
  };

  /**
   * Brings events, status and statistics up to what the agent-server has. Costs three small requests when nothing is
   * missing; a sandbox that is not running, or does not know the conversation, has nothing to add.
   * @returns how many events were missing, and whether the conversation's actor has to be woken for them.
   */
  async function reconcileConversation(
    conversationId: string,
  ): Promise<{ fetched: number; callbacksQueued: boolean }> {
    const nothing = { fetched: 0, callbacksQueued: false };
    const conversation = await conversations.read(conversationId);
    if (!conversation || conversation.deletedAt) return nothing;
    const runtime = await runtimeOf(deps, conversation);
    if (!runtime) return nothing;
    const id = dashedId(conversationId);
    const options = { signal: cancellationSignal() };
    const askedAt = new Date();
    const record = await runtime.conversation(id, options);
    if (record === null) return nothing;
    const log = {
      countEvents: () => runtime.countEvents(id, {}, options),
      searchEvents: (_id: string, page: Parameters<typeof runtime.searchEvents>[1]) =>
        runtime.searchEvents(id, page, options),
    };
    const { fetched, callbacksQueued } = await reconcileEvents(storeOf(conversation), log, conversationId);
    await applyEventEffects(conversations, conversationId, fetched);
    const stats = statsSnapshot(record.stats);
    if (stats) await conversations.applyStats(conversationId, stats, askedAt);
    const status = ExecutionStatus.safeParse(record.execution_status);
    if (status.success) await conversations.setExecutionStatus(conversationId, status.data, askedAt);
    return { fetched: fetched.length, callbacksQueued };
  }

  /** The event store as it takes events of one conversation: without the secrets of its sandbox. */
  function storeOf({ sandboxId }: ConversationRecord): Pick<EventStore, 'count' | 'missing' | 'ingest'> {
    return {
      ...events,
      async ingest(conversationId: string, incoming: readonly IncomingEvent[]) {
        const sandbox = await deps.sandboxes.read(sandboxId);
        if (!sandbox) throw new Error(`sandbox ${sandboxId} has no row`);
        return events.ingest(conversationId, concealed(incoming, await deps.concealerOf(sandbox)));
      },
    };
  }

  /** Best effort: a sandbox that nobody else uses goes anyway, and elsewhere a conversation without a row is inert. */
  async function deleteAtRuntime(
    conversation: ConversationRecord,
    waitsMs: readonly number[],
  ): Promise<void> {
    const options = { signal: cancellationSignal(), timeoutMs: DELETE_LIMIT_MS };
    for (const wait of waitsMs) {
      await sleep(wait);
      try {
        const runtime = await runtimeOf(deps, conversation);
        await runtime?.deleteConversation(dashedId(conversation.id), options);
        return;
      } catch (error) {
        if (!(error instanceof AgentServerError || error instanceof VaultError)) throw error;
        const detail = error.message;
        logger.warn(
          { conversationId: conversation.id, detail },
          'the agent-server did not delete a conversation',
        );
      }
    }
  }
}

export type CallbackActivities = ReturnType<typeof createCallbackActivities>;

/** The one result of a processor that this build does not have. */
const GITHUB_UNAVAILABLE: CallbackOutcome = {
  result: {
    status: 'ERROR',
    detail: 'GithubV1CallbackProcessor is not available in this build: no summary was posted.',
  },
  status: 'ERROR',
};

const endsRun = (event: AgentEvent): boolean =>
  event.kind === 'ConversationStateUpdateEvent' &&
  event['key'] === 'execution_status' &&
  event['value'] === 'finished';

/** Heartbeats for the whole length of the work: that is also how a cancellation reaches it. */
async function beating<Result>(work: () => Promise<Result>): Promise<Result> {
  const beat = setInterval(() => heartbeat(), HEARTBEAT_MS);
  try {
    return await work();
  } finally {
    clearInterval(beat);
  }
}
