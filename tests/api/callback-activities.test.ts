import { sql } from 'drizzle-orm';
import { MockActivityEnvironment } from '@temporalio/testing';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { randomBytes } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createCallbackActivities, type CallbackActivities } from '../../activities/callback-activities.js';
import type { ConversationRuntime } from '../../activities/callbacks/conversation-runtime.js';
import { AgentServerError } from '../../agent-server/errors.js';
import type { AgentEvent } from '../../contract/event.js';
import { CallbackRepository, lockConversationEvents } from '../../db/callback-repository.js';
import { ConversationRepository } from '../../db/conversation-repository.js';
import { eventIndex } from '../../db/schema/index.js';
import { SandboxConversations } from '../../db/sandbox-conversations.js';
import { SandboxRepository } from '../../db/sandbox-repository.js';
import { ConversationResidence } from '../../db/conversation-home.js';
import { LostEventReadModel } from '../../db/lost-event-read-model.js';
import { createEventStore, type EventStore } from '../../events/event-store.js';
import { incomingEvent } from '../../events/incoming-event.js';
import { purposes, Vault } from '../../identity/vault.js';
import { openTestDatabase } from '../support/database.js';
import { recordedLog } from '../support/recorded.js';
import { insertSandbox, insertStartTask, newId } from '../support/rows.js';

/** An agent-server that remembers what it was asked and fails on demand. */
class FakeRuntime {
  readonly asked: string[] = [];
  title: string | null = 'Made by a model';
  status = 'finished';
  log: AgentEvent[] = [];
  failing = false;
  keys: string[] = [];

  async conversation(id: string): Promise<object> {
    this.note(`conversation ${id}`);
    return {
      id,
      title: this.title,
      execution_status: this.status,
      stats: { usage_to_metrics: { agent: { accumulated_cost: 3 } } },
    };
  }
  async patchConversation(): Promise<boolean> {
    this.note('patch');
    return true;
  }
  async generateTitle(): Promise<string | null> {
    this.note('generate');
    return null;
  }
  async deleteConversation(id: string): Promise<boolean> {
    this.note(`delete ${id}`);
    return true;
  }
  async countEvents(): Promise<number> {
    this.note('count');
    return this.log.length;
  }
  async searchEvents(_id: string, page: { limit?: number }): Promise<object> {
    this.note('search');
    return { items: [...this.log].reverse().slice(0, page.limit), next_page_id: null };
  }

  /** Conversations that the server has, in hex. */
  held: string[] = [];
  idleSeconds = 0;

  async *allConversations(): AsyncGenerator<object> {
    this.note('all');
    for (const id of this.held) yield { id, agent: { llm: { model: 'm' } }, workspace: {} };
  }
  async serverInfo(): Promise<object> {
    this.note('info');
    return { idle_time: this.idleSeconds };
  }

  private note(call: string): void {
    this.asked.push(call);
    if (this.failing) throw new AgentServerError({ status: null, kind: 'refused', detail: 'gone', call });
  }
}

let connection: Awaited<ReturnType<typeof openTestDatabase>>;
let directory: string;
let conversations: ConversationRepository;
let callbacks: CallbackRepository;
let events: EventStore;
let vault: Vault;
let runtime: FakeRuntime;
let activities: CallbackActivities;
const logged: object[] = [];

beforeAll(async () => {
  connection = await openTestDatabase();
  const { database } = connection;
  directory = await mkdtemp(join(tmpdir(), 'callboard-callbacks-'));
  conversations = new ConversationRepository(database);
  callbacks = new CallbackRepository(database);
  events = createEventStore({ directory, database });
  vault = new Vault([{ id: 'k', secret: randomBytes(32) }]);
  activities = createCallbackActivities({
    callbacks,
    conversations,
    sandboxConversations: new SandboxConversations(database),
    events,
    sandboxes: new SandboxRepository(database),
    vault,
    createClient: ({ sessionApiKey }) => {
      runtime.keys.push(sessionApiKey);
      return runtime as unknown as ConversationRuntime;
    },
    concealerOf: () => Promise.resolve((json) => json),
    residence: new ConversationResidence(database),
    lostEvents: new LostEventReadModel(database),
    logger: { info: (fields: object) => void logged.push(fields), warn: () => undefined },
  });
});
beforeEach(() => {
  runtime = new FakeRuntime();
});
afterAll(async () => {
  await connection.close();
  await rm(directory, { recursive: true, force: true });
});

const run = <Result>(activity: (id: string) => Promise<Result>, id: string): Promise<Result> =>
  new MockActivityEnvironment().run(activity, id);

async function newSandbox(status: 'RUNNING' | 'PAUSED' = 'RUNNING'): Promise<string> {
  const id = newId();
  return insertSandbox(connection.database, {
    id,
    status,
    agentServerUrl: 'http://agent-server',
    sessionApiKey: await vault.seal(purposes.sessionKey(id), `key of ${id}`),
  });
}

/** A conversation as the first webhook makes it, in a sandbox of its own. */
async function newConversation(sandboxId?: string): Promise<{ id: string; sandboxId: string }> {
  const home = sandboxId ?? (await newSandbox());
  const id = newId();
  await conversations.stubFor(id, { id: home, createdByUserId: null });
  return { id, sandboxId: home };
}

const message = (): AgentEvent => ({
  id: newId(),
  kind: 'MessageEvent',
  source: 'user',
  timestamp: '2026-01-01T00:00:00',
  llm_message: { role: 'user', content: [{ type: 'text', text: 'Please fix the login' }] },
});
const ingest = (id: string, batch: readonly AgentEvent[]) => events.ingest(id, batch.map(incomingEvent));
const resultsOf = async (id: string) =>
  (await callbacks.results(id)).map(({ eventId, status, detail }) => ({ eventId, status, detail }));

describe('the callbacks of a conversation', () => {
  it('give it the title that the agent-server made, once, with one result', async () => {
    const { id, sandboxId } = await newConversation();
    const [first, second] = [message(), message()];
    await ingest(id, [first, second]);
    expect(await run(activities.runQueuedCallbacks, id)).toEqual({ remaining: 0 });
    expect((await conversations.read(id))?.title).toBe('Made by a model');
    expect(await resultsOf(id)).toEqual([{ eventId: first.id, status: 'SUCCESS', detail: null }]);
    expect(runtime.keys).toEqual([`key of ${sandboxId}`]);
    expect((await callbacks.ofConversation(id)).map(({ status }) => status)).toEqual(['DISABLED']);
    await ingest(id, [message()]);
    expect(await callbacks.remaining(id)).toBe(0);
  });

  it('that fail are recorded as errors, stay active, and act on the next message', async () => {
    const sandboxId = await newSandbox('PAUSED');
    const { id } = await newConversation(sandboxId);
    const [first, second] = [message(), message()];
    await ingest(id, [first]);
    await run(activities.runQueuedCallbacks, id);
    expect(await resultsOf(id)).toEqual([
      { eventId: first.id, status: 'ERROR', detail: expect.stringContaining('not running') as string },
    ]);
    await new SandboxRepository(connection.database).setStatus(sandboxId, 'RUNNING');
    await ingest(id, [second]);
    await run(activities.runQueuedCallbacks, id);
    expect((await resultsOf(id))[1]).toMatchObject({ eventId: second.id, status: 'SUCCESS' });
    expect((await conversations.read(id))?.title).toBe('Made by a model');
  });

  it('survive a worker that dies in the middle: at least once, one result each (D15)', async () => {
    const { id } = await newConversation();
    await ingest(id, [message()]);
    await callbacks.takeNext(id); // taken up, and never heard of again
    expect(await callbacks.remaining(id)).toBe(1);
    await run(activities.runQueuedCallbacks, id);
    await run(activities.runQueuedCallbacks, id);
    expect(await resultsOf(id)).toHaveLength(1);
  });

  it('that take down their worker again and again are given up', async () => {
    const { id } = await newConversation();
    await ingest(id, [message()]);
    for (let times = 0; times < 5; times++) await callbacks.takeNext(id);
    await run(activities.runQueuedCallbacks, id);
    expect(await resultsOf(id)).toMatchObject([
      { status: 'ERROR', detail: expect.stringContaining('given up') as string },
    ]);
    expect(runtime.asked).toEqual([]);
  });

  it('stop when the activity is called off, and go on in the next attempt', async () => {
    const { id } = await newConversation();
    await ingest(id, [message()]);
    runtime.title = null;
    const environment = new MockActivityEnvironment();
    const cut = environment.run(activities.runQueuedCallbacks, id);
    await expect.poll(() => runtime.asked.length).toBeGreaterThan(0);
    environment.cancel('WORKER_SHUTDOWN');
    await expect(cut).rejects.toThrow();
    expect(await callbacks.remaining(id)).toBe(1);
    expect(await resultsOf(id)).toEqual([]);
    runtime.title = 'Later';
    await run(activities.runQueuedCallbacks, id);
    expect((await conversations.read(id))?.title).toBe('Later');
  });

  it('that log succeed for every message and say nothing of its text', async () => {
    const { id } = await newConversation();
    await callbacks.register(id, [{ kind: 'LoggingCallbackProcessor' }]);
    const messages = [message(), message()];
    await ingest(id, messages);
    await run(activities.runQueuedCallbacks, id);
    const logging = (await callbacks.ofConversation(id)).find(({ processorKind }) =>
      processorKind.startsWith('Logging'),
    );
    const results = (await callbacks.results(id)).filter(({ callbackId }) => callbackId === logging?.id);
    expect(results.map(({ eventId, status }) => [eventId, status])).toEqual(
      messages.map((sent) => [sent.id, 'SUCCESS']),
    );
    expect(JSON.stringify(logged)).toContain(String(messages[0]?.id));
    expect(JSON.stringify(logged)).not.toContain('login');
  });

  it('that are registered while an event arrives are run for it', async () => {
    const { id } = await newConversation();
    const sent = message();
    let registering: Promise<void> | undefined;
    await connection.database.transaction(async (tx) => {
      await lockConversationEvents(tx, id);
      registering = callbacks.register(id, [{ kind: 'LoggingCallbackProcessor' }]);
      await expect
        .poll(
          async () => {
            const { rows } = await connection.pool.query(
              `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
            );
            return rows.length;
          },
          { timeout: 30_000 },
        )
        .toBe(1);
      await tx.insert(eventIndex).values({
        conversationId: id,
        eventId: sent.id,
        kind: 'MessageEvent',
        timestamp: new Date().toISOString(),
        fileName: 'none',
      });
    });
    await registering;
    expect(await callbacks.remaining(id)).toBe(1);
  });

  it('of GitHub are recorded as not available when a run has finished', async () => {
    const { id } = await newConversation();
    await callbacks.register(id, [{ kind: 'GithubV1CallbackProcessor', github_view_data: {} }]);
    const update = (value: string): AgentEvent => ({
      id: newId(),
      kind: 'ConversationStateUpdateEvent',
      key: 'execution_status',
      value,
    });
    const [running, finished] = [update('running'), update('finished')];
    await ingest(id, [running, finished, update('finished')]);
    await run(activities.runQueuedCallbacks, id);
    expect(await resultsOf(id)).toEqual([
      { eventId: finished.id, status: 'ERROR', detail: expect.stringContaining('not available') as string },
    ]);
  });
});

describe('deleting a conversation', () => {
  it('removes events, callbacks and results, tells the agent-server, and names the unused sandbox (D19)', async () => {
    const { id, sandboxId } = await newConversation();
    await ingest(id, [message()]);
    await run(activities.runQueuedCallbacks, id);
    for (let times = 0; times < 2; times++) {
      expect(await run(activities.deleteConversationData, id)).toEqual({ unreferencedSandboxId: sandboxId });
    }
    expect(runtime.asked.filter((call) => call.startsWith('delete'))).toHaveLength(2);
    expect(await readdir(join(directory, 'v1', 'events'))).not.toContain(id);
    expect(await callbacks.ofConversation(id)).toEqual([]);
    expect(await callbacks.results(id)).toEqual([]);
    expect(await events.count({ conversationId: id, users: null })).toBe(0);
  });

  it('keeps a sandbox that another conversation, or a start, still uses', async () => {
    const { id, sandboxId } = await newConversation();
    const neighbour = await newConversation(sandboxId);
    expect(await run(activities.deleteConversationData, id)).toEqual({ unreferencedSandboxId: null });
    await insertStartTask(connection.database, { sandboxId, status: 'PREPARING_REPOSITORY' });
    expect(await run(activities.deleteConversationData, neighbour.id)).toEqual({
      unreferencedSandboxId: null,
    });
  });

  it('goes on when the agent-server does not answer, or the key cannot be read', async () => {
    const { id, sandboxId } = await newConversation();
    runtime.failing = true;
    expect(await run(activities.deleteConversationData, id)).toEqual({ unreferencedSandboxId: sandboxId });
    const unreadable = await insertSandbox(connection.database, { agentServerUrl: 'http://agent-server' });
    const other = await newConversation(unreadable);
    expect(await run(activities.deleteConversationData, other.id)).toEqual({
      unreferencedSandboxId: unreadable,
    });
  });

  it('of one that never was is fine', async () => {
    expect(await run(activities.deleteConversationData, newId())).toEqual({ unreferencedSandboxId: null });
  });
});

describe('fetching what webhooks have lost', () => {
  it('brings events, status, statistics and callbacks up to date', async () => {
    const { id } = await newConversation();
    const log = recordedLog('1.34.0') as AgentEvent[];
    await ingest(id, log.slice(0, 1));
    runtime.log = log;
    expect(await run(activities.reconcileEvents, id)).toEqual({
      fetched: log.length - 1,
      callbacksQueued: true,
    });
    expect(await events.count({ conversationId: id, users: null })).toBe(log.length);
    expect(await conversations.read(id)).toMatchObject({
      executionStatus: 'finished',
      metrics: { accumulated_cost: 3 },
    });
    expect(await callbacks.remaining(id)).toBeGreaterThan(0);
    runtime.asked.length = 0;
    expect(await run(activities.reconcileEvents, id)).toEqual({ fetched: 0, callbacksQueued: false });
    expect(runtime.asked).toHaveLength(3);
  });

  it('keeps the sandbox awake for what comes of it, and only then', async () => {
    const { id, sandboxId } = await newConversation();
    const rows = new SandboxRepository(connection.database);
    const anHour = 3_600_000;
    await connection.database.execute(
      sql`update sandboxes set last_active_at = now() - interval '1 hour' where id = ${sandboxId}`,
    );
    await run(activities.reconcileEvents, id);
    expect(await rows.idleMilliseconds(sandboxId)).toBeGreaterThanOrEqual(anHour);
    runtime.log = [message()];
    await run(activities.reconcileEvents, id);
    expect(await rows.idleMilliseconds(sandboxId)).toBeLessThan(anHour);
  });

  it('does nothing for a conversation whose sandbox does not run, or that is deleted', async () => {
    const paused = await newConversation(await newSandbox('PAUSED'));
    const deleted = await newConversation();
    await conversations.markDeleted(deleted.id);
    for (const { id } of [paused, deleted]) {
      expect(await run(activities.reconcileEvents, id)).toEqual({ fetched: 0, callbacksQueued: false });
    }
    expect(runtime.asked).toEqual([]);
  });

  it('of a whole sandbox names the conversations that have callbacks to run, and goes on past a failure', async () => {
    const { id, sandboxId } = await newConversation();
    runtime.log = [message()];
    expect(await run(activities.reconcileSandboxEvents, sandboxId)).toEqual({ conversationsToWake: [id] });
    runtime.failing = true;
    expect(await run(activities.reconcileSandboxEvents, sandboxId)).toEqual({ conversationsToWake: [] });
  });

  it('of a sandbox makes known what it has, and nobody has heard of here', async () => {
    const sandboxId = await newSandbox();
    const [unheard, elsewhere] = [newId(), (await newConversation()).id];
    runtime.held = [unheard, elsewhere];
    runtime.log = [message()];
    expect(await run(activities.reconcileSandboxEvents, sandboxId)).toEqual({
      conversationsToWake: [unheard],
    });
    expect(await conversations.read(unheard)).toMatchObject({ sandboxId, llmModel: 'm' });
    expect((await conversations.read(elsewhere))?.sandboxId).not.toBe(sandboxId);
  });

  it('of all running sandboxes asks those further in which something has happened lately', async () => {
    await connection.database.execute(sql`update sandboxes set status = 'PAUSED'`);
    const { id } = await newConversation();
    runtime.log = [message(), message()];
    runtime.idleSeconds = 100;
    const sweep = (seconds: number) =>
      new MockActivityEnvironment().run(activities.reconcileRunningSandboxes, seconds);
    expect(await sweep(90)).toEqual({ sandboxes: 1, active: 0, fetched: 0, failed: 0 });
    expect(runtime.asked).toEqual(['info']);
    expect(await sweep(110)).toEqual({ sandboxes: 1, active: 1, fetched: 2, failed: 0 });
    expect(await events.count({ conversationId: id, users: null })).toBe(2);
    runtime.failing = true;
    expect(await sweep(110)).toEqual({ sandboxes: 1, active: 0, fetched: 0, failed: 1 });
  });

  it('moves the time of the last change only when there was one', async () => {
    const { id } = await newConversation();
    runtime.log = [message()];
    await run(activities.reconcileEvents, id);
    const before = await conversations.read(id);
    await run(activities.reconcileEvents, id);
    expect(await conversations.read(id)).toEqual(before);
  });
});
