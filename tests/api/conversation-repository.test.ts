import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CallbackRepository } from '../../db/callback-repository.js';
import { ConversationResidence } from '../../db/conversation-home.js';
import type { ReportedConversation, ReportedRun, StatsSnapshot } from '../../db/conversation-report.js';
import { ConversationRepository, type StartedConversation } from '../../db/conversation-repository.js';
import { SandboxConversations } from '../../db/sandbox-conversations.js';
import { openTestDatabase } from '../support/database.js';
import { insertStartTask } from '../support/rows.js';

let connection: Awaited<ReturnType<typeof openTestDatabase>>;
let conversations: ConversationRepository;
let callbacks: CallbackRepository;

beforeAll(async () => {
  connection = await openTestDatabase();
  conversations = new ConversationRepository(connection.database);
  callbacks = new CallbackRepository(connection.database);
});
afterAll(() => connection.close());

const newId = () => randomBytes(16).toString('hex');
const home = { id: 'sandbox-1', createdByUserId: 'ada' };

const started = (change: Partial<StartedConversation> = {}): StartedConversation => ({
  id: newId(),
  createdByUserId: 'ada',
  sandboxId: home.id,
  selectedRepository: 'octo/repo',
  selectedBranch: 'main',
  gitProvider: 'github',
  trigger: 'gui',
  prNumber: [7],
  parentConversationId: newId(),
  public: true,
  llmModel: 'openai/started',
  tags: { repo_name: 'octo/repo', shared: 'start' },
  agentKind: 'openhands',
  workingDirectory: '/workspace/project/repo',
  createdAt: new Date('2026-01-02T03:04:05.678Z'),
  ...change,
});

const reported = (id: string, change: Partial<ReportedConversation> = {}): ReportedConversation => ({
  id,
  llmModel: 'openai/reported',
  agentKind: 'openhands',
  tags: {},
  derivedTags: {},
  workingDirectory: '/elsewhere',
  createdAt: new Date('2026-02-02T00:00:00Z'),
  ...change,
});

const usage = (accumulatedCost: number, prompt_tokens = 0): StatsSnapshot => ({
  accumulatedCost,
  maxBudgetPerTask: null,
  tokens: { prompt_tokens },
});

const applyStats = (id: string, value: StatsSnapshot, at: Date | null) =>
  conversations.applyRun(id, { stats: { value, at } });

const read = async (id: string) => {
  const row = await conversations.read(id);
  if (!row) throw new Error(`conversation ${id} is missing`);
  return row;
};

describe('a conversation that its start stores', () => {
  it('tells which callbacks it has already', async () => {
    const start = started();
    expect(await conversations.createFromStart(start)).toEqual([]);
    await callbacks.register(start.id, [{ kind: 'LoggingCallbackProcessor' }]);
    expect(await conversations.createFromStart(start)).toEqual(['LoggingCallbackProcessor']);
    const seen = started({ id: newId() });
    await conversations.stubFor(seen.id, home);
    expect(await conversations.createFromStart(seen)).toEqual(['SetTitleCallbackProcessor']);
  });

  it('has everything the start knows, and a default title of five digits', async () => {
    const start = started();
    await conversations.createFromStart(start);
    expect(await read(start.id)).toMatchObject({ ...start, title: `Conversation ${start.id.slice(0, 5)}` });
  });

  it('keeps its title, model and tags when the start is repeated after the first webhook (D13)', async () => {
    const start = started();
    await conversations.createFromStart(start);
    await conversations.upsertFromWebhook(
      reported(start.id, { tags: { shared: 'agent', later: '1' } }),
      home,
    );
    await conversations.rename(start.id, 'Chosen');
    await conversations.createFromStart(start);
    expect(await read(start.id)).toMatchObject({
      title: 'Chosen',
      llmModel: 'openai/reported',
      tags: { repo_name: 'octo/repo', shared: 'agent', later: '1' },
    });
  });

  it('takes over the row that webhooks made first, statistics included (D13)', async () => {
    const start = started();
    await conversations.stubFor(start.id, home);
    await applyStats(start.id, usage(1.5), new Date());
    await conversations.upsertFromWebhook(reported(start.id), home);
    expect((await read(start.id)).title).toBe(`Conversation ${start.id}`);
    await conversations.createFromStart(start);
    expect(await read(start.id)).toMatchObject({
      title: `Conversation ${start.id.slice(0, 5)}`,
      selectedRepository: 'octo/repo',
      parentConversationId: start.parentConversationId,
      createdAt: start.createdAt,
      metrics: { accumulated_cost: 1.5 },
    });
  });

  it('does not come back when it was deleted while it started', async () => {
    const start = started();
    await conversations.stubFor(start.id, home);
    await conversations.markDeleted(start.id);
    await conversations.createFromStart(start);
    const row = await read(start.id);
    expect(row.deletedAt).not.toBeNull();
    expect(row.selectedRepository).toBeNull();
  });
});

describe('a record from the agent-server', () => {
  it('changes neither creation time nor visibility nor parent nor repository (D12)', async () => {
    const start = started();
    await conversations.createFromStart(start);
    for (let i = 0; i < 2; i++) await conversations.upsertFromWebhook(reported(start.id), home);
    expect(await read(start.id)).toMatchObject({
      createdAt: start.createdAt,
      public: true,
      parentConversationId: start.parentConversationId,
      selectedRepository: 'octo/repo',
      workingDirectory: start.workingDirectory,
      trigger: 'gui',
      llmModel: 'openai/reported',
    });
  });

  it('of an unknown conversation makes a row with its own creation time and one title callback', async () => {
    const id = newId();
    for (let i = 0; i < 2; i++) await conversations.upsertFromWebhook(reported(id), home);
    expect(await read(id)).toMatchObject({
      title: `Conversation ${id}`,
      createdByUserId: 'ada',
      sandboxId: home.id,
      workingDirectory: '/elsewhere',
      createdAt: new Date('2026-02-02T00:00:00Z'),
    });
    const registered = await callbacks.ofConversation(id);
    expect(registered.map(({ processorKind }) => processorKind)).toEqual(['SetTitleCallbackProcessor']);
  });

  it('seen twice at once makes one row and one callback', async () => {
    const id = newId();
    await Promise.all([
      conversations.upsertFromWebhook(reported(id), home),
      conversations.stubFor(id, home),
      conversations.upsertFromWebhook(reported(id), home),
    ]);
    expect(await callbacks.ofConversation(id)).toHaveLength(1);
  });

  it.each([
    [{ automationid: '' }, null],
    [{ automationid: 'a-1' }, 'automation'],
    [{ automationrunid: 'r-1' }, 'automation'],
  ])('with tags %j has the trigger %s', async (tags, trigger) => {
    const id = newId();
    await conversations.upsertFromWebhook(reported(id, { tags }), home);
    expect((await read(id)).trigger).toBe(trigger);
  });
});

describe('statistics and status', () => {
  it('an older snapshot never overwrites a newer one, and the cost never goes down (D11)', async () => {
    const { id } = started();
    await conversations.stubFor(id, home);
    const at = (second: number) => new Date(Date.UTC(2026, 0, 1, 0, 0, second));
    await applyStats(id, usage(2, 20), at(20));
    await applyStats(id, usage(1, 10), at(10));
    expect((await read(id)).metrics).toMatchObject({
      accumulated_cost: 2,
      accumulated_token_usage: { prompt_tokens: 20 },
    });
    await applyStats(id, usage(0.5, 30), at(30));
    expect((await read(id)).metrics).toMatchObject({
      model_name: 'default',
      accumulated_cost: 2,
      max_budget_per_task: null,
      accumulated_token_usage: { prompt_tokens: 30, completion_tokens: 0, model: '' },
    });
  });

  it('a member that a snapshot leaves out keeps its value', async () => {
    const { id } = started();
    await conversations.stubFor(id, home);
    await applyStats(
      id,
      { accumulatedCost: 1, maxBudgetPerTask: 9, tokens: { context_window: 5 } },
      new Date(),
    );
    await applyStats(id, { accumulatedCost: null, maxBudgetPerTask: null, tokens: {} }, new Date());
    expect((await read(id)).metrics).toMatchObject({
      accumulated_cost: 1,
      max_budget_per_task: 9,
      accumulated_token_usage: { context_window: 5 },
    });
  });

  it('a late status does not replace a newer one', async () => {
    const { id } = started();
    await conversations.stubFor(id, home);
    await conversations.applyRun(id, { status: { value: 'idle', at: null } });
    await conversations.applyRun(id, { status: { value: 'finished', at: new Date(2000) } });
    await conversations.applyRun(id, { status: { value: 'running', at: new Date(1000) } });
    await conversations.applyRun(id, { status: { value: 'idle', at: null } });
    expect((await read(id)).executionStatus).toBe('finished');
  });
});

describe('a report of a run', () => {
  const at = (second: number) => new Date(Date.UTC(2026, 0, 1, 0, 0, second));
  const run = (statsAt: Date | null, cost: number, statusAt: Date | null, status: 'idle' | 'running') =>
    ({
      stats: { value: usage(cost, cost * 10), at: statsAt },
      status: { value: status, at: statusAt },
    }) satisfies ReportedRun;

  it('is taken member by member: what is older than known stays, with its time', async () => {
    const { id } = started();
    await conversations.stubFor(id, home);
    await conversations.applyRun(id, run(at(10), 1, at(20), 'idle'));
    await conversations.applyRun(id, run(at(11), 2, at(19), 'running'));
    expect(await read(id)).toMatchObject({
      metrics: { accumulated_token_usage: { prompt_tokens: 20 } },
      metricsAt: at(11),
      executionStatus: 'idle',
      executionStatusAt: at(20),
    });
    await conversations.applyRun(id, run(at(9), 3, at(20), 'running'));
    expect(await read(id)).toMatchObject({
      metrics: { accumulated_cost: 2, accumulated_token_usage: { prompt_tokens: 20 } },
      metricsAt: at(11),
      executionStatus: 'running',
      executionStatusAt: at(20),
    });
  });

  it('of which nothing is news leaves the row as it is, the time of its last change included', async () => {
    const { id } = started();
    await conversations.stubFor(id, home);
    await conversations.applyRun(id, run(at(10), 1, at(10), 'idle'));
    const before = await read(id);
    await expect.poll(() => Date.now()).toBeGreaterThan(before.updatedAt.getTime());
    await conversations.applyRun(id, run(at(9), 2, at(9), 'running'));
    await conversations.applyRun(id, run(null, 2, null, 'running'));
    await conversations.applyRun(id, {});
    expect(await read(id)).toEqual(before);
    await conversations.applyRun(id, { ...run(at(9), 2, at(9), 'running'), llmModel: 'openai/switched' });
    const { updatedAt } = await read(id);
    expect(await read(id)).toEqual({ ...before, llmModel: 'openai/switched', updatedAt });
    expect(updatedAt.getTime()).toBeGreaterThan(before.updatedAt.getTime());
  });

  it('changes nothing of a deleted conversation', async () => {
    const { id } = started();
    await conversations.stubFor(id, home);
    await conversations.markDeleted(id);
    const before = await read(id);
    await conversations.applyRun(id, { ...run(at(1), 1, at(1), 'running'), llmModel: 'openai/late' });
    expect(await read(id)).toEqual(before);
  });

  it('may come twice at once: the newer one stays', async () => {
    const { id } = started();
    await conversations.stubFor(id, home);
    await Promise.all(
      [3, 1, 4, 2].map((second) => conversations.applyRun(id, run(at(second), second, at(second), 'idle'))),
    );
    expect(await read(id)).toMatchObject({
      metrics: { accumulated_cost: 4, accumulated_token_usage: { prompt_tokens: 40 } },
      metricsAt: at(4),
      executionStatusAt: at(4),
    });
  });
});

describe('a record of a conversation that is known', () => {
  const run: ReportedRun = { status: { value: 'idle', at: new Date('2026-01-01T00:00:00Z') } };

  it('is stored together with statistics and status', async () => {
    const start = started();
    await conversations.createFromStart(start);
    expect(await conversations.updateFromWebhook(reported(start.id), home, run)).toBe('changed');
    expect(await read(start.id)).toMatchObject({
      llmModel: 'openai/reported',
      executionStatus: 'idle',
      metrics: null,
    });
  });

  it('of nobody is taken from a sandbox of nobody', async () => {
    const start = started({ createdByUserId: null });
    await conversations.createFromStart(start);
    const nobodys = { ...home, createdByUserId: null };
    expect(await conversations.updateFromWebhook(reported(start.id), nobodys, run)).toBe('changed');
  });

  it.each([
    ['another sandbox', { ...home, id: 'sandbox-2' }],
    ['a sandbox of somebody else', { ...home, createdByUserId: 'bob' }],
    ['a sandbox of nobody', { ...home, createdByUserId: null }],
  ])('is not taken from %s', async (_whose, sandbox) => {
    const start = started();
    await conversations.createFromStart(start);
    const before = await read(start.id);
    expect(await conversations.updateFromWebhook(reported(start.id), sandbox, run)).toBe('elsewhere');
    expect(await read(start.id)).toEqual(before);
  });

  it('is not taken once it was deleted, and brings no row to life', async () => {
    const start = started();
    await conversations.createFromStart(start);
    await conversations.markDeleted(start.id);
    const before = await read(start.id);
    expect(await conversations.updateFromWebhook(reported(start.id), home, run)).toBe('deleted');
    expect(await read(start.id)).toEqual(before);
    const unknown = newId();
    expect(await conversations.updateFromWebhook(reported(unknown), home, run)).toBe('unknown');
    expect(await conversations.read(unknown)).toBeNull();
  });

  it.each([
    ['here', { sandboxId: home.id, status: 'STARTING_CONVERSATION' }, 'unknown'],
    ['somewhere that is not decided yet', { sandboxId: null, status: 'WORKING' }, 'unknown'],
    ['here and has failed', { sandboxId: home.id, status: 'ERROR' }, 'deleted'],
    ['in another sandbox', { sandboxId: 'sandbox-2', status: 'STARTING_CONVERSATION' }, 'elsewhere'],
    ['by somebody else', { createdByUserId: 'bob', sandboxId: home.id, status: 'WORKING' }, 'elsewhere'],
  ] as const)('is not there while it is being started %s', async (_where, start, residence) => {
    const conversationId = newId();
    await insertStartTask(connection.database, { createdByUserId: 'ada', ...start, conversationId });
    expect(await conversations.updateFromWebhook(reported(conversationId), home, run)).toBe(residence);
    expect(await new ConversationResidence(connection.database).of(conversationId, home)).toBe(residence);
    expect(await conversations.read(conversationId)).toBeNull();
  });
});

describe('a title', () => {
  it('that a user chose is never replaced by a generated one (D13)', async () => {
    const start = started();
    await conversations.createFromStart(start);
    await conversations.rename(start.id, 'Mine');
    expect(await conversations.setTitleIfDefault(start.id, 'Generated')).toBe(false);
    expect((await read(start.id)).title).toBe('Mine');
  });

  it.each([null, '', 'default'])('%j is replaced, and updated_at moves (D31)', async (title) => {
    const start = started();
    await conversations.createFromStart(start);
    if (title !== 'default') await conversations.rename(start.id, title);
    const before = (await read(start.id)).updatedAt;
    await expect.poll(() => Date.now()).toBeGreaterThan(before.getTime());
    expect(await conversations.setTitleIfDefault(start.id, 'Generated')).toBe(true);
    const after = await read(start.id);
    expect(after.title).toBe('Generated');
    expect(after.updatedAt.getTime()).toBeGreaterThan(before.getTime());
  });
});

it('a sandbox counts as used while a conversation that is not deleted lives in it', async () => {
  const inSandboxes = new SandboxConversations(connection.database);
  const start = started({ sandboxId: newId() });
  await conversations.createFromStart(start);
  expect(await inSandboxes.isReferenced(start.sandboxId)).toBe(true);
  await conversations.markDeleted(start.id);
  expect(await inSandboxes.isReferenced(start.sandboxId)).toBe(false);
});
