import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ConversationDeletion } from '../../db/conversation-deletion.js';
import { ConversationReadModel, type ConversationFilter } from '../../db/conversation-read-model.js';
import type { VisibleUsers } from '../../db/paging.js';
import { SandboxReadModel } from '../../db/sandbox-read-model.js';
import { eventCallbacks, eventIndex } from '../../db/schema/index.js';
import { StartTaskReadModel, type StartTaskOrder } from '../../db/start-task-read-model.js';
import { openTestDatabase } from '../support/database.js';
import { insertConversation, insertSandbox, insertStartTask, newId } from '../support/rows.js';

type Connection = Awaited<ReturnType<typeof openTestDatabase>>;

let connection: Connection;
let conversations: ConversationReadModel;
let sandboxes: SandboxReadModel;
let tasks: StartTaskReadModel;

beforeAll(async () => {
  connection = await openTestDatabase();
  conversations = new ConversationReadModel(connection.database);
  sandboxes = new SandboxReadModel(connection.database);
  tasks = new StartTaskReadModel(connection.database);
});
afterAll(() => connection.close());

/** All pages of a list, one after another; fails when they do not end. */
async function allPages<Item>(
  page: (pageId: string | undefined) => Promise<{ items: Item[]; next: string | null }>,
): Promise<Item[][]> {
  const pages: Item[][] = [];
  let pageId: string | undefined;
  do {
    const { items, next } = await page(pageId);
    pages.push(items);
    pageId = next ?? undefined;
  } while (pageId !== undefined && pages.length < 1_000);
  return pages;
}

const pagesOfConversations = (users: VisibleUsers, limit: number, filter: ConversationFilter = {}) =>
  allPages(async (pageId) => {
    const { records, nextPageId } = await conversations.search(users, filter, { limit, pageId });
    return { items: records.map((record) => record.conversation.id), next: nextPageId };
  });

describe('a list of conversations', () => {
  it('shows each of 120 conversations of the same instant once, over all pages', async () => {
    const createdAt = new Date('2026-01-01T00:00:00.123Z');
    const ids = await Promise.all(
      Array.from({ length: 120 }, () =>
        insertConversation(connection.database, { createdByUserId: 'many', createdAt }),
      ),
    );
    const pages = await pagesOfConversations(['many'], 50);
    expect(pages.map((page) => page.length)).toEqual([50, 50, 20]);
    expect(pages.flat()).toEqual([...ids].sort().reverse());
  });

  it('keeps its place when a conversation arrives between two pages', async () => {
    const at = (second: number) => new Date(Date.UTC(2026, 0, 1, 0, 0, second));
    const ids = await Promise.all(
      [1, 2, 3, 4].map((second) =>
        insertConversation(connection.database, { createdByUserId: 'moving', createdAt: at(second) }),
      ),
    );
    const first = await conversations.search(['moving'], {}, { limit: 2 });
    await insertConversation(connection.database, { createdByUserId: 'moving', createdAt: at(9) });
    const second = await conversations.search(['moving'], {}, { limit: 2, pageId: first.nextPageId ?? '' });
    expect([...first.records, ...second.records].map((record) => record.conversation.id)).toEqual(
      ids.reverse(),
    );
    expect(second.nextPageId).toBeNull();
  });

  it.each(['nonsense', '100', 'bm90IGpzb24', Buffer.from('["x",1]').toString('base64url'), '%00'])(
    'begins anew for the page id %j, which is none of its own',
    async (pageId) => {
      await insertConversation(connection.database, { createdByUserId: 'pages' });
      const { records } = await conversations.search(['pages'], {}, { limit: 10, pageId });
      expect(records.length).toBeGreaterThan(0);
    },
  );

  it('finds parts of titles without regard to case and takes wildcards literally', async () => {
    const titles = [
      'Repair the LOGIN page',
      '100% done',
      '100 done',
      'snake_case',
      'snakeXcase',
      String.raw`back\slash`,
    ];
    for (const title of titles)
      await insertConversation(connection.database, { createdByUserId: 'titles', title });
    const found = async (titleContains: string) => {
      const { records } = await conversations.search(['titles'], { titleContains }, { limit: 10 });
      return records.map((record) => record.conversation.title);
    };
    expect(await found('login')).toEqual(['Repair the LOGIN page']);
    expect(await found('100%')).toEqual(['100% done']);
    expect(await found('snake_')).toEqual(['snake_case']);
    expect(await found('k\\s')).toEqual([String.raw`back\slash`]);
  });

  it('filters by half-open ranges of times and by sandbox', async () => {
    const time = (hour: number) => new Date(Date.UTC(2026, 1, 1, hour));
    const ids: string[] = [];
    for (const hour of [1, 2, 3]) {
      ids.push(
        await insertConversation(connection.database, {
          createdByUserId: 'times',
          createdAt: time(hour),
          updatedAt: time(hour + 10),
          sandboxId: hour === 3 ? 'box three' : 'box',
        }),
      );
    }
    const found = async (filter: ConversationFilter) => {
      const { records } = await conversations.search(['times'], filter, { limit: 10 });
      expect(await conversations.count(['times'], filter)).toBe(records.length);
      return records.map((record) => ids.indexOf(record.conversation.id) + 1).sort();
    };
    expect(await found({ createdAtGte: time(2) })).toEqual([2, 3]);
    expect(await found({ createdAtLt: time(2) })).toEqual([1]);
    expect(await found({ updatedAtGte: time(12), updatedAtLt: time(13) })).toEqual([2]);
    expect(await found({ sandboxId: 'box three' })).toEqual([3]);
  });

  it('has as many entries as count says, with and without sub-conversations (D28)', async () => {
    const parent = await insertConversation(connection.database, { createdByUserId: 'families' });
    await insertConversation(connection.database, {
      createdByUserId: 'families',
      parentConversationId: parent,
    });
    await insertConversation(connection.database, { createdByUserId: 'families', deletedAt: new Date() });
    for (const filter of [{}, { includeSubConversations: true }]) {
      const listed = (await pagesOfConversations(['families'], 100, filter)).flat();
      expect(listed).toHaveLength(filter.includeSubConversations ? 2 : 1);
      expect(await conversations.count(['families'], filter)).toBe(listed.length);
    }
  });

  it('tells the sub-conversations of each entry, in search, batch and single reads (D30)', async () => {
    const parent = await insertConversation(connection.database, { createdByUserId: 'parents' });
    const at = (second: number) => new Date(Date.UTC(2026, 0, 1, 0, 0, second));
    const younger = await insertConversation(connection.database, {
      createdByUserId: 'parents',
      parentConversationId: parent,
      createdAt: at(2),
    });
    const older = await insertConversation(connection.database, {
      createdByUserId: 'parents',
      parentConversationId: parent,
      createdAt: at(1),
    });
    await insertConversation(connection.database, { parentConversationId: parent, deletedAt: new Date() });
    const { records } = await conversations.search(['parents'], {}, { limit: 10 });
    const [batched] = await conversations.batch(['parents'], [parent]);
    const single = await conversations.read(['parents'], parent);
    for (const record of [records[0], batched, single]) {
      expect(record?.subConversationIds).toEqual([older, younger]);
    }
  });

  it('is one statement, however many sandboxes and children its conversations have (D37)', async () => {
    const parent = await insertConversation(connection.database, { createdByUserId: 'cheap' });
    for (let child = 0; child < 5; child++) {
      const sandboxId = await insertSandbox(connection.database);
      await insertConversation(connection.database, {
        createdByUserId: 'cheap',
        parentConversationId: parent,
        sandboxId,
      });
    }
    const statements = await countStatements(async (database) => {
      const { records } = await new ConversationReadModel(database).search(
        ['cheap'],
        { includeSubConversations: true },
        { limit: 100 },
      );
      expect(records).toHaveLength(6);
    });
    expect(statements).toBe(1);
    const batch = await countStatements((database) =>
      new ConversationReadModel(database).batch(['cheap'], [parent]),
    );
    expect(batch).toBe(1);
  });

  it('shows a deleted or unknown sandbox as MISSING', async () => {
    const running = await insertSandbox(connection.database, { status: 'RUNNING' });
    const deleted = await insertSandbox(connection.database, { status: 'RUNNING', deletedAt: new Date() });
    const status = async (sandboxId: string) => {
      const id = await insertConversation(connection.database, { sandboxId });
      return (await conversations.read(null, id))?.sandbox.status;
    };
    expect(await status(running)).toBe('RUNNING');
    expect(await status(deleted)).toBe('MISSING');
    expect(await status('never there')).toBe('MISSING');
  });
});

describe('what belongs to somebody else', () => {
  it('is in no list, count, batch or single read of conversations, start tasks and sandboxes (D7, D28)', async () => {
    const { database } = connection;
    const mine = { createdByUserId: 'ann' };
    const theirs = { createdByUserId: 'bob' };
    const conversation = [
      await insertConversation(database, mine),
      await insertConversation(database, theirs),
    ] as const;
    const sandbox = [await insertSandbox(database, mine), await insertSandbox(database, theirs)] as const;
    const task = [await insertStartTask(database, mine), await insertStartTask(database, theirs)] as const;
    const ann = ['ann'];

    expect(
      (await conversations.search(ann, {}, { limit: 100 })).records.map((r) => r.conversation.id),
    ).toEqual([conversation[0]]);
    expect(await conversations.count(ann, {})).toBe(1);
    const batch = await conversations.batch(ann, [...conversation]);
    expect(batch.map((record) => record?.conversation.id ?? null)).toEqual([conversation[0], null]);
    expect(await conversations.read(ann, conversation[1])).toBeNull();

    expect((await sandboxes.search(ann, { limit: 100 })).records.map((row) => row.id)).toEqual([sandbox[0]]);
    expect((await sandboxes.batch(ann, [...sandbox])).map((row) => row?.id ?? null)).toEqual([
      sandbox[0],
      null,
    ]);
    expect(await sandboxes.read(ann, sandbox[1])).toBeNull();

    expect((await tasks.search(ann, {}, { limit: 100 })).items.map((item) => item.id)).toEqual([task[0]]);
    expect(await tasks.count(ann, {})).toBe(1);
    expect((await tasks.batch(ann, [...task])).map((item) => item?.id ?? null)).toEqual([task[0], null]);

    // Without identities everything is visible.
    expect((await conversations.batch(null, [...conversation])).every((record) => record !== null)).toBe(
      true,
    );
  });

  it('cannot be deleted', async () => {
    const id = await insertConversation(connection.database, { createdByUserId: 'bob' });
    expect(await new ConversationDeletion(connection.database).markDeleted(['ann'], id)).toBeNull();
    expect(await conversations.read(['bob'], id)).not.toBeNull();
  });
});

describe('a list of sandboxes', () => {
  it('shows each of 120 sandboxes of the same instant once, newest ids first, and no deleted one', async () => {
    const values = { createdByUserId: 'hoarder', createdAt: new Date('2026-01-01T00:00:00Z') };
    const ids = await Promise.all(
      Array.from({ length: 120 }, () => insertSandbox(connection.database, values)),
    );
    await insertSandbox(connection.database, { ...values, deletedAt: new Date() });
    const pages = await allPages(async (pageId) => {
      const { records, nextPageId } = await sandboxes.search(['hoarder'], { limit: 100, pageId });
      return { items: records.map((row) => row.id), next: nextPageId };
    });
    expect(pages.map((page) => page.length)).toEqual([100, 20]);
    expect(new Set(pages.flat())).toEqual(new Set(ids));
  });
});

describe('a list of start tasks', () => {
  it('is in each of the four orders complete and without repetition, over equal times', async () => {
    const time = (index: number) => new Date(Date.UTC(2026, 0, 1, 0, 0, Math.floor(index / 4)));
    const ids: string[] = [];
    for (let index = 0; index < 12; index++) {
      ids.push(
        await insertStartTask(connection.database, {
          createdByUserId: 'starter',
          createdAt: time(index),
          updatedAt: time(11 - index),
        }),
      );
    }
    for (const order of [
      'CREATED_AT',
      'CREATED_AT_DESC',
      'UPDATED_AT',
      'UPDATED_AT_DESC',
    ] as StartTaskOrder[]) {
      const member = order.startsWith('CREATED') ? 'created_at' : 'updated_at';
      const pages = await allPages(async (pageId) => {
        const { items, next_page_id: next } = await tasks.search(
          ['starter'],
          {},
          { limit: 5, pageId, order },
        );
        return { items, next };
      });
      const listed = pages.flat();
      expect(new Set(listed.map((task) => task.id))).toEqual(new Set(ids));
      expect(listed).toHaveLength(12);
      const times = listed.map((task) => task[member]);
      const sorted = [...times].sort();
      expect(times).toEqual(order.endsWith('_DESC') ? sorted.reverse() : sorted);
    }
  });

  it('filters by conversation and time, and count agrees', async () => {
    const conversationId = newId();
    const task = await insertStartTask(connection.database, {
      createdByUserId: 'f',
      appConversationId: conversationId,
    });
    await insertStartTask(connection.database, {
      createdByUserId: 'f',
      createdAt: new Date('2020-01-01T00:00:00Z'),
    });
    const byConversation = { conversationId };
    expect((await tasks.search(['f'], byConversation, { limit: 10 })).items.map((item) => item.id)).toEqual([
      task,
    ]);
    expect(await tasks.count(['f'], byConversation)).toBe(1);
    expect(await tasks.count(['f'], { createdAtGte: new Date('2021-01-01T00:00:00Z') })).toBe(1);
    expect(await tasks.count(['f'], {})).toBe(2);
  });

  it('writes times with their zone (D29), members in the order of the contract, ids as it spells them', async () => {
    const conversationId = '0123456789abcdef0123456789abcdef';
    const parent = newId();
    const id = await insertStartTask(connection.database, {
      createdAt: new Date('2026-11-21T22:31:38.158Z'),
      updatedAt: new Date('2026-11-21T22:31:39Z'),
      request: {
        conversation_id: '01234567-89ab-cdef-0123-456789abcdef',
        parent_conversation_id: parent,
        initial_message: {
          run: true,
          content: [{ cache_prompt: false, text: 'hi', type: 'text' }],
          role: 'user',
        },
      },
      conversationId,
    });
    const [task] = await tasks.batch(null, [id]);
    expect(JSON.stringify(task)).toBe(
      `{"id":"${id}","created_by_user_id":null,"status":"READY","detail":null,"app_conversation_id":null,` +
        `"sandbox_id":null,"agent_server_url":null,"request":{"sandbox_id":null,` +
        `"conversation_id":"01234567-89ab-cdef-0123-456789abcdef",` +
        `"initial_message":{"role":"user","content":[{"type":"text","text":"hi","cache_prompt":false}],"run":true},` +
        `"system_message_suffix":null,"processors":null,"llm_model":null,"selected_repository":null,` +
        `"selected_branch":null,"git_provider":null,"suggested_task":null,"title":null,"trigger":null,"pr_number":[],` +
        `"parent_conversation_id":"${parent}","agent_type":"default","public":null,"agent_profile_id":null,` +
        `"plugins":null,"secrets":null},` +
        `"created_at":"2026-11-21T22:31:38.158000Z","updated_at":"2026-11-21T22:31:39Z"}`,
    );
  });
});

describe('a deleted conversation', () => {
  it('takes its sub-conversations, events, callbacks and ended starts out of sight, and nothing else', async () => {
    const { database } = connection;
    const parent = await insertConversation(database, { createdByUserId: 'del' });
    const child = await insertConversation(database, {
      createdByUserId: 'del',
      parentConversationId: parent,
    });
    const grandchild = await insertConversation(database, {
      createdByUserId: 'del',
      parentConversationId: child,
    });
    const other = await insertConversation(database, { createdByUserId: 'del' });
    for (const conversationId of [parent, child, other]) {
      await database.insert(eventIndex).values({
        conversationId,
        eventId: newId(),
        kind: 'MessageEvent',
        timestamp: '2026-01-01T00:00:00Z',
        fileName: 'file',
      });
      await database.insert(eventCallbacks).values({
        id: newId(),
        conversationId,
        processor: { kind: 'LoggingCallbackProcessor' },
        processorKind: 'LoggingCallbackProcessor',
        eventKind: 'MessageEvent',
        status: 'ACTIVE',
        createdAt: new Date(),
        updatedAt: new Date(),
      });
      await insertStartTask(database, {
        createdByUserId: 'del',
        conversationId,
        appConversationId: conversationId,
      });
    }
    const live = await insertStartTask(database, {
      createdByUserId: 'del',
      conversationId: grandchild,
      status: 'STARTING_CONVERSATION',
    });
    const child2 = await insertStartTask(database, {
      createdByUserId: 'del',
      status: 'WORKING',
      request: { parent_conversation_id: parent },
    });

    const deletion = new ConversationDeletion(database);
    const deleted = await deletion.markDeleted(['del'], parent);
    expect(deleted?.conversationIds).toEqual([grandchild, child, parent]);
    expect(new Set(deleted?.liveTaskIds)).toEqual(new Set([live, child2]));

    expect((await pagesOfConversations(['del'], 100, { includeSubConversations: true })).flat()).toEqual([
      other,
    ]);
    const left = await database.select({ id: eventIndex.conversationId }).from(eventIndex);
    expect(left).toEqual([{ id: other }]);
    const callbacks = await database.select({ id: eventCallbacks.conversationId }).from(eventCallbacks);
    expect(callbacks).toEqual([{ id: other }]);
    // Starts under way stay until their cancellation has brought them to ERROR.
    const { items } = await tasks.search(['del'], {}, { limit: 100 });
    expect(new Set(items.map((item) => item.status))).toEqual(
      new Set(['READY', 'STARTING_CONVERSATION', 'WORKING']),
    );
    expect(items).toHaveLength(3);

    expect(await deletion.markDeleted(['del'], parent)).toBeNull();
    expect(await deletion.isDeleted(['del'], parent)).toBe(true);
    expect(await deletion.isDeleted(['somebody'], parent)).toBe(false);
  });

  it('hides a start that reached READY while its conversation was being deleted', async () => {
    const id = await insertConversation(connection.database, {
      createdByUserId: 'race',
      deletedAt: new Date(),
    });
    await insertStartTask(connection.database, {
      createdByUserId: 'race',
      conversationId: id,
      appConversationId: id,
    });
    expect(await tasks.count(['race'], {})).toBe(0);
  });

  it('is also a start that has no conversation yet: it is to be cancelled', async () => {
    const conversationId = newId();
    const task = await insertStartTask(connection.database, {
      createdByUserId: 'early',
      conversationId,
      status: 'WAITING_FOR_SANDBOX',
    });
    const deletion = new ConversationDeletion(connection.database);
    expect(await deletion.markDeleted(['somebody'], conversationId)).toBeNull();
    expect(await deletion.markDeleted(['early'], conversationId)).toEqual({
      conversationIds: [],
      liveTaskIds: [task],
    });
  });
});

describe('lists stay fast', () => {
  it('pages of every list are read along an index', async () => {
    const { database } = connection;
    await database.execute(sql`
      insert into conversations (id, created_by_user_id, sandbox_id, created_at, updated_at)
      select md5('c' || n), 'user' || n % 50, 'box', now() - n * interval '1 minute', now() from generate_series(1, 20000) n`);
    await database.execute(sql`analyze conversations`);
    const plan = async (condition: ReturnType<typeof sql>) => {
      const { rows } = await database.execute<{ 'QUERY PLAN': string }>(sql`
        explain select * from conversations
        where deleted_at is null and parent_conversation_id is null and ${condition}
          and (created_at, id) < (now() - interval '3 hours', 'f')
        order by created_at desc, id desc limit 101`);
      return rows.map((row) => row['QUERY PLAN']).join('\n');
    };
    expect(await plan(sql`true`)).toContain('conversations_created');
    expect(await plan(sql`created_by_user_id in ('user7')`)).toContain('conversations_user_created');
    for (const text of [await plan(sql`true`), await plan(sql`created_by_user_id in ('user7')`)]) {
      expect(text).not.toContain('Sort');
    }
  });
});

/** Number of statements that reach the server. */
async function countStatements(use: (database: Connection['database']) => Promise<unknown>): Promise<number> {
  const { drizzle } = await import('drizzle-orm/node-postgres');
  const schema = await import('../../db/schema/index.js');
  let statements = 0;
  await use(drizzle(connection.pool, { schema, logger: { logQuery: () => (statements += 1) } }));
  return statements;
}
