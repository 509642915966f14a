/** Whether a message that an agent-server may have been told is in its log: asked before it is told again. */
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import type { AgentServerClient } from '../../agent-server/client.js';
import type { AgentEvent } from '../../agent-server/schemas.js';
import type { ContentBlock } from '../../contract/content.js';

/** What is asked of the agent-server. */
export type MessageLog = Pick<AgentServerClient, 'conversation' | 'eventsFrom' | 'searchEvents'>;

/** A message as far as it can be recognised: agent-servers give messages ids of their own, and take no mark of ours. */
export interface SoughtMessage {
  content: readonly ContentBlock[];
  /** Newest event before it was told for the first time; empty when there was none. */
  logPosition: string;
}

/** In milliseconds. */
export interface ArrivalTimes {
  /** How long a server that is free to write a message down may take to do so. */
  quiet: number;
  /** Between two looks. */
  look: number;
}
const TIMES: ArrivalTimes = { quiet: 3_000, look: 250 };

/** Events of one look at the end of the log. */
const NEWEST = 20;

const UserMessage = z.looseObject({
  kind: z.literal('MessageEvent'),
  source: z.literal('user'),
  llm_message: z.looseObject({
    content: z.array(
      z.looseObject({
        type: z.string(),
        text: z.string().optional(),
        image_urls: z.array(z.string()).optional(),
      }),
    ),
  }),
});

/** Id of the newest event of the log; empty when there is none. */
export async function newestEvent(log: MessageLog, id: string, signal: AbortSignal): Promise<string> {
  const { items } = await log.searchEvents(id, { limit: 1, sortOrder: 'TIMESTAMP_DESC' }, { signal });
  return items[0]?.id ?? '';
}

/** Whether the message stands in the log now. */
export async function isLogged(
  log: MessageLog,
  id: string,
  { content, logPosition }: SoughtMessage,
  signal: AbortSignal,
): Promise<boolean> {
  let first = logPosition !== '';
  for await (const event of log.eventsFrom(id, logPosition || null, { signal })) {
    // A log that does not know the position any more is another one, and would be read from its beginning.
    if (first && event.id !== logPosition) return false;
    first = false;
    if (event.id !== logPosition && says(event, content)) return true;
  }
  return false;
}

/**
 * Whether a message whose answer was lost has arrived, or still does: a server in the middle of a tool call writes it
 * down when that has ended, so its absence counts only after a time in which nothing kept it out.
 */
export async function hasArrived(
  log: MessageLog,
  id: string,
  sought: SoughtMessage,
  signal: AbortSignal,
  times: ArrivalTimes = TIMES,
): Promise<boolean> {
  let freeSince: number | null = null;
  for (;;) {
    // Asked in this order: a tool call that ends in between has let the message in before the log is read.
    const busy = await isInToolCall(log, id, signal);
    if (await isLogged(log, id, sought, signal)) return true;
    const now = Date.now();
    if (busy) freeSince = null;
    else if (freeSince === null) freeSince = now;
    else if (now - freeSince >= times.quiet) return false;
    await sleep(times.look, undefined, { signal });
  }
}

/** A step that holds the conversation has begun and not ended. */
async function isInToolCall(log: MessageLog, id: string, signal: AbortSignal): Promise<boolean> {
  const conversation = await log.conversation(id, { signal });
  if (conversation?.execution_status !== 'running') return false;
  const { items } = await log.searchEvents(id, { limit: NEWEST, sortOrder: 'TIMESTAMP_DESC' }, { signal });
  const step = items.find(
    ({ kind, source }) => STEPS.has(kind) || (kind === 'MessageEvent' && source === 'agent'),
  );
  return step !== undefined && CALLS.has(step.kind);
}

const CALLS = new Set(['ActionEvent', 'ACPToolCallEvent']);
const STEPS = new Set([...CALLS, 'ObservationEvent', 'AgentErrorEvent', 'UserRejectObservation']);

/** The server may add to a message what a skill says of it, so it has to begin with ours. */
function says(event: AgentEvent, content: readonly ContentBlock[]): boolean {
  const parsed = UserMessage.safeParse(event);
  if (!parsed.success) return false;
  const heard = parsed.data.llm_message.content;
  const images = (blocks: readonly { image_urls?: string[] | undefined }[]) =>
    blocks.flatMap(({ image_urls: urls = [] }) => urls);
  const texts = (blocks: readonly { text?: string | undefined }[]) =>
    blocks.flatMap(({ text }) => (text === undefined ? [] : [text])).join('\n');
  const wantedImages = images(content as readonly { image_urls?: string[] }[]);
  const heardImages = images(heard);
  return (
    texts(heard).startsWith(texts(content as readonly { text?: string }[])) &&
    wantedImages.every((url, index) => heardImages[index] === url)
  );
}
