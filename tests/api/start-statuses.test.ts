import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { StartRequest } from '../../contract/start-task.js';
import { hexId } from '../../contract/ids.js';
import type { Executor } from '../../db/executor.js';
import { startTaskTransitions } from '../../db/schema/index.js';
import { START_TASK_CHANNEL, StartRequestMissing } from '../../db/start-transitions.js';
import { StartEnded } from '../../db/start-occupation.js';
import { StartTaskRepository } from '../../db/start-task-repository.js';
import { SandboxRepository } from '../../db/sandbox-repository.js';
import { eq, sql, type SQL } from 'drizzle-orm';
import pg from 'pg';
import { openTestDatabase } from '../support/database.js';

describe('statuses that follow each other at once', () => {
  let connection: Awaited<ReturnType<typeof openTestDatabase>>;
  let startTasks: StartTaskRepository;
  beforeAll(async () => {
    connection = await openTestDatabase();
    startTasks = new StartTaskRepository(connection.database);
  });
  afterAll(() => connection.close());

  const staged = async (secrets: string | null = null, idempotencyKey: string | null = null) => {
    const result = await startTasks.stage({
      taskId: hexId(randomUUID()),
      conversationId: hexId(randomUUID()),
      createdByUserId: null,
      request: StartRequest.parse({}),
      secrets,
      authority: secrets,
      idempotencyKey,
    });
    return result.taskId;
  };
  const accepted = async (secrets: string | null = null): Promise<string> => {
    const taskId = await staged(secrets);
    await startTasks.accept(taskId);
    return taskId;
  };
  /** What is announced while something is done. */
  const hearing = async (work: () => Promise<void>): Promise<(string | undefined)[]> => {
    const listener = new pg.Client({ connectionString: connection.url });
    await listener.connect();
    const heard: (string | undefined)[] = [];
    listener.on('notification', ({ payload }) => heard.push(payload));
    await listener.query(`listen ${START_TASK_CHANNEL}`);
    await work();
    await listener.query('select 1'); // what was announced before comes with the answer
    await listener.end();
    return heard;
  };
  /** Begins something while somebody holds a row that all of it needs, and goes on when all of it waits for that. */
  const whileHeld = async <Result>(
    held: SQL,
    begin: () => Promise<Result>[],
    then: (tx: Executor) => Promise<unknown> = () => Promise.resolve(),
  ): Promise<PromiseSettledResult<Result>[]> => {
    let waiting: Promise<Result>[] = [];
    await connection.database.transaction(async (tx) => {
      await tx.execute(held);
      waiting = begin();
      for (const each of waiting) each.catch(() => undefined);
      await vi.waitFor(
        async () => {
          const { rows } = await connection.pool.query(
            `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
          );
          expect(rows).toHaveLength(waiting.length);
        },
        { timeout: 30_000 },
      );
      await then(tx);
    });
    return Promise.allSettled(waiting);
  };
  const transitions = (taskId: string) =>
    connection.database
      .select()
      .from(startTaskTransitions)
      .where(eq(startTaskTransitions.taskId, taskId))
      .orderBy(startTaskTransitions.sequence);

  it('are stored one by one, each later than the one before, and the task stands at the last', async () => {
    const taskId = await accepted();
    const agentServerUrl = 'http://127.0.0.1:1';
    await startTasks.passThrough(taskId, ['RUNNING_SETUP_SCRIPT', 'SETTING_UP_SKILLS'], { agentServerUrl });
    const stored = await transitions(taskId);
    expect(stored.map(({ sequence, status }) => [sequence, status])).toEqual([
      [1, 'WORKING'],
      [2, 'RUNNING_SETUP_SCRIPT'],
      [3, 'SETTING_UP_SKILLS'],
    ]);
    const times = stored.map(({ at }) => at.getTime());
    expect(new Set(times).size).toBe(3);
    expect(times).toEqual(times.toSorted((a, b) => a - b));
    const task = await startTasks.read(taskId);
    expect(task).toMatchObject({ status: 'SETTING_UP_SKILLS', agentServerUrl });
    expect(task?.updatedAt).toEqual(stored[2]?.at);
  });

  it('are announced, and lead nowhere back when they are written again', async () => {
    const taskId = await accepted();
    const heard = await hearing(async () => {
      await startTasks.passThrough(taskId, ['PREPARING_REPOSITORY', 'SETTING_UP_SKILLS']);
      await startTasks.passThrough(taskId, ['PREPARING_REPOSITORY', 'SETTING_UP_SKILLS']);
      await startTasks.passThrough(taskId, ['SETTING_UP_SKILLS', 'STARTING_CONVERSATION']);
    });
    expect(heard).toEqual([taskId, taskId]);
    expect((await transitions(taskId)).map(({ status }) => status)).toEqual([
      'WORKING',
      'PREPARING_REPOSITORY',
      'SETTING_UP_SKILLS',
      'STARTING_CONVERSATION',
    ]);
  });

  it('have numbers without a gap, and times that grow, however many are written at once', async () => {
    const taskId = await accepted();
    const answers = await whileHeld<unknown>(
      sql`select from start_tasks where id = ${taskId} for update`,
      () => [
        startTasks.advance(taskId, 'WAITING_FOR_SANDBOX', { sandboxId: `box-${taskId}` }),
        startTasks.advance(taskId, 'PREPARING_REPOSITORY', { agentServerUrl: 'http://127.0.0.1:2' }),
        startTasks.passThrough(taskId, ['SETTING_UP_SKILLS', 'STARTING_CONVERSATION']),
        startTasks.advance(taskId, 'ERROR', { detail: 'called off' }),
        startTasks.advance(taskId, 'READY'),
      ],
    );
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 'fulfilled'));
    const stored = await transitions(taskId);
    expect(stored.map(({ sequence }) => sequence)).toEqual(stored.map((_, index) => index + 1));
    const times = stored.map(({ at }) => at.getTime());
    expect(times).toEqual([...new Set(times)].toSorted((a, b) => a - b));
    const ends = stored.filter(({ status }) => status === 'READY' || status === 'ERROR');
    expect(ends).toEqual([stored.at(-1)]);
    const task = await startTasks.read(taskId);
    expect(task).toMatchObject({ status: ends[0]!.status, updatedAt: ends[0]!.at });
  });

  it('that are the present one, or come after an end, change nothing and are told to nobody', async () => {
    const taskId = await accepted();
    await startTasks.advance(taskId, 'PREPARING_REPOSITORY', { detail: 'first' });
    const before = await startTasks.read(taskId);
    const again = () => startTasks.advance(taskId, 'PREPARING_REPOSITORY', { detail: 'second' });
    expect(await hearing(async () => expect(await again()).toBe('PREPARING_REPOSITORY'))).toEqual([]);
    expect(await startTasks.read(taskId)).toEqual(before);
    await startTasks.advance(taskId, 'READY');
    const ended = await startTasks.read(taskId);
    const heard = await hearing(async () => {
      for (const status of ['ERROR', 'READY', 'STARTING_CONVERSATION'] as const)
        expect(await startTasks.advance(taskId, status, { sandboxId: 'other', detail: 'late' })).toBe(
          'READY',
        );
    });
    expect(heard).toEqual([]);
    expect(await startTasks.read(taskId)).toEqual(ended);
    expect(await transitions(taskId)).toHaveLength(3);
  });

  it('with READY erase what only the start needed, and nothing of another one', async () => {
    const [taskId, other] = [await accepted('sealed'), await accepted('sealed')];
    for (const each of [taskId, other]) await startTasks.putArtifact(each, 'skills', { of: each });
    const fields = { appConversationId: randomUUID(), agentServerUrl: 'http://127.0.0.1:3' };
    expect(
      await hearing(async () => {
        await startTasks.advance(taskId, 'READY', fields);
      }),
    ).toEqual([taskId]);
    expect(await startTasks.read(taskId)).toMatchObject({
      ...fields,
      status: 'READY',
      appConversationId: hexId(fields.appConversationId),
      secrets: null,
      authority: null,
    });
    expect(await startTasks.artifact(taskId, 'skills')).toBeNull();
    expect(await startTasks.read(other)).toMatchObject({ status: 'WORKING', secrets: 'sealed' });
    expect(await startTasks.artifact(other, 'skills')).toEqual({ of: other });
  });

  it('come after no end', async () => {
    const taskId = await accepted();
    await startTasks.advance(taskId, 'ERROR', { detail: 'cancelled' });
    await startTasks.passThrough(taskId, ['STARTING_CONVERSATION']);
    expect((await startTasks.read(taskId))?.status).toBe('ERROR');
    expect(await transitions(taskId)).toHaveLength(2);
  });

  it('of a start that is not known are refused', async () => {
    await expect(startTasks.advance('0'.repeat(32), 'PREPARING_REPOSITORY')).rejects.toThrow(
      StartRequestMissing,
    );
    await expect(startTasks.passThrough('0'.repeat(32), ['SETTING_UP_SKILLS'])).rejects.toThrow(
      StartRequestMissing,
    );
  });

  it('that is over takes no sandbox any more, and none is left that nobody knows of', async () => {
    const taskId = await accepted();
    expect(await startTasks.advance(taskId, 'ERROR', { detail: 'called off' })).toBe('WORKING');
    const made = {
      id: `late-${taskId}`,
      createdByUserId: null,
      specId: 'spec',
      sessionApiKey: 'sealed',
      sessionApiKeyHash: taskId,
      secretKey: 'sealed',
    };
    await expect(startTasks.occupy(taskId, made)).rejects.toThrow(StartEnded);
    expect(await new SandboxRepository(connection.database).read(made.id)).toBeNull();
    expect(await startTasks.read(taskId)).toMatchObject({ status: 'ERROR', sandboxId: null });
  });

  it('takes the sandbox made for it once, however often that is tried, and none of somebody else', async () => {
    const taskId = await accepted();
    const made = {
      id: `own-${taskId}`,
      createdByUserId: null,
      specId: 'spec',
      sessionApiKey: 'sealed',
      sessionApiKeyHash: taskId,
      secretKey: 'sealed',
    };
    expect(await startTasks.occupy(await accepted(), { ...made, createdByUserId: 'eve' })).toBe(true);
    expect(await startTasks.occupy(taskId, made)).toBe(false);
    const another = { ...made, id: `another-${taskId}`, sessionApiKeyHash: `another-${taskId}` };
    expect(await startTasks.occupy(taskId, another)).toBe(true);
    expect(await startTasks.occupy(taskId, another)).toBe(true);
    expect(await startTasks.read(taskId)).toMatchObject({ sandboxId: another.id, ownsSandbox: true });
    const statuses = (await transitions(taskId)).map(({ status }) => status);
    expect(statuses).toEqual(['WORKING', 'WAITING_FOR_SANDBOX']);
  });

  it('begin once, however often a request is accepted at once', async () => {
    const taskId = await staged();
    const heard = await hearing(async () => {
      const answers = await whileHeld(sql`select from start_requests where id = ${taskId} for update`, () => [
        startTasks.accept(taskId),
        startTasks.accept(taskId),
        startTasks.accept(taskId),
      ]);
      const { conversationId } = (await startTasks.read(taskId))!;
      expect(answers.map((answer) => answer.status === 'fulfilled' && answer.value)).toEqual(
        answers.map(() => ({ status: 'WORKING', conversationId })),
      );
    });
    expect(heard).toEqual([taskId]);
    expect((await transitions(taskId)).map(({ sequence, status }) => [sequence, status])).toEqual([
      [1, 'WORKING'],
    ]);
  });

  it('never begin for a request that is withdrawn while it is accepted', async () => {
    const taskId = await staged();
    const [answer] = await whileHeld(
      sql`select from start_requests where id = ${taskId} for update`,
      () => [startTasks.accept(taskId)],
      (tx) => tx.execute(sql`delete from start_requests where id = ${taskId}`),
    );
    expect(answer).toMatchObject({ status: 'rejected', reason: expect.any(StartRequestMissing) as Error });
    expect(await startTasks.read(taskId)).toBeNull();
  });

  it('begin for one of the requests that come at once with the same key', async () => {
    const key = randomUUID();
    const taskIds = await Promise.all(Array.from({ length: 8 }, () => staged(null, key)));
    expect(new Set(taskIds).size).toBe(1);
  });

  it('that wait for nothing cost one statement each', async () => {
    const query = vi.spyOn(pg.Client.prototype, 'query');
    const cost = async <Result>(work: () => Promise<Result>): Promise<Result> => {
      query.mockClear();
      const result = await work();
      expect(query).toHaveBeenCalledTimes(1);
      return result;
    };
    try {
      const taskId = await cost(() => staged('sealed', randomUUID()));
      await cost(() => startTasks.accept(taskId));
      await cost(() => startTasks.accept(taskId));
      const sandbox = {
        id: `cheap-${taskId}`,
        createdByUserId: null,
        specId: 'spec',
        sessionApiKey: 'sealed',
        sessionApiKeyHash: `cheap-${taskId}`,
        secretKey: 'sealed',
      };
      expect(await cost(() => startTasks.occupy(taskId, sandbox))).toBe(true);
      await cost(() => startTasks.keepArtifact(taskId, 'project', {}));
      await cost(() => startTasks.passThrough(taskId, ['PREPARING_REPOSITORY', 'SETTING_UP_SKILLS']));
      await cost(() => startTasks.advance(taskId, 'STARTING_CONVERSATION'));
      await cost(() => startTasks.advance(taskId, 'READY', { appConversationId: randomUUID() }));
    } finally {
      query.mockRestore();
    }
  });
});
