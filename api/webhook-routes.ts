import type { Logger } from 'pino';
import { z } from 'zod';
import { AgentEvent } from '../contract/event.js';
import { HexUuid, Success, SUCCESS } from '../contract/primitives.js';
import { WebhookConversation } from '../contract/webhook.js';
import type { ConversationResidence, Residence } from '../db/conversation-home.js';
import type { ConversationRepository } from '../db/conversation-repository.js';
import type { PosterRecord, SandboxRepository } from '../db/sandbox-repository.js';
import { applyEventEffects, reportedConversation, reportedRun } from '../events/event-effects.js';
import { concealed, type Conceal } from '../events/concealment.js';
import { readJsonArray, readJsonValue, type JsonElement } from '../events/event-json.js';
import type { EventStore } from '../events/event-store.js';
import type { IncomingEvent } from '../events/incoming-event.js';
import { answerTo } from './errors.js';
import { HttpError } from './http-error.js';
import { validated } from './request-input.js';
import { route, type RouteDefinition } from './route.js';
import { RequestValidationError, validationDetails } from './validation-error.js';
import { receiveWebhook, type WebhookGuardDeps } from './webhook-guard.js';

export interface WebhookRouteDeps extends WebhookGuardDeps {
  sandboxes: Pick<SandboxRepository, 'findPoster' | 'touch'>;
  conversations: Pick<
    ConversationRepository,
    'updateFromWebhook' | 'upsertFromWebhook' | 'stubFor' | 'applyRun'
  >;
  residence: Pick<ConversationResidence, 'of'>;
  events: Pick<EventStore, 'ingest'>;
  /** What takes the secrets of a sandbox and its owner out of events. */
  concealerOf: (sandbox: PosterRecord) => Promise<Conceal>;
  /** Has the conversation's actor look at its queue; never fails, and is not waited for. */
  wakeConversation: (conversationId: string) => void;
  /** Told when a run has ended: the time to fetch what webhooks have lost. */
  onRunEnded?: (conversationId: string) => void;
  /** Told when a webhook was not taken: if its sender gives up, what it held has to be fetched. */
  onLost?: (conversationId: string) => void;
  logger: Pick<Logger, 'debug'>;
}

/**
 * What agent-servers report (contract 6). An answer of 200 says that everything is durable; anything else makes the
 * agent-server send it again.
 */
export function webhookRoutes(deps: WebhookRouteDeps): RouteDefinition[] {
  const sandbox = { sandbox_id: z.string() };
  // Read as a UUID only after the key: a stranger learns nothing from the answer.
  const conversation = { conversation_id: z.string() };
  const base = '/api/v1/webhooks';
  return [
    conversationRoute(deps, `${base}/conversations`, z.object({})),
    conversationRoute(deps, `${base}/{sandbox_id}/conversations`, z.object(sandbox)),
    eventRoute(deps, `${base}/events/{conversation_id}`, z.object(conversation)),
    eventRoute(
      deps,
      `${base}/{sandbox_id}/events/{conversation_id}`,
      z.object({ ...sandbox, ...conversation }),
    ),
  ];
}

const RESPONSES = {
  200: { description: 'Everything is stored.', schema: Success },
  401: { description: 'The key is missing, unknown, or of another sandbox.' },
  422: { description: 'The body is not what an agent-server sends.' },
  408: { description: 'The body came too slowly.' },
  413: { description: 'The body is too large.' },
  500: { description: 'Not everything is stored: to be sent again.' },
  503: { description: 'Disk or database are slow, full or away: to be sent again after a while.' },
};

type Path = z.ZodType<{ sandbox_id?: string; conversation_id?: string }>;

function conversationRoute(deps: WebhookRouteDeps, path: string, params: Path): RouteDefinition {
  return route({
    method: 'post',
    path,
    summary: "Take over an agent-server's record of a conversation",
    tag: 'Webhooks',
    guard: 'self',
    limit: 'free', // senders whose sandbox is gone come back with its key for a while
    params,
    describedBody: WebhookConversation,
    responses: RESPONSES,
    handle: (input) =>
      receiveWebhook(deps, input.request, input.params.sandbox_id ?? null, readJsonValue, async (webhook) => {
        const { sandbox, body } = webhook;
        const record = validated(WebhookConversation, 'body', body);
        if (!record) throw new RequestValidationError([]);
        await notingLoss(deps, record.id, () => takeOver(deps, sandbox, record));
        return SUCCESS;
      }),
  });
}

async function takeOver(
  deps: WebhookRouteDeps,
  sandbox: PosterRecord,
  record: WebhookConversation,
): Promise<void> {
  // The agent-server forgets it because it was told to, or it stops: nothing to learn from that.
  if (record.execution_status === 'deleting') return;
  const report = [reportedConversation(record), sandbox, reportedRun(record)] as const;
  const found = await deps.conversations.updateFromWebhook(...report);
  if (found === 'elsewhere') throw new HttpError(401, 'Unauthorized');
  if (found === 'deleted') return;
  if (found !== 'changed') await deps.conversations.upsertFromWebhook(...report);
  await noteActivity(deps, sandbox);
}

/** Most webhooks come so soon after another one that nothing has to be written. */
async function noteActivity(
  deps: Pick<WebhookRouteDeps, 'sandboxes'>,
  { id, touchDueAt }: PosterRecord,
): Promise<void> {
  if (performance.now() >= touchDueAt) await deps.sandboxes.touch(id);
}

function eventRoute(deps: WebhookRouteDeps, path: string, params: Path): RouteDefinition {
  return route({
    method: 'post',
    path,
    summary: 'Store events of a conversation',
    tag: 'Webhooks',
    guard: 'self',
    limit: 'free', // senders whose sandbox is gone come back with its key for a while
    params,
    describedBody: z.array(AgentEvent),
    responses: RESPONSES,
    handle: (input) =>
      notingLoss(deps, HexUuid.safeParse(input.params.conversation_id).data ?? null, () =>
        receiveWebhook(
          deps,
          input.request,
          input.params.sandbox_id ?? null,
          readJsonArray,
          async (webhook) => {
            const conversationId = conversationIdOf(input.params.conversation_id);
            await store(deps, webhook.sandbox, conversationId, incomingEvents(webhook.body));
            return SUCCESS;
          },
        ),
      ),
  });
}

async function store(
  deps: WebhookRouteDeps,
  sandbox: PosterRecord,
  conversationId: string,
  received: readonly IncomingEvent[],
): Promise<void> {
  const [home, conceal] = await Promise.all([
    residence(deps, conversationId, sandbox),
    deps.concealerOf(sandbox),
    noteActivity(deps, sandbox),
  ]);
  const incoming = concealed(received, conceal);
  if (home === 'deleted' || incoming.length === 0) return;
  if (home === 'unknown') {
    await deps.conversations.stubFor(conversationId, sandbox);
    await residence(deps, conversationId, sandbox); // somebody else may have been faster
  }
  const { stored, callbacksQueued } = await deps.events.ingest(conversationId, incoming);
  await applyEventEffects(
    deps.conversations,
    conversationId,
    incoming.map(({ event }) => event),
  );
  deps.logger.debug({ conversationId, received: incoming.length, stored: stored.length }, 'events stored');
  if (callbacksQueued) deps.wakeConversation(conversationId);
  if (stored.some(endsRun)) deps.onRunEnded?.(conversationId);
}

/** Tells of a webhook that was not taken for a reason that is not in itself. */
async function notingLoss<Result>(
  { onLost }: WebhookRouteDeps,
  conversationId: string | null,
  work: () => Promise<Result>,
): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    const status = answerTo(error)?.status ?? 500;
    if (conversationId !== null && status !== 401 && status !== 422) onLost?.(conversationId);
    throw error;
  }
}

/** @throws {HttpError} 401 when the conversation is none of this sandbox's */
async function residence(
  deps: WebhookRouteDeps,
  conversationId: string,
  sandbox: PosterRecord,
): Promise<Residence> {
  const found = await deps.residence.of(conversationId, sandbox);
  if (found === 'elsewhere') throw new HttpError(401, 'Unauthorized');
  return found;
}

const ConversationPath = z.object({ conversation_id: HexUuid });

function conversationIdOf(text: string | undefined): string {
  return validated(ConversationPath, 'path', { conversation_id: text })?.conversation_id ?? '';
}

/** Every kind is taken; an element without id or kind is not an event (contract 6.3). */
function incomingEvents(elements: JsonElement[] | null): IncomingEvent[] {
  if (elements === null) {
    throw new RequestValidationError([
      { type: 'list_type', loc: ['body'], msg: 'Input should be a valid list', input: null },
    ]);
  }
  const events: IncomingEvent[] = [];
  const wrong: RequestValidationError['detail'][number][] = [];
  elements.forEach(({ text, value }, position) => {
    const result = AgentEvent.safeParse(value);
    if (result.success) {
      events.push({ event: result.data, json: text });
      return;
    }
    for (const detail of validationDetails(result.error.issues, 'body', value)) {
      const [place = 'body', ...path] = detail.loc;
      wrong.push({ ...detail, loc: [place, position, ...path] });
    }
  });
  if (wrong.length > 0) throw new RequestValidationError(wrong);
  return events;
}

const ENDED = new Set<unknown>(['finished', 'error', 'stuck', 'paused']);

const endsRun = (event: AgentEvent): boolean =>
  event.kind === 'ConversationStateUpdateEvent' &&
  event['key'] === 'execution_status' &&
  ENDED.has(event['value']);
