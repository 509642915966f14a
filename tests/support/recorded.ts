/** Recorded traffic of real agent-servers, as it lies in `tests/fixtures`. */
import { readFileSync } from 'node:fs';

type Json = Record<string, unknown>;

export interface RecordedWebhook {
  /** Path as the agent-server posted it. */
  url: string;
  body: Json | Json[];
}

export const RECORDED_CONVERSATIONS = ['1.34.0', '1.58.2', 'app-server'] as const;

const fixture = (path: string): unknown =>
  JSON.parse(readFileSync(new URL(`../fixtures/${path}`, import.meta.url), 'utf8'));

/** Every webhook request of one conversation, in order of arrival. */
export const recordedWebhooks = (name: (typeof RECORDED_CONVERSATIONS)[number]): RecordedWebhook[] =>
  fixture(`webhooks/${name}.conversation.json`) as RecordedWebhook[];

/** The conversation record that a change made an agent-server post. */
export const recordedChange = (name: 'after-delete' | 'after-patch'): RecordedWebhook[] =>
  (fixture(`webhooks/conversation-info.${name}.json`) as { webhooks: RecordedWebhook[] }).webhooks;

/** The complete log of a conversation as `events/search` answers it. */
export const recordedLog = (version: '1.34.0' | '1.58.2'): Json[] =>
  (fixture(`events/${version}.all-events.json`) as { body: { items: Json[] } }).body.items;

/** Further events of 1.34.0. */
export const recordedEvents = (name: 'llm-error' | 'file-editor-and-think' | 'unknown-tool-call'): Json[] =>
  fixture(`events/1.34.0.${name}.json`) as Json[];
