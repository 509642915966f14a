/** Events of the real agent-server: by webhook, and from its log when webhooks have lost them. */
import { MockActivityEnvironment } from '@temporalio/testing';
import { sql } from 'drizzle-orm';
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { createCallbackActivities, type CallbackActivities } from '../../activities/callback-activities.js';
import { createAgentServerClient, type AgentServerClient } from '../../agent-server/client.js';
import { ConversationResidence } from '../../db/conversation-home.js';
import { LostEventReadModel } from '../../db/lost-event-read-model.js';
import { SandboxConversations } from '../../db/sandbox-conversations.js';
import { hexId } from '../../contract/ids.js';
import { lookupHash, purposes, Vault } from '../../identity/vault.js';
import { startEventApi, type EventApi } from '../support/event-api.js';
import { createSandboxBench, type SandboxBench } from '../support/real-sandbox.js';
import { insertSandbox } from '../support/rows.js';
import { finish, startScriptedLlm, type ScriptedLlm } from '../support/scripted-llm.js';

let api: EventApi;
let bench: SandboxBench;
let llm: ScriptedLlm;
let client: AgentServerClient;
let activities: CallbackActivities;
let project: string;

const PATIENCE = { timeout: 90_000, interval: 100 };

beforeAll(async () => {
  [api, bench, llm] = await Promise.all([
    startEventApi(),
    createSandboxBench(),
    startScriptedLlm({ steps: [finish('all done')], withoutTools: { text: 'Scripted title' } }),
  ]);
  const launch = { ...(await bench.newLaunch()), webhookBaseUrl: `${api.url}/api/v1/webhooks` };
  const handle = await bench.backend.launch(launch);
  await bench.ready(launch, handle);
  client = bench.clientOf(launch, handle);
  project = handle.workingDirectory;
  const vault = new Vault([{ id: 'k', secret: randomBytes(32) }]);
  await insertSandbox(api.database, {
    id: launch.sandboxId,
    agentServerUrl: handle.url,
    sessionApiKey: await vault.seal(purposes.sessionKey(launch.sandboxId), launch.sessionApiKey),
    sessionApiKeyHash: lookupHash(launch.sessionApiKey),
  });
  activities = createCallbackActivities({
    callbacks: api.callbacks,
    conversations: api.conversations,
    sandboxConversations: new SandboxConversations(api.database),
    events: api.events,
    sandboxes: api.sandboxes,
    vault,
    createClient: createAgentServerClient,
    concealerOf: () => Promise.resolve((json) => json),
    residence: new ConversationResidence(api.database),
    lostEvents: new LostEventReadModel(api.database),
    logger: { info: () => undefined, warn: () => undefined },
  });
});

afterAll(async () => {
  await bench.close();
  await llm.close();
  await api.close();
});

/** Runs a conversation to its end; its id in hex. */
async function finishedConversation(): Promise<string> {
  const id = crypto.randomUUID();
  await client.startConversation({
    conversation_id: id,
    agent: {
      llm: {
        model: 'openai/scripted',
        api_key: 'sk-none',
        base_url: llm.url,
        num_retries: 0,
        usage_id: 'agent',
      },
      tools: [],
    },
    workspace: { working_dir: project },
    initial_message: { role: 'user', content: [{ type: 'text', text: 'Please fix the login' }] },
  });
  await vi.waitFor(async () => {
    expect((await api.conversations.read(hexId(id)))?.executionStatus).toBe('finished');
  }, PATIENCE);
  return hexId(id);
}

const count = (id: string) => api.events.count({ conversationId: id, users: null });

const idsHere = async (id: string): Promise<string[]> => {
  const { items } = await api.events.search(
    { conversationId: id, users: null },
    { sortOrder: 'TIMESTAMP', limit: 100 },
  );
  return items.map((json) => (JSON.parse(json) as { id: string }).id);
};
const idsThere = async (id: string): Promise<string[]> =>
  (await client.searchEvents(id, { limit: 100 })).items.map((event) => event.id);

describe('the events of a real conversation', () => {
  it('all arrive by webhook, with status and model, and no more than its log holds (D9)', async () => {
    const id = await finishedConversation();
    await vi.waitFor(async () => expect(await count(id)).toBe(await client.countEvents(id)), PATIENCE);
    expect((await idsHere(id)).sort()).toEqual((await idsThere(id)).sort());
    expect(await api.conversation(id)).toMatchObject({
      llmModel: 'openai/scripted',
      metrics: { accumulated_token_usage: { prompt_tokens: expect.any(Number) as number } },
    });
    const asked = vi.spyOn(api.events, 'ingest');
    expect(await new MockActivityEnvironment().run(activities.reconcileEvents, id)).toEqual({
      fetched: 0,
      callbacksQueued: false,
    });
    expect(asked).not.toHaveBeenCalled();
  });

  it('are fetched from its log when webhooks have lost them', async () => {
    const id = await finishedConversation();
    await vi.waitFor(async () => expect(await count(id)).toBe(await client.countEvents(id)), PATIENCE);
    const log = await idsThere(id);
    const lost = log.filter((_, position) => position % 3 === 1);
    await api.database.execute(
      sql`delete from event_index where conversation_id = ${id} and event_id = any(${sql.param(lost)}::text[])`,
    );
    expect(await new MockActivityEnvironment().run(activities.reconcileEvents, id)).toMatchObject({
      fetched: lost.length,
    });
    expect((await idsHere(id)).sort()).toEqual([...log].sort());
  });

  it('give it the title that the agent-server makes with the configured model', async () => {
    const id = await finishedConversation();
    expect(await new MockActivityEnvironment().run(activities.runQueuedCallbacks, id)).toEqual({
      remaining: 0,
    });
    expect((await api.conversation(id)).title).toBe('Scripted title');
  });

  it('end with it, here and at the agent-server, when it is deleted', async () => {
    const id = await finishedConversation();
    await new MockActivityEnvironment().run(activities.deleteConversationData, id);
    expect(await client.conversation(id)).toBeNull();
    expect(await count(id)).toBe(0);
  });

  it('have the beginning of the first message as title when no model answers, there too', async () => {
    llm.setScript({ steps: [finish('all done')], withoutTools: { status: 500, error: 'no titles today' } });
    const id = await finishedConversation();
    await new MockActivityEnvironment().run(activities.runQueuedCallbacks, id);
    expect((await api.conversation(id)).title).toBe('Please fix the login');
    expect((await client.conversation(id))?.title).toBe('Please fix the login');
  });
});
