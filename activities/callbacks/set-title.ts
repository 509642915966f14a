/** SetTitleCallbackProcessor: a title for a conversation that has none of its own (contract 7). */
import { AgentServerError } from '../../agent-server/errors.js';
import { isDefaultTitle } from '../../contract/conversation.js';
import { AgentEvent } from '../../contract/event.js';
import { dashedId } from '../../contract/ids.js';
import type { CallbackOutcome } from '../../db/callback-repository.js';
import type { ConversationRecord, ConversationRepository } from '../../db/conversation-repository.js';
import type { EventStore } from '../../events/event-store.js';
import type { ConversationRuntime } from './conversation-runtime.js';
import { cleanTitle, fallbackTitle, userText } from './fallback-title.js';

export interface TitleDeps {
  conversations: Pick<ConversationRepository, 'read' | 'setTitleIfDefault'>;
  events: Pick<EventStore, 'search'>;
  runtimeOf: (conversation: ConversationRecord) => Promise<ConversationRuntime | null>;
  /** Waits; rejects when the activity is cancelled. */
  sleep: (ms: number) => Promise<void>;
  signal: AbortSignal;
  logger: { warn(fields: Record<string, unknown>, message: string): void };
}

/** Waits before each question for the title in milliseconds: together 11.5 s, within which a model answers. */
const WAITS_MS = [500, 1_000, 2_000, 4_000, 4_000];
/** Waits before each further attempt to hand the title over. */
const PUSH_WAITS_MS = [0, 1_000, 2_000];
const ASK_LIMIT_MS = 5_000;
const GENERATE_LIMIT_MS = 12_000;
/** A PATCH waits for a running tool call; the title is not worth more than this. */
const PUSH_LIMIT_MS = 5_000;
/** Messages looked through for the first one of the user. */
const FIRST_MESSAGES = 5;

const DONE: CallbackOutcome = { result: { status: 'SUCCESS', detail: null }, status: 'DISABLED' };

/**
 * Takes the title that the agent-server has made with the configured model, has an old one make it, or makes it from
 * the user's first message. Writes the title alone, and only while nobody has chosen one.
 * @throws when the conversation cannot be asked: the callback then waits for the next message.
 */
export async function setTitle(deps: TitleDeps, conversationId: string): Promise<CallbackOutcome> {
  const conversation = await deps.conversations.read(conversationId);
  if (!conversation || conversation.deletedAt) throw new Error('The conversation does not exist any more.');
  if (!isDefaultTitle(conversation.title)) return DONE;
  const runtime = await deps.runtimeOf(conversation);
  if (!runtime)
    throw new Error('The sandbox of the conversation is not running, so it cannot be asked for a title.');

  const generated = await generatedTitle(deps, runtime, conversationId);
  const title = generated ?? (await titleFromFirstMessage(deps, conversationId));
  if (title === null) return {}; // no user has said anything yet: the next message decides
  const taken = await deps.conversations.setTitleIfDefault(conversationId, title);
  if (taken && generated === null) await pushTitle(deps, runtime, conversationId, title);
  return DONE;
}

async function generatedTitle(
  deps: TitleDeps,
  runtime: ConversationRuntime,
  conversationId: string,
): Promise<string | null> {
  const id = dashedId(conversationId);
  for (const wait of WAITS_MS) {
    await deps.sleep(wait);
    const record = await answered(runtime.conversation(id, { signal: deps.signal, timeoutMs: ASK_LIMIT_MS }));
    if (record === undefined) continue;
    if (record === null || record.title === undefined) {
      // An old agent-server: it does not know the call, or makes no title unasked.
      const options = { signal: deps.signal, timeoutMs: GENERATE_LIMIT_MS };
      return cleanTitle(await answered(runtime.generateTitle(id, options)));
    }
    const title = cleanTitle(record.title);
    if (title !== null) return title;
  }
  return null;
}

async function titleFromFirstMessage(deps: TitleDeps, conversationId: string): Promise<string | null> {
  const { items } = await deps.events.search(
    { conversationId, users: null, kind: 'MessageEvent' },
    { sortOrder: 'TIMESTAMP', limit: FIRST_MESSAGES },
  );
  const texts = items.map((json) => userText(AgentEvent.parse(JSON.parse(json))));
  const first = texts.find((text) => text !== null);
  return first === undefined || first === null ? null : fallbackTitle(first);
}

/** The agent-server shows the title too, if it can be reached; ours is stored either way. */
async function pushTitle(
  deps: TitleDeps,
  runtime: ConversationRuntime,
  conversationId: string,
  title: string,
): Promise<void> {
  for (const wait of PUSH_WAITS_MS) {
    await deps.sleep(wait);
    const options = { signal: deps.signal, timeoutMs: PUSH_LIMIT_MS };
    const known = await answered(runtime.patchConversation(dashedId(conversationId), { title }, options));
    if (known !== undefined) return;
  }
  deps.logger.warn({ conversationId }, 'the agent-server could not be told a title');
}

/** The answer of a call; undefined when the agent-server did not give one this time. */
async function answered<Answer>(call: Promise<Answer>): Promise<Answer | undefined> {
  try {
    return await call;
  } catch (error) {
    if (error instanceof AgentServerError) return undefined;
    throw error;
  }
}
