import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { StartedConversation } from '../../db/conversation-repository.js';
import { startEventApi, type EventApi, type TestSandbox } from '../support/event-api.js';
import { recordedChange, recordedWebhooks } from '../support/recorded.js';
import { newId } from '../support/rows.js';

type Json = Record<string, unknown>;

let api: EventApi;
let sandbox: TestSandbox;

beforeAll(async () => {
  api = await startEventApi();
  sandbox = await api.newSandbox('ada');
});
afterAll(() => api.close());

/** A recorded record of another conversation, so that each test has its own. */
const record = (change: Json = {}): Json & { id: string } => {
  const recorded = recordedWebhooks('app-server').find(({ url }) => url.endsWith('/conversations'))?.body;
  return { ...(recorded as Json), id: newId(), ...change };
};
const post = (body: unknown) => api.post('/api/v1/webhooks/conversations', sandbox.key, body);

const started = (id: string): StartedConversation => ({
  id,
  createdByUserId: 'ada',
  sandboxId: sandbox.id,
  selectedRepository: 'octo/repo',
  selectedBranch: 'main',
  gitProvider: 'github',
  trigger: 'gui',
  prNumber: [7],
  parentConversationId: newId(),
  public: true,
  llmModel: 'openai/started',
  tags: { repo_name: 'octo/repo' },
  agentKind: 'openhands',
  workingDirectory: '/workspace/project/repo',
  createdAt: new Date('2026-01-02T03:04:05.678Z'),
});

describe('the record of an agent-server', () => {
  it('makes a conversation with the default title of 32 digits and its own time of creation', async () => {
    const body = record();
    expect(await post(body)).toMatchObject({ status: 200, body: { success: true } });
    expect(await api.conversation(body.id)).toMatchObject({
      title: `Conversation ${body.id}`,
      createdByUserId: 'ada',
      sandboxId: sandbox.id,
      llmModel: 'openai/scripted',
      agentKind: 'openhands',
      executionStatus: 'idle',
      workingDirectory: '/workspace/project',
      createdAt: new Date(String(body['created_at'])),
      deletedAt: null,
    });
    expect((await api.callbacks.ofConversation(body.id)).map(({ processorKind }) => processorKind)).toEqual([
      'SetTitleCallbackProcessor',
    ]);
  });

  it('sent again changes neither creation time, nor visibility, nor what the start owns (D12)', async () => {
    const body = record();
    const start = started(body.id);
    await api.conversations.createFromStart(start);
    for (let times = 0; times < 3; times++) expect((await post(body)).status).toBe(200);
    expect(await api.conversation(body.id)).toMatchObject({
      createdAt: start.createdAt,
      public: true,
      parentConversationId: start.parentConversationId,
      selectedRepository: 'octo/repo',
      prNumber: [7],
      trigger: 'gui',
      llmModel: 'openai/scripted',
    });
  });

  it('and the start may come in any order and at once: each keeps its own members (D13)', async () => {
    const usage = { usage_to_metrics: { agent: { accumulated_cost: 0.5 } } };
    const body = record({ stats: usage, tags: { from: 'agent' } });
    await Promise.all([post(body), api.conversations.createFromStart(started(body.id)), post(body)]);
    expect(await api.conversation(body.id)).toMatchObject({
      selectedRepository: 'octo/repo',
      llmModel: 'openai/scripted',
      metrics: { accumulated_cost: 0.5 },
      tags: { repo_name: 'octo/repo', from: 'agent' },
      title: `Conversation ${body.id.slice(0, 5)}`,
    });
  });

  it('never touches a title that a user chose (D13)', async () => {
    const body = record();
    await post(body);
    await api.conversations.rename(body.id, 'Mine');
    await post({ ...body, title: 'Made by the agent-server' });
    expect((await api.conversation(body.id)).title).toBe('Mine');
  });

  it('adds tags, the incoming ones winning, and never lowers the cost', async () => {
    const stats = (accumulated_cost: number) => ({ usage_to_metrics: { agent: { accumulated_cost } } });
    const body = record({ tags: { a: '1', b: '1' }, stats: stats(2), updated_at: '2026-01-01T00:00:01Z' });
    await post(body);
    await post({ ...body, tags: { b: '2', c: '2' }, stats: stats(1), updated_at: '2026-01-01T00:00:02Z' });
    expect(await api.conversation(body.id)).toMatchObject({
      tags: { a: '1', b: '2', c: '2' },
      metrics: { accumulated_cost: 2 },
    });
  });

  it('of an automation sets the trigger', async () => {
    const body = record({ tags: { automationid: 'nightly' } });
    await post(body);
    expect((await api.conversation(body.id)).trigger).toBe('automation');
  });

  it('that says the conversation is being deleted stores nothing', async () => {
    const [deleting] = recordedChange('after-delete');
    const body = { ...(deleting?.body as Json), id: newId() };
    expect((await post(body)).status).toBe(200);
    expect(await api.conversations.read(body.id)).toBeNull();
  });

  it('after a change of the title is taken like any other', async () => {
    const [changed] = recordedChange('after-patch');
    expect(await post(changed?.body)).toMatchObject({ status: 200 });
  });

  it('of unknown agents and workspaces, with members of any form, is accepted', async () => {
    const id = newId();
    const body = {
      id,
      agent: { kind: 'Robot', llm: 'none' },
      workspace: { kind: 'Moon', working_dir: 7 },
      tags: ['x'],
      stats: 'many',
      execution_status: 'levitating',
      created_at: 'yesterday',
    };
    expect((await post(body)).status).toBe(200);
    expect(await api.conversation(id)).toMatchObject({ llmModel: null, tags: {}, executionStatus: null });
  });

  it('with characters that no database holds is accepted without them', async () => {
    const id = newId();
    const body = `{"id":"${id}","agent":{"llm":{"model":"a\\u0000b"}},"workspace":{},"tags":{"k":"\\ud800"}}`;
    expect((await post(body)).status).toBe(200);
    expect(await api.conversation(id)).toMatchObject({ llmModel: 'ab', tags: { k: '\ufffd' } });
  });

  it.each(['id', 'agent', 'workspace'])('without %s is refused', async (member) => {
    const body: Json = record();
    Reflect.deleteProperty(body, member);
    expect(await post(body)).toMatchObject({
      status: 422,
      body: { detail: [{ type: 'missing', loc: ['body', member], msg: 'Field required' }] },
    });
  });

  it.each(['', '[]', '"text"'])('that is %j is refused', async (body) => {
    expect((await post(body)).status).toBe(422);
  });

  it('is stored whole where the conversation is known, each member by its own time', async () => {
    const stats = { usage_to_metrics: { agent: { accumulated_cost: 0.5 } } };
    const body = record({ stats, updated_at: '2026-01-01T00:00:10Z' });
    await api.conversations.createFromStart(started(body.id));
    await api.conversations.applyRun(body.id, {
      status: { value: 'running', at: new Date('2026-01-01T00:00:20Z') },
    });
    expect((await post(body)).status).toBe(200);
    expect(await api.conversation(body.id)).toMatchObject({
      llmModel: 'openai/scripted',
      metrics: { accumulated_cost: 0.5 },
      metricsAt: new Date('2026-01-01T00:00:10Z'),
      executionStatus: 'running',
      executionStatusAt: new Date('2026-01-01T00:00:20Z'),
    });
  });

  it('of a deleted conversation does not bring it back', async () => {
    const body = record();
    await post(body);
    await api.conversations.markDeleted(body.id);
    expect((await post({ ...body, tags: { late: 'yes' } })).status).toBe(200);
    const row = await api.conversation(body.id);
    expect(row.deletedAt).not.toBeNull();
    expect(row.tags).toEqual({});
  });
});
