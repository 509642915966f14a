/** What agent-servers report of conversations, as assignments of one update (contract 6.2, 6.3). */
import { or, sql, type SQL } from 'drizzle-orm';
import { NO_METRICS, type ConversationMetrics, type ExecutionStatus } from '../contract/conversation.js';
import { conversations } from './schema/index.js';

/** What an agent-server's record says of a conversation, and webhooks own (contract 6.2). */
export interface ReportedConversation {
  id: string;
  llmModel: string | null;
  agentKind: typeof conversations.$inferSelect.agentKind;
  /** Added to the tags that are there; these win. */
  tags: Record<string, string>;
  /** Added where there is no such tag. */
  derivedTags: Record<string, string>;
  workingDirectory: string | null;
  /** The record's own time; used only when the conversation was not known before. */
  createdAt: Date | null;
}

/** Usage of a conversation at one time; what is null or absent keeps its value. */
export interface StatsSnapshot {
  /** US dollars since the beginning. */
  accumulatedCost: number | null;
  maxBudgetPerTask: number | null;
  tokens: Partial<ConversationMetrics['accumulated_token_usage']>;
}

export interface Dated<Value> {
  value: Value;
  /** When the agent-server had it; null takes it only where no dated one is known yet. */
  at: Date | null;
}

/** What an agent-server has told of a run; a newer value that is known stays, and so does what is left out. */
export interface ReportedRun {
  /** The cost never goes down. */
  stats?: Dated<StatsSnapshot> | undefined;
  status?: Dated<ExecutionStatus> | undefined;
  /** The model in use after a switch. */
  llmModel?: string | undefined;
}

/** Tags that show that an automation made the conversation (contract 6.2). */
const AUTOMATION_TAGS = ['automationtrigger', 'automationid', 'automationrunid'];

/** What a record sets. */
export function recordColumns(record: ReportedConversation) {
  const mergedTags = sql`
      ${JSON.stringify(record.derivedTags)}::jsonb || ${conversations.tags} || ${JSON.stringify(record.tags)}::jsonb`;
  return {
    title: sql`coalesce(${conversations.title}, ${`Conversation ${record.id}`})`,
    llmModel: sql`coalesce(${record.llmModel}::text, ${conversations.llmModel})`,
    agentKind: record.agentKind,
    tags: mergedTags,
    trigger: automationTrigger(mergedTags),
    workingDirectory: sql`coalesce(${conversations.workingDirectory}, ${record.workingDirectory}::text)`,
  };
}

/** What the report of a run sets: each member where it is not older than what is known. */
export function runColumns({ stats, status, llmModel }: ReportedRun) {
  return {
    ...(stats && {
      metrics: sql`case when ${isStatsNews(stats.at)} then ${mergedMetrics(stats.value)} else ${conversations.metrics} end`,
      metricsAt: sql`greatest(${conversations.metricsAt}, ${timeOf(stats.at)})`,
    }),
    ...(status && {
      executionStatus: sql`
        case when ${isStatusNews(status.at)} then ${status.value} else ${conversations.executionStatus} end`,
      executionStatusAt: sql`greatest(${conversations.executionStatusAt}, ${timeOf(status.at)})`,
    }),
    ...(llmModel !== undefined && { llmModel }),
  };
}

/** True where the report of a run changes anything. */
export function isNews({ stats, status, llmModel }: ReportedRun): SQL | undefined {
  if (llmModel !== undefined) return undefined;
  return or(stats && isStatsNews(stats.at), status && isStatusNews(status.at)) ?? sql`false`;
}

const isStatsNews = (at: Date | null): SQL => notOlder(conversations.metricsAt, at);
const isStatusNews = (at: Date | null): SQL => notOlder(conversations.executionStatusAt, at);

/** True where nothing newer than `at` is known; without `at`, where nothing is known. */
const notOlder = (
  known: typeof conversations.metricsAt | typeof conversations.executionStatusAt,
  at: Date | null,
): SQL => sql`(${known} is null or ${known} <= ${timeOf(at)})`;

const timeOf = (at: Date | null): SQL => sql`${at?.toISOString() ?? null}::timestamptz`;

function mergedMetrics({ accumulatedCost, maxBudgetPerTask, tokens }: StatsSnapshot): SQL {
  const known = sql`coalesce(${conversations.metrics}, ${JSON.stringify(NO_METRICS)}::jsonb)`;
  const cost = sql`greatest(
      coalesce((${conversations.metrics} ->> 'accumulated_cost')::float8, 0), ${accumulatedCost ?? 0}::float8)`;
  return sql`${known}
          || jsonb_strip_nulls(${JSON.stringify({ max_budget_per_task: maxBudgetPerTask })}::jsonb)
          || jsonb_build_object(
            'accumulated_cost', ${cost},
            'accumulated_token_usage', ${known} -> 'accumulated_token_usage' || ${JSON.stringify(tokens)}::jsonb)`;
}

/** Kept; where there is none, `automation` if the tags say that one made the conversation. */
function automationTrigger(tags: SQL): SQL {
  const named = AUTOMATION_TAGS.map((tag) => sql`coalesce((${tags}) ->> ${tag}, '') <> ''`);
  return sql`coalesce(${conversations.trigger}, case when ${sql.join(named, sql` or `)} then 'automation' end)`;
}
