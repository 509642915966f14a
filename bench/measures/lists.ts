/** Polling of start tasks, and lists of sandboxes and conversations, beside a hundred thousand of others. */
import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { hexId } from '../../contract/ids.js';
import type { Product } from '../../tests/support/product.js';
import { bareExpressRate } from '../bare-express.js';
import { httpRequest, load, type LoadResult } from '../load.js';
import { duration, range, whole, type Measure, type Result, type Surroundings } from '../measure.js';
import { PythonLists } from '../python-server/lists.js';
import { median } from '../statistics.js';

const CONVERSATIONS = 100_000;
const START_TASKS = 1_000_000;
const SANDBOXES = 11;
const CONCURRENCY = 16;

async function execute(product: Product, ...statements: [string, unknown[]?][]): Promise<void> {
  const client = new pg.Client({ connectionString: product.databaseUrl });
  await client.connect();
  try {
    for (const [text, values] of statements) await client.query(text, values);
  } finally {
    await client.end();
  }
}

/** What every row would be looked up for, one by one: it is taken away before and put back, and checked at once, after. */
const REFERENCE = 'start_tasks_id_start_requests_id_fk';

/** Start tasks that have ended, as many as a busy installation has after years. */
async function manyStartTasks(product: Product): Promise<string> {
  const id = hexId(randomUUID());
  const ids = `select case place when 0 then $1 else repeat('a', 8) || lpad(to_hex(place), 24, '0') end as id, place
    from generate_series(0, ${START_TASKS - 1}) as place`;
  const request = `'{"sandbox_id": null, "conversation_id": null, "initial_message": {"role": "user", "content": [{"type": "text", "text": "Hello"}], "run": true}, "pr_number": [], "agent_type": "default"}'::jsonb`;
  await execute(
    product,
    [`alter table start_tasks drop constraint ${REFERENCE}`],
    [
      `insert into start_requests (id, conversation_id, request, accepted_at, created_at)
       select id, id, ${request}, now(), now() - place * interval '20 seconds' from (${ids}) tasks`,
      [id],
    ],
    [
      `insert into start_tasks (id, conversation_id, status, app_conversation_id, created_at, updated_at)
       select id, id, 'READY', id, now() - place * interval '20 seconds', now() - place * interval '20 seconds'
       from (${ids}) tasks`,
      [id],
    ],
    [
      `alter table start_tasks add constraint ${REFERENCE}
       foreign key (id) references start_requests (id) on delete cascade`,
    ],
    ['vacuum analyze start_requests'],
    ['vacuum analyze start_tasks'],
  );
  return id;
}

/** Sandboxes that run, and conversations of which the newest live in them. */
async function manyConversations(product: Product): Promise<void> {
  for (let made = 0; made < SANDBOXES; made++) await product.call('POST', '/api/v1/sandboxes');
  const running = async (): Promise<string[]> => {
    const { body } = await product.call<{ items: { id: string; status: string }[] }>(
      'GET',
      '/api/v1/sandboxes/search?limit=100',
    );
    return body.items.filter(({ status }) => status === 'RUNNING').map(({ id }) => id);
  };
  let live = await running();
  while (live.length < SANDBOXES) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    live = await running();
  }
  await execute(
    product,
    [
      `insert into conversations (id, sandbox_id, title, trigger, execution_status, execution_status_at, metrics, created_at, updated_at)
       select repeat('b', 8) || lpad(to_hex(place), 24, '0'),
         case when place < 10000 then ($1::text[])[1 + place % ${SANDBOXES}] else 'gone ' || place end,
         'A conversation about something ' || place, 'gui', 'finished', now(),
         '{"accumulated_cost": 0.5, "max_budget_per_task": null, "accumulated_token_usage": {"prompt_tokens": 100, "completion_tokens": 10}}'::jsonb,
         now() - place * interval '1 minute', now()
       from generate_series(0, ${CONVERSATIONS - 1}) as place`,
      [live],
    ],
    ['vacuum analyze conversations'],
  );
}

async function repeated(
  { runs }: Pick<Surroundings, 'runs'>,
  { product, theirs }: { product: Product; theirs: PythonLists | null },
  path: string,
  { concurrency, requests }: { concurrency: number; requests: number },
): Promise<LoadResult[]> {
  const bytes = httpRequest('GET', path);
  const results: LoadResult[] = [];
  for (let run = 0; run <= runs; run++) {
    const result = await load({ url: product.url, concurrency, requests, next: () => bytes });
    if (run === 0) continue;
    results.push(result);
    await theirs?.turn(path, { concurrency, requests });
  }
  return results;
}

const rate = (results: readonly LoadResult[]): number => median(results.map(({ perSecond }) => perSecond));
const p99 = (results: readonly LoadResult[]): number => median(results.map((result) => result.p99));
const perSecond = (value: number): string => `${whole(value)} requests/s`;

export const lists: Measure = {
  name: 'lists',
  title: 'polls and lists',
  async run(surroundings) {
    const product = await surroundings.light();
    surroundings.note(`making ${whole(START_TASKS)} start tasks and ${whole(CONVERSATIONS)} conversations`);
    const task = await manyStartTasks(product);
    await manyConversations(product);
    const theirs = await PythonLists.of(surroundings.python, {
      startTasks: START_TASKS,
      conversations: CONVERSATIONS,
      sandboxes: SANDBOXES,
    });
    const subjects = { product, theirs };
    const results: Result[] = [];
    const floor = await bareExpressRate({ runs: surroundings.runs, concurrency: CONCURRENCY });

    const poll = `/api/v1/app-conversations/start-tasks?ids=${task}`;
    const polls = await repeated(surroundings, subjects, poll, {
      concurrency: CONCURRENCY,
      requests: 4_000,
    });
    results.push({
      measure: `start-task poll among ${whole(START_TASKS)}, concurrency ${CONCURRENCY}`,
      value: `${perSecond(rate(polls))}, p99 ${duration(p99(polls))}`,
      detail: `${range(
        polls.map((result) => result.perSecond),
        whole,
      )}; bare Express ${whole(floor)}`,
      bar: '≥ 2,000 requests/s, p99 ≤ 25 ms',
      met: rate(polls) >= 2_000 && p99(polls) <= 25,
      python: '233 requests/s, p99 96 ms',
      beside: theirs?.besideRates(poll, polls),
    });

    const sandboxList = '/api/v1/sandboxes/search?limit=100';
    const sandboxes = await repeated(surroundings, subjects, sandboxList, {
      concurrency: CONCURRENCY,
      requests: 2_000,
    });
    results.push({
      measure: `sandbox list of ${SANDBOXES} live sandboxes, concurrency ${CONCURRENCY}`,
      value: `${perSecond(rate(sandboxes))}, p99 ${duration(p99(sandboxes))}`,
      detail: range(
        sandboxes.map((result) => result.perSecond),
        whole,
      ),
      bar: '≥ 1,000 requests/s',
      met: rate(sandboxes) >= 1_000,
      python: '31 requests/s, p50 503 ms',
      beside: theirs?.besideRates(sandboxList, sandboxes),
    });

    const conversationList = '/api/v1/app-conversations/search?limit=100';
    const conversations = await repeated(surroundings, subjects, conversationList, {
      concurrency: 1,
      requests: 100,
    });
    const p50 = conversations.map((result) => result.p50);
    results.push({
      measure: `conversation list of 100 at 100k rows, ${SANDBOXES} live sandboxes`,
      value: `p50 ${duration(median(p50))}`,
      detail: range(p50, duration),
      bar: 'p50 ≤ 15 ms',
      met: median(p50) <= 15,
      python: '65 ms at 10k, 114 ms for 20 rows with 20 live sandboxes',
      beside: theirs?.besideTimes(conversationList, conversations),
    });
    return results;
  },
};
