import { describe, expect, it } from 'vitest';
import type { AgentEvent } from '../../../contract/event.js';
import { WebhookConversation } from '../../../contract/webhook.js';
import {
  applyEventEffects,
  applyRecordEffects,
  reportedConversation,
} from '../../../events/event-effects.js';
import { statsSnapshot } from '../../../events/statistics.js';
import { RECORDED_CONVERSATIONS, recordedWebhooks } from '../../support/recorded.js';

type Call = [string, ...unknown[]];

/** Takes down what would be written. */
function recorder() {
  const calls: Call[] = [];
  const note =
    (name: string) =>
    async (_id: string, ...rest: unknown[]): Promise<void> =>
      void calls.push([name, ...rest]);
  const target = {
    applyStats: note('stats'),
    setExecutionStatus: note('status'),
    setLlmModel: note('model'),
  };
  return { calls, target };
}

const effectsOf = async (events: Partial<AgentEvent>[]): Promise<Call[]> => {
  const { calls, target } = recorder();
  await applyEventEffects(target, 'c', events as AgentEvent[]);
  return calls;
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
    const calls = await effectsOf([
      update('execution_status', 'finished', 3),
      update('stats', { usage_to_metrics: { agent: usage(2, 20) } }, 2),
      update('stats', { usage_to_metrics: { agent: usage(1, 10) } }, 1),
      update('execution_status', 'running', 2),
    ]);
    expect(calls).toEqual([
      ['stats', expect.objectContaining({ accumulatedCost: 2 }), at(2)],
      ['status', 'finished', at(3)],
    ]);
  });

  it('include the status and the statistics of a full snapshot, which is not stored itself', async () => {
    const state = { execution_status: 'idle', stats: { usage_to_metrics: { agent: usage(0.5) } } };
    const calls = await effectsOf([update('full_state', state, 1)]);
    expect(calls.map(([name, value]) => [name, value])).toEqual([
      ['stats', { accumulatedCost: 0.5, maxBudgetPerTask: null, tokens: {} }],
      ['status', 'idle'],
    ]);
  });

  it.each([
    { tool_name: 'switch_llm', observation: { kind: 'New', active_model: 'b' } },
    { observation: { kind: 'SwitchLLMObservation', active_model: 'b' } },
  ])('include the model that the agent switched to: %j', async (observation) => {
    const earlier = { kind: 'ObservationEvent', tool_name: 'switch_llm', observation: { active_model: 'a' } };
    const failed = { kind: 'ObservationEvent', tool_name: 'switch_llm', observation: { active_model: null } };
    expect(await effectsOf([earlier, { kind: 'ObservationEvent', ...observation }, failed])).toEqual([
      ['model', 'b'],
    ]);
  });

  it('are none for statuses, statistics and observations that nobody knows', async () => {
    const calls = await effectsOf([
      update('execution_status', 'levitating', 1),
      update('stats', 'much', 1),
      update('stats', { usage_to_metrics: {} }, 1),
      update('full_state', null, 1),
      update('tags', {}, 1),
      { kind: 'ObservationEvent', observation: 'text', tool_name: 'terminal' },
      { kind: 'MessageEvent' },
    ]);
    expect(calls).toEqual([]);
  });

  it.each(RECORDED_CONVERSATIONS)('of the recorded conversation %s end with a finished run', async (name) => {
    const events = recordedWebhooks(name).flatMap(({ body }) => (Array.isArray(body) ? body : []));
    const calls = await effectsOf(events);
    expect(calls.find(([kind]) => kind === 'status')?.[1]).toBe('finished');
    const stats = calls.find(([kind]) => kind === 'stats')?.[1] as { tokens: { prompt_tokens: number } };
    expect(stats.tokens.prompt_tokens).toBeGreaterThan(0);
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

  it('has its status as of its own time', async () => {
    const { calls, target } = recorder();
    await applyRecordEffects(
      target,
      record({ execution_status: 'paused', updated_at: '2026-01-01T00:00:01.5Z' }),
    );
    await applyRecordEffects(target, record({ execution_status: 'idle' }));
    expect(calls).toEqual([
      ['status', 'paused', at(1)],
      ['status', 'idle', null],
    ]);
  });

  it.each(['id', 'agent', 'workspace'])('without %s is refused', (member) => {
    const whole: Record<string, unknown> = { id: '1'.repeat(32), agent: {}, workspace: {} };
    whole[member] = undefined;
    expect(WebhookConversation.safeParse(whole).success).toBe(false);
  });
});
