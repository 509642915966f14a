/** Works through the queue of one conversation: events in order, the callbacks of one event together (contract 7). */
import { AgentEvent } from '../../contract/event.js';
import type { CallbackOutcome, CallbackRepository, QueuedCallback } from '../../db/callback-repository.js';
import type { EventStore } from '../../events/event-store.js';

/** Runs one kind of callback for one event; what it throws is recorded, and the callback stays active. */
export type Processor = (conversationId: string, event: AgentEvent) => Promise<CallbackOutcome>;

export interface QueueRunnerDeps {
  callbacks: Pick<CallbackRepository, 'takeNext' | 'finish' | 'remaining'>;
  events: Pick<EventStore, 'batch'>;
  /** By kind. */
  processors: Readonly<Record<string, Processor>>;
  signal: AbortSignal;
  logger: { warn(fields: Record<string, unknown>, message: string): void };
}

/** An entry that took its worker down this often is given up. */
const MOST_ATTEMPTS = 5;
/** After this long the rest is left to the next call, in milliseconds. */
const TIME_BUDGET_MS = 60_000;

/** @returns how many entries are left: none, unless the time was up. */
export async function runQueue(
  deps: QueueRunnerDeps,
  conversationId: string,
): Promise<{ remaining: number }> {
  const end = Date.now() + TIME_BUDGET_MS;
  while (Date.now() < end) {
    const waiting = await deps.callbacks.takeNext(conversationId);
    if (waiting.length === 0) return { remaining: 0 };
    await Promise.all(waiting.map((queued) => runOne(deps, queued)));
  }
  return { remaining: await deps.callbacks.remaining(conversationId) };
}

async function runOne(deps: QueueRunnerDeps, queued: QueuedCallback): Promise<void> {
  await deps.callbacks.finish(queued, await outcomeOf(deps, queued));
}

async function outcomeOf(deps: QueueRunnerDeps, queued: QueuedCallback): Promise<CallbackOutcome> {
  const { callback, eventId, attempts } = queued;
  const { conversationId, processorKind } = callback;
  // Switched off by an event before this one.
  if (callback.status !== 'ACTIVE') return {};
  if (attempts >= MOST_ATTEMPTS)
    return failure(`It was given up after ${MOST_ATTEMPTS} attempts without a result.`);
  try {
    const processor = deps.processors[processorKind];
    if (!processor) throw new Error(`There is no callback processor named ${processorKind}.`);
    const [json] = await deps.events.batch(conversationId, null, [eventId]);
    if (typeof json !== 'string') throw new Error('The event is not there any more.');
    return await processor(conversationId, AgentEvent.parse(JSON.parse(json)));
  } catch (error) {
    // Not a result: the worker stops, or the activity was called off, and the entry waits for the next attempt.
    if (deps.signal.aborted) throw error;
    const detail = error instanceof Error ? error.message : String(error);
    deps.logger.warn({ conversationId, eventId, processorKind, detail }, 'a callback failed');
    return failure(detail);
  }
}

const failure = (detail: string): CallbackOutcome => ({ result: { status: 'ERROR', detail } });
