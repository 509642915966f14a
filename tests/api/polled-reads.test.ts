/** What is asked again and again: one statement for many, each caller's own answer, and no look at what is not asked for. */
import { drizzle } from 'drizzle-orm/node-postgres';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SandboxReadModel } from '../../db/sandbox-read-model.js';
import * as schema from '../../db/schema/index.js';
import { StartTaskReadModel } from '../../db/start-task-read-model.js';
import { openTestDatabase } from '../support/database.js';
import { insertConversation, insertSandbox, insertStartTask, newId } from '../support/rows.js';

let connection: Awaited<ReturnType<typeof openTestDatabase>>;
const statements: string[] = [];

beforeAll(async () => {
  connection = await openTestDatabase();
});
afterAll(() => connection.close());

/** The same database; what is asked of it is noted. */
const noted = () =>
  drizzle(connection.pool, { schema, logger: { logQuery: (query) => statements.push(query) } });

describe('start tasks that many poll at the same time', () => {
  it('are one statement, in which everybody finds their own and nobody another’s', async () => {
    const { database } = connection;
    const ann = await insertStartTask(database, { createdByUserId: 'ann' });
    const bob = await insertStartTask(database, { createdByUserId: 'bob' });
    const nobodys = await insertStartTask(database);
    const ids = [bob, newId(), ann, nobodys, ann];
    const tasks = new StartTaskReadModel(noted());
    statements.length = 0;
    const [annsView, bobsView, organization, all, stranger, nobody] = await Promise.all(
      [['ann'], ['bob'], ['ann', 'bob'], null, ['eve'], []].map(async (users) => {
        const found = await tasks.batch(users, ids);
        return found.map((task) => task?.id ?? null);
      }),
    );
    expect(statements).toHaveLength(1);
    expect(annsView).toEqual([null, null, ann, null, ann]);
    expect(bobsView).toEqual([bob, null, null, null, null]);
    expect(organization).toEqual([bob, null, ann, null, ann]);
    expect(all).toEqual([bob, null, ann, nobodys, ann]);
    expect(stranger).toEqual([null, null, null, null, null]);
    expect(nobody).toEqual([null, null, null, null, null]);
  });

  it('are shown as they are at that moment, until their conversation is deleted', async () => {
    const { database } = connection;
    const id = await insertStartTask(database, { status: 'WORKING' });
    const tasks = new StartTaskReadModel(database);
    const status = async () => (await tasks.batch(null, [id]))[0]?.status ?? null;
    expect(await status()).toBe('WORKING');
    const conversation = await insertConversation(database, { deletedAt: new Date() });
    await connection.pool.query(`update start_tasks set status = 'READY' where id = $1`, [id]);
    expect(await status()).toBe('READY');
    await connection.pool.query('update start_tasks set app_conversation_id = $2 where id = $1', [
      id,
      conversation,
    ]);
    expect(await status()).toBeNull();
  });

  it('name the address under which each of them called', async () => {
    const id = await insertStartTask(connection.database, {
      sandboxId: 'box',
      agentServerUrl: 'http://direct',
    });
    const origins = ['http://one', 'http://two'];
    // The address depends on the caller, as it does where the server has no public URL.
    let calls = 0;
    const tasks = new StartTaskReadModel(
      connection.database,
      (sandboxId) => `${origins[calls++] ?? ''}/${sandboxId}`,
    );
    const found = await Promise.all(origins.map(() => tasks.batch(null, [id])));
    expect(found.map(([task]) => task?.agent_server_url)).toEqual(['http://one/box', 'http://two/box']);
  });
});

describe('a first page of sandboxes', () => {
  it('shows what belongs to those whose things the caller may see, newest first', async () => {
    const { database } = connection;
    const at = (second: number) => new Date(Date.UTC(2026, 0, 1, 0, 0, second));
    const rows = [
      { createdByUserId: 'cat', createdAt: at(1) },
      { createdByUserId: 'dan', createdAt: at(2) },
      { createdByUserId: null, createdAt: at(3) },
      { createdByUserId: 'cat', createdAt: at(4), deletedAt: new Date() },
      { createdByUserId: null, createdAt: at(5), warmSince: new Date() },
    ];
    const [cats, dans, nobodys] = await Promise.all(rows.map((values) => insertSandbox(database, values)));
    const sandboxes = new SandboxReadModel(database);
    const seen = async (users: string[] | null) => {
      const { records } = await sandboxes.search(users, { limit: 10 });
      return records.map(({ id }) => id);
    };
    expect(await seen(['cat'])).toEqual([cats]);
    expect(await seen(['cat', 'dan'])).toEqual([dans, cats]);
    expect(await seen(null)).toEqual([nobodys, dans, cats]);
    expect(await seen(['eve'])).toEqual([]);
    expect(await seen([])).toEqual([]);
  });

  it('is asked for once by all who ask for the same at the same moment, and shows each what is theirs', async () => {
    const { database } = connection;
    const ids = await Promise.all(
      ['fay', 'gus'].map((createdByUserId) => insertSandbox(database, { createdByUserId })),
    );
    const [fays, gus] = ids;
    const sandboxes = new SandboxReadModel(noted());
    const seen = async (users: string[] | null, limit = 10) => {
      const { records } = await sandboxes.search(users, { limit });
      return records.map(({ id }) => id).filter((id) => ids.includes(id));
    };
    statements.length = 0;
    const asked = await Promise.all([
      seen(['fay']),
      seen(['gus']),
      seen(['fay']),
      seen(['gus', 'fay']),
      seen(['fay'], 5),
      seen(['eve']),
      seen([]),
      seen(['fay']),
    ]);
    expect(asked).toEqual([[fays], [gus], [fays], expect.arrayContaining(ids), [fays], [], [], [fays]]);
    expect(statements).toHaveLength(5);
    await connection.pool.query('update sandboxes set deleted_at = now() where id = $1', [fays]);
    expect(await seen(['fay'])).toEqual([]); // nothing is kept
  });
});

it('is found by index alone among thousands, whatever plan is kept for it', async () => {
  const client = new pg.Client({ connectionString: connection.url }); // which may take its time
  await client.connect();
  await client.query(`
    insert into start_requests (id, conversation_id, request)
    select md5('t' || n), md5('t' || n), '{}' from generate_series(1, 20000) n`);
  await client.query(`
    insert into start_tasks (id, conversation_id, status, app_conversation_id, created_by_user_id, created_at, updated_at)
    select md5('t' || n), md5('t' || n), 'READY', md5('t' || n), 'user' || n % 50, now(), now() from generate_series(1, 20000) n`);
  await client.query(`
    insert into sandboxes (id, created_by_user_id, spec_id, status, session_api_key, session_api_key_hash, secret_key,
      last_active_at, created_at, updated_at)
    select 's' || n, 'user' || n % 50, 'spec', 'RUNNING', '', 'h' || n, '', now(), now() - n * interval '1 minute', now()
    from generate_series(1, 5000) n`);
  await client.query('analyze start_requests, start_tasks, sandboxes');
  statements.length = 0;
  const database = noted();
  await new StartTaskReadModel(database).batch(null, [newId()]);
  const sandboxes = new SandboxReadModel(database);
  await sandboxes.search(null, { limit: 100 });
  await sandboxes.search(['user1'], { limit: 100 });
  const given = [['{a,b}'], ['101'], ['user1', '101']];
  expect(statements).toHaveLength(given.length);
  try {
    await client.query(`set plan_cache_mode = force_generic_plan`); // what a kept statement comes to
    for (const [place, statement] of statements.entries()) {
      await client.query(`prepare polled_${place} as ${statement}`);
      const values = given[place]?.map((value) => `'${value}'`).join(', ');
      const { rows } = await client.query<{ 'QUERY PLAN': string }>(
        `explain execute polled_${place} (${values})`,
      );
      const plan = rows.map((row) => row['QUERY PLAN']).join('\n');
      expect(plan).toContain('Index');
      expect(plan, plan).not.toMatch(/Seq Scan on (start_|sandboxes)|Sort/);
    }
  } finally {
    await client.end();
  }
});
