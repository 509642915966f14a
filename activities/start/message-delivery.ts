/** Makes sure that a conversation which was there already has got the first message of its start, and got it once. */
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import type { AgentServerClient } from '../../agent-server/client.js';
import type { AgentEvent } from '../../agent-server/schemas.js';
import { textOf, type ContentBlock, type InitialMessage } from '../../contract/content.js';
import type { ActivityScope } from './activity-scope.js';

/** How long a start that an earlier attempt began may still be handing over its message, in milliseconds. */
const IN_PROGRESS_MS = 5_000;
const LOOK_MS = 250;

const UserMessage = z.looseObject({
  kind: z.literal('MessageEvent'),
  source: z.literal('user'),
  llm_message: z.looseObject({
    content: z.array(z.looseObject({ type: z.string(), text: z.string().optional() })),
  }),
});

/**
 * The message goes with the start, but an agent-server that died in between, or answered a repeated start with what it
 * had, may not have delivered it. Looked for in the log, waited for, and only then sent.
 */
export async function deliverInitialMessage(
  client: Pick<AgentServerClient, 'eventsFrom' | 'sendMessage'>,
  conversationId: string,
  message: InitialMessage,
  { signal }: ActivityScope,
): Promise<void> {
  const deadline = Date.now() + IN_PROGRESS_MS;
  while (!(await isDelivered(client, conversationId, message.content, signal))) {
    if (Date.now() >= deadline) {
      const { role, content } = message;
      await client.sendMessage(conversationId, { role, content, run: true }, { signal });
      return;
    }
    await sleep(LOOK_MS, undefined, { signal });
  }
}

async function isDelivered(
  client: Pick<AgentServerClient, 'eventsFrom'>,
  conversationId: string,
  content: readonly ContentBlock[],
  signal: AbortSignal,
): Promise<boolean> {
  for await (const event of client.eventsFrom(conversationId, null, { signal })) {
    if (says(event, content)) return true;
  }
  return false;
}

/** The server may add to a message what a skill says of it, so the text has to begin with ours. */
function says(event: AgentEvent, content: readonly ContentBlock[]): boolean {
  const parsed = UserMessage.safeParse(event);
  if (!parsed.success) return false;
  const heard = parsed.data.llm_message.content
    .flatMap(({ text }) => (text === undefined ? [] : [text]))
    .join('\n');
  return heard.startsWith(textOf(content));
}
