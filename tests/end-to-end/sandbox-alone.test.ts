/** What a real agent-server and its sandbox do while nobody looks after them, and what becomes of it. */
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { userText } from '../../activities/callbacks/fallback-title.js';
import { createAgentServerClient, type AgentServerClient } from '../../agent-server/client.js';
import type { AgentEvent } from '../../contract/event.js';
import { dashedId } from '../../contract/ids.js';
import { eventsOf, readConversation, runStatus, streamStart, userMessage } from '../support/conversations.js';
import { startProduct, type Product } from '../support/product.js';
import { finish, runInTerminal, startScriptedLlm, type ScriptedLlm } from '../support/scripted-llm.js';

/**
 * Events by id. Webhooks bring them whole; when it is asked for them, an agent-server leaves out members that are null,
 * and what the parent was.
 */
const byId = (events: readonly AgentEvent[]): unknown =>
  JSON.parse(
    JSON.stringify(Object.fromEntries(events.map((event) => [event.id, event])), (name, value: unknown) =>
      value === null || name === 'parent_id' ? undefined : value,
    ),
  );

/** Longer than starting takes to become quiet, and short enough to wait for. */
const IDLE_MINUTES = 0.2;

describe('a real sandbox that is left alone', () => {
  let llm: ScriptedLlm;
  let product: Product;
  let database: pg.Client;
  let id: string;
  let agentServer: AgentServerClient;

  beforeAll(async () => {
    llm = await startScriptedLlm({
      named: {
        awake: [finish('Yes, I am awake')],
        held: [
          runInTerminal('echo before'),
          { ...runInTerminal('echo meanwhile'), hold: 'nobody listens' },
          { text: 'Nobody has heard this' },
        ],
      },
    });
    product = await startProduct({
      env: {
        LLM_MODEL: 'openai/scripted',
        LLM_API_KEY: 'sk-scripted',
        LLM_BASE_URL: llm.url,
        CALLBOARD_IDLE_PAUSE_MINUTES: String(IDLE_MINUTES),
      },
    });
    database = new pg.Client({ connectionString: product.databaseUrl });
    await database.connect();
  });
  afterAll(async () => {
    await database.end();
    await product.stop();
    await llm.close();
  });

  /** Messages with the result of the callback that was registered for them; those without one are `null`. */
  const logged = async (): Promise<Record<string, string | null>> => {
    const { rows } = await database.query<{ event_id: string; status: string | null }>(
      `select event_index.event_id, event_callback_results.status
       from event_index
       join event_callbacks on event_callbacks.conversation_id = event_index.conversation_id
         and event_callbacks.processor_kind = 'LoggingCallbackProcessor'
       left join event_callback_results on event_callback_results.callback_id = event_callbacks.id
         and event_callback_results.event_id = event_index.event_id
       where event_index.conversation_id = $1 and event_index.kind = 'MessageEvent'`,
      [id],
    );
    return Object.fromEntries(rows.map(({ event_id, status }) => [event_id, status]));
  };

  const countKnown = async (): Promise<number> => {
    const { rows } = await database.query<{ count: number }>(
      'select count(*)::int as count from event_index where conversation_id = $1',
      [id],
    );
    return rows[0]!.count;
  };

  it('goes on while API and worker are dead, and all of it is known when they are back', async () => {
    const ready = (
      await streamStart(product, {
        initial_message: userMessage('Please go on without us [[script:held]]'),
        processors: [{ kind: 'LoggingCallbackProcessor' }],
      })
    ).at(-1)!;
    expect(ready, JSON.stringify(ready.detail)).toMatchObject({ status: 'READY' });
    id = ready.app_conversation_id!;
    const { session_api_key: sessionApiKey } = await readConversation(product, id);
    const { rows } = await database.query<{ agent_server_url: string }>(
      'select agent_server_url from sandboxes where id = $1',
      [ready.sandbox_id],
    );
    agentServer = createAgentServerClient({ baseUrl: rows[0]!.agent_server_url, sessionApiKey });
    await vi.waitFor(
      () => expect(JSON.stringify(llm.calls.map(({ body }) => body.messages))).toContain('before'),
      30_000,
    );
    await vi.waitFor(async () => expect(await agentServer.countEvents(id)).toBeGreaterThan(3), 90_000);

    await Promise.all([product.api.end('SIGKILL'), product.worker.end('SIGKILL')]);
    const known = await countKnown();
    llm.release('nobody listens');
    await vi.waitFor(
      async () => {
        const info = await agentServer.conversation(dashedId(id));
        expect(info?.execution_status).toBe('finished');
      },
      { timeout: 90_000, interval: 100 },
    );
    // A long outage: by the time that has gone by, the sandbox would be put to sleep at once.
    await database.query(`update sandboxes set last_active_at = now() - interval '1 hour'`);
    const { items: theirs } = await agentServer.searchEvents(dashedId(id), { limit: 100 });
    expect(theirs.length).toBeGreaterThan(known + 2);

    await Promise.all([product.replaceApi(), product.replaceWorker()]);
    await vi.waitFor(async () => expect(byId(await eventsOf(product, id))).toEqual(byId(theirs)), {
      timeout: 180_000,
      interval: 200,
    });
    await runStatus(product, id, 'finished');
    const messages = theirs.filter((event) => event.kind === 'MessageEvent');
    expect(messages).toHaveLength(2);
    await vi.waitFor(
      async () =>
        expect(await logged()).toEqual(
          Object.fromEntries(messages.map((message) => [message.id, 'SUCCESS'])),
        ),
      // What a killed worker was doing is missed after 15 s without heartbeat, twice if its last poll was given the next try.
      { timeout: 90_000, interval: 100 },
    );
    const waiting = await database.query('select from callback_queue');
    expect(waiting.rowCount).toBe(0);
  }, 420_000);

  it('is paused by itself, and a message wakes it and is answered', async () => {
    await vi.waitFor(
      async () =>
        expect(await readConversation(product, id)).toMatchObject({
          sandbox_status: 'PAUSED',
          session_api_key: null,
        }),
      { timeout: 180_000, interval: 200 },
    );
    const { rows } = await database.query<{ detail: string }>('select detail from sandboxes');
    expect(rows[0]?.detail).toContain('paused after 12 seconds without message or event');

    const text = 'Are you awake? [[script:awake]]';
    const sent = await product.call('POST', `/api/v1/app-conversations/${id}/send-message`, {
      content: [{ type: 'text', text }],
    });
    expect(sent).toMatchObject({ status: 200, body: { success: true, sandbox_status: 'PAUSED' } });
    await vi.waitFor(
      async () => {
        const events = await eventsOf(product, id);
        const asked = events.findIndex((event) => userText(event) === text);
        expect(asked).toBeGreaterThan(-1);
        expect(JSON.stringify(events.slice(asked))).toContain('Yes, I am awake');
      },
      { timeout: 180_000, interval: 200 },
    );
    await runStatus(product, id, 'finished');
  }, 420_000);
});
