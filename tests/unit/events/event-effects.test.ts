import { describe, expect, it } from 'vitest';
import type { AgentEvent } from '../../../contract/event.js';
import { WebhookConversation } from '../../../contract/webhook.js';
import type { ReportedRun } from '../../../db/conversation-report.js';
import { applyEventEffects, reportedConversation, reportedRun } from '../../../events/event-effects.js';
import { statsSnapshot } from '../../../events/statistics.js';
import { RECORDED_CONVERSATIONS, recordedWebhooks } from '../../support/recorded.js';

/** What would be written of the events of a batch, one member for each write. */
const effectsOf = async (events: Partial<AgentEvent>[]): Promise<ReportedRun[]> => {
  const written: ReportedRun[] = [];
  const target = { applyRun: async (_id: string, run: ReportedRun) => void written.push(run) };
  await applyEventEffects(target, 'c', events as AgentEvent[]);
  return written;
};

const update = (key: string, value: unknown, second: number) => ({
  kind: 'ConversationStateUpdateEvent',
  key,
  value,
  timestamp: `2026-01-01T00:00:0${second}.5`,
});
const at = (second: number) => new Date(Date.UTC(2026, 0, 1, 0, 0, second, 500));
const usage = (accumulated_cost: number | null, prompt_tokens?: number) => ({
  accumulated_cost,
  max_budget_per_task: null,
  accumulated_token_usage: { model: 'm', prompt_tokens, context_window: prompt_tokens },
});

describe('the effects of a batch', () => {
  it('are those of its newest events, whatever the order in it', async () => {
    const written = await effectsOf([
      update('execution_status', 'finished', 3),
      update('stats', { usage_to_metrics: { agent: usage(2, 20) } }, 2),
      update('stats', { usage_to_metrics: { agent: usage(1, 10) } }, 1),
      update('execution_status', 'running', 2),
    ]);
    expect(written).toEqual([
      {
        stats: { value: expect.objectContaining({ accumulatedCost: 2 }) as unknown, at: at(2) },
        status: { value: 'finished', at: at(3) },
      },
    ]);
  });

  it('include the status and the statistics of a full snapshot, which is not stored itself', async () => {
    const state = { execution_status: 'idle', stats: { usage_to_metrics: { agent: usage(0.5) } } };
    const written = await effectsOf([update('full_state', state, 1)]);
    expect(written).toEqual([
      {
        stats: { value: { accumulatedCost: 0.5, maxBudgetPerTask: null, tokens: {} }, at: at(1) },
        status: { value: 'idle', at: at(1) },
      },
    ]);
  });

  it.each([
    { tool_name: 'switch_llm', observation: { kind: 'New', active_model: 'b' } },
    { observation: { kind: 'SwitchLLMObservation', active_model: 'b' } },
  ])('include the model that the agent switched to: %j', async (observation) => {
    const earlier = { kind: 'ObservationEvent', tool_name: 'switch_llm', observation: { active_model: 'a' } };
    const failed = { kind: 'ObservationEvent', tool_name: 'switch_llm', observation: { active_model: null } };
    expect(await effectsOf([earlier, { kind: 'ObservationEvent', ...observation }, failed])).toEqual([
      { llmModel: 'b' },
    ]);
  });

  it('are none for statuses, statistics and observations that nobody knows', async () => {
    const written = await effectsOf([
      update('execution_status', 'levitating', 1),
      update('stats', 'much', 1),
      update('stats', { usage_to_metrics: {} }, 1),
      update('full_state', null, 1),
      update('tags', {}, 1),
      { kind: 'ObservationEvent', observation: 'text', tool_name: 'terminal' },
      { kind: 'MessageEvent' },
    ]);
    expect(written).toEqual([]);
  });

  it.each(RECORDED_CONVERSATIONS)('of the recorded conversation %s end with a finished run', async (name) => {
    const events = recordedWebhooks(name).flatMap(({ body }) => (Array.isArray(body) ? body : []));
    const written = await effectsOf(events);
    expect(written.map(({ status }) => status?.value)).toEqual(['finished']);
    expect(written[0]?.stats?.value.tokens.prompt_tokens).toBeGreaterThan(0);
  });
});

describe('statistics', () => {
  it('are summed over all usages; sizes are the largest; nonsense counts as nothing', () => {
    const stats = {
      usage_to_metrics: {
        agent: { ...usage(1.5, 10), max_budget_per_task: 4 },
        condenser: usage(0.25, 5),
        title: {
          accumulated_cost: -1,
          accumulated_token_usage: { prompt_tokens: 'many', reasoning_tokens: 3 },
        },
        odd: null,
      },
    };
    expect(statsSnapshot(stats)).toEqual({
      accumulatedCost: 1.75,
      maxBudgetPerTask: 4,
      tokens: { prompt_tokens: 15, reasoning_tokens: 3, context_window: 10 },
    });
  });
});

describe('a record', () => {
  const record = (change: object) =>
    WebhookConversation.parse({
      id: 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11',
      agent: {},
      workspace: { kind: 'Unheard' },
      ...change,
    });

  it('of an unknown agent says what it can', () => {
    expect(
      reportedConversation(
        record({ agent: { kind: 'Unheard', llm: { model: 'x\0y' } }, tags: { a: 'b', n: 1 } }),
      ),
    ).toEqual({
      id: 'a0eebc999c0b4ef8bb6d6bb9bd380a11',
      llmModel: 'xy',
      agentKind: 'openhands',
      tags: { a: 'b' },
      derivedTags: {},
      workingDirectory: null,
      createdAt: null,
    });
  });

  it.each([
    [{ current_model_id: 'now', agent: { kind: 'ACPAgent', acp_model: 'configured' } }, 'now', {}],
    [
      {
        current_model_id: null,
        agent: { agent_kind: 'acp', acp_model: 'configured', acp_command: ['npx', 'codex-acp'] },
      },
      'configured',
      { acpserver: 'codex' },
    ],
    [
      { agent: { agent_kind: 'acp', acp_command: 'npx -y @zed-industries/claude-code-acp' } },
      null,
      { acpserver: 'claude-code' },
    ],
  ])('of an ACP agent names its model and server: %j', (change, llmModel, derivedTags) => {
    expect(reportedConversation(record(change))).toMatchObject({ agentKind: 'acp', llmModel, derivedTags });
  });

  it('has its status and statistics as of its own time', () => {
    const stats = { usage_to_metrics: { agent: usage(0.5) } };
    const dated = record({ execution_status: 'paused', stats, updated_at: '2026-01-01T00:00:01.5Z' });
    expect(reportedRun(dated)).toEqual({
      stats: { value: { accumulatedCost: 0.5, maxBudgetPerTask: null, tokens: {} }, at: at(1) },
      status: { value: 'paused', at: at(1) },
    });
    expect(reportedRun(record({ execution_status: 'idle' }))).toEqual({
      status: { value: 'idle', at: null },
    });
    expect(reportedRun(record({ execution_status: 'levitating', stats: 'many' }))).toEqual({});
  });

  it.each(['id', 'agent', 'workspace'])('without %s is refused', (member) => {
    const whole: Record<string, unknown> = { id: '1'.repeat(32), agent: {}, workspace: {} };
    whole[member] = undefined;
    expect(WebhookConversation.safeParse(whole).success).toBe(false);
  });
});
