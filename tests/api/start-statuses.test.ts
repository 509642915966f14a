import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { StartRequest } from '../../contract/start-task.js';
import { hexId } from '../../contract/ids.js';
import { startTaskTransitions } from '../../db/schema/index.js';
import { START_TASK_CHANNEL, StartRequestMissing } from '../../db/start-transitions.js';
import { StartEnded, StartTaskRepository } from '../../db/start-task-repository.js';
import { SandboxRepository } from '../../db/sandbox-repository.js';
import { eq } from 'drizzle-orm';
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

  const accepted = async (): Promise<string> => {
    const taskId = hexId(randomUUID());
    await startTasks.stage({
      taskId,
      conversationId: hexId(randomUUID()),
      createdByUserId: null,
      request: StartRequest.parse({}),
      secrets: null,
      idempotencyKey: null,
    });
    await startTasks.accept(taskId);
    return taskId;
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
    const listener = new pg.Client({ connectionString: connection.url });
    await listener.connect();
    const heard: (string | undefined)[] = [];
    listener.on('notification', ({ payload }) => heard.push(payload));
    await listener.query(`listen ${START_TASK_CHANNEL}`);
    await startTasks.passThrough(taskId, ['PREPARING_REPOSITORY', 'SETTING_UP_SKILLS']);
    await startTasks.passThrough(taskId, ['PREPARING_REPOSITORY', 'SETTING_UP_SKILLS']);
    await startTasks.passThrough(taskId, ['SETTING_UP_SKILLS', 'STARTING_CONVERSATION']);
    await listener.query('select 1'); // what was announced before comes with the answer
    await listener.end();
    expect(heard).toEqual([taskId, taskId]);
    expect((await transitions(taskId)).map(({ status }) => status)).toEqual([
      'WORKING',
      'PREPARING_REPOSITORY',
      'SETTING_UP_SKILLS',
      'STARTING_CONVERSATION',
    ]);
  });

  it('come after no end', async () => {
    const taskId = await accepted();
    await startTasks.advance(taskId, 'ERROR', { detail: 'cancelled' });
    await startTasks.passThrough(taskId, ['STARTING_CONVERSATION']);
    expect((await startTasks.read(taskId))?.status).toBe('ERROR');
    expect(await transitions(taskId)).toHaveLength(2);
  });

  it('of a start that is not known are refused', async () => {
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
});
