/** Posting to the receiver of webhooks as the real server does with a buffer of one event (agent-server contract 13). */
import { request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Ledger } from './ledger.js';

export interface WebhookSettings {
  /** None: nothing is posted. */
  baseUrl: string | undefined;
  retries: number;
  retryDelayMs: number;
  key: string | undefined;
  ledger: Ledger;
}

export interface LightEvent {
  id: string;
  timestamp: string;
  kind: string;
  source: string;
  [member: string]: unknown;
}

export interface WebhookPoster {
  /** Posts an event, at once and beside others; resolves when it was taken or given up for now. */
  postEvent(conversation: string, event: LightEvent): Promise<void>;
  /** Posts a conversation's record; given up for good after the last attempt. */
  postConversation(record: unknown): Promise<void>;
}

const TIMEOUT_MS = 30_000;
/** What is put back waits for the conversation's next event; beyond this the oldest go. */
const MOST_PUT_BACK = 1000;

export function createWebhookPoster(settings: WebhookSettings): WebhookPoster {
  const { baseUrl, retries, retryDelayMs, ledger } = settings;
  const putBack = new Map<string, LightEvent[]>();

  async function deliver(path: string, body: unknown): Promise<boolean> {
    for (let attempt = 0; attempt <= retries; attempt++) {
      if (attempt > 0) await sleep(retryDelayMs);
      if (await post(`${baseUrl ?? ''}${path}`, body, settings.key)) return true;
    }
    return false;
  }

  return {
    async postEvent(conversation, event) {
      if (baseUrl === undefined) return;
      const batch = [...(putBack.get(conversation) ?? []), event];
      putBack.delete(conversation);
      if (await deliver(`/events/${conversation}`, batch)) {
        ledger.write({ what: 'acknowledged', conversation, events: batch.map(({ id }) => id) });
        return;
      }
      // Behind newer ones, and only until the next event: the real server has no timer for these either.
      putBack.set(conversation, [...(putBack.get(conversation) ?? []), ...batch].slice(-MOST_PUT_BACK));
    },
    async postConversation(record) {
      if (baseUrl !== undefined) await deliver('/conversations', record);
    },
  };
}

/** True when the answer was 2xx; every attempt has a connection of its own. */
function post(url: string, body: unknown, key: string | undefined): Promise<boolean> {
  const bytes = Buffer.from(JSON.stringify(body));
  return new Promise((resolve) => {
    const call = request(
      url,
      {
        method: 'POST',
        agent: false,
        timeout: TIMEOUT_MS,
        headers: {
          'content-type': 'application/json',
          'content-length': bytes.length,
          ...(key === undefined ? {} : { 'x-session-api-key': key }),
        },
      },
      (response) => {
        const status = response.statusCode ?? 0;
        response.resume();
        response.once('end', () => resolve(status >= 200 && status < 300));
        response.once('error', () => resolve(false));
      },
    );
    call.once('timeout', () => call.destroy(new Error('timeout')));
    call.once('error', () => resolve(false));
    call.end(bytes);
  });
}
