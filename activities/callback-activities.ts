import { cancellationSignal, sleep } from '@temporalio/activity';
import type { Logger } from 'pino';
import { AgentServerError } from '../agent-server/errors.js';
import type { AgentEvent } from '../contract/event.js';
import { dashedId } from '../contract/ids.js';
import type { CallbackOutcome, CallbackRepository } from '../db/callback-repository.js';
import type { ConversationRecord, ConversationRepository } from '../db/conversation-repository.js';
import type { SandboxConversations } from '../db/sandbox-conversations.js';
import type { EventStore } from '../events/event-store.js';
import { VaultError } from '../identity/vault.js';
import { beating } from './beating.js';
import { runQueue, type Processor } from './callbacks/queue-runner.js';
import { runtimeOf } from './callbacks/conversation-runtime.js';
import { setTitle } from './callbacks/set-title.js';
import { createReconcileActivities, type ReconcileActivityDeps } from './reconcile-activities.js';

export interface CallbackActivityDeps extends ReconcileActivityDeps {
  callbacks: CallbackRepository;
  conversations: ConversationRepository;
  sandboxConversations: Pick<SandboxConversations, 'idsIn' | 'isReferenced'>;
  events: EventStore;
  logger: Pick<Logger, 'info' | 'warn'>;
}

/** A DELETE waits for a running tool call: no longer than this for each attempt. */
const DELETE_LIMIT_MS = 5_000;
/** Waits before each attempt where other conversations go on in the same sandbox. */
const DELETE_WAITS_MS = [0, 1_000, 2_000];

/** What the `conversation` actor asks for. Each of these may run again after a crash. */
export function createCallbackActivities(deps: CallbackActivityDeps) {
  const { callbacks, conversations, sandboxConversations, events, logger } = deps;

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
    ...createReconcileActivities(deps),

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
        const isLast = !conversation || !(await sandboxConversations.isReferenced(conversation.sandboxId));
        if (conversation) await deleteAtRuntime(conversation, isLast ? [0] : DELETE_WAITS_MS);
        await events.deleteConversation(conversationId);
        await callbacks.deleteOfConversation(conversationId);
        await conversations.markPurged(conversationId);
        return { unreferencedSandboxId: isLast ? (conversation?.sandboxId ?? null) : null };
      }),
  };

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
