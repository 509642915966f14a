/** The agent-server's statistics, as the one sum that clients see. */
import type { ConversationMetrics } from '../contract/conversation.js';
import type { StatsSnapshot } from '../db/conversation-report.js';

type TokenCounts = Omit<ConversationMetrics['accumulated_token_usage'], 'model' | 'response_id'>;

/** Counts that add up over the usages of a conversation (agent, condenser, title, …). */
const SUMMED = [
  'prompt_tokens',
  'completion_tokens',
  'cache_read_tokens',
  'cache_write_tokens',
  'reasoning_tokens',
] as const satisfies readonly (keyof TokenCounts)[];
/** Sizes, of which the largest tells most. */
const LARGEST = ['context_window', 'per_turn_token'] as const satisfies readonly (keyof TokenCounts)[];

/**
 * Sums up `stats.usage_to_metrics`, a snapshot of all usages since the beginning.
 * @returns null when it holds no usage.
 */
export function statsSnapshot(stats: unknown): StatsSnapshot | null {
  const usages = Object.values(objectIn(objectIn(stats)['usage_to_metrics'])).map(objectIn);
  if (usages.length === 0) return null;
  const tokenUsages = usages.map((usage) => objectIn(usage['accumulated_token_usage']));
  const counts = (name: string) => tokenUsages.flatMap((usage) => numberIn(usage[name]).map(Math.trunc));
  const tokens: Partial<TokenCounts> = {};
  for (const name of SUMMED) if (counts(name).length > 0) tokens[name] = sum(counts(name));
  for (const name of LARGEST) if (counts(name).length > 0) tokens[name] = Math.max(...counts(name));
  const costs = usages.flatMap((usage) => numberIn(usage['accumulated_cost']));
  const budgets = usages.flatMap((usage) => numberIn(usage['max_budget_per_task']));
  return {
    accumulatedCost: costs.length > 0 ? sum(costs) : null,
    maxBudgetPerTask: budgets.length > 0 ? Math.max(...budgets) : null,
    tokens,
  };
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

/** Counts and costs are never negative; anything else counts as not given. */
const numberIn = (value: unknown): number[] =>
  typeof value === 'number' && Number.isFinite(value) && value >= 0 ? [value] : [];

const objectIn = (value: unknown): Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : {};
