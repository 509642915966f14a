import { eq, sql } from 'drizzle-orm';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { ensureMaintenanceSchedule, MAINTENANCE_SCHEDULE } from '../../cli/maintenance-schedule.js';
import { conversationWorkflowId, startTaskWorkflowId, TASK_QUEUE } from '../../contract/ids.js';
import { isTerminal, StartRequest, type StartTask } from '../../contract/start-task.js';
import {
  callbackQueue,
  conversations,
  eventCallbacks,
  sandboxes,
  startRequests,
  startTasks,
} from '../../db/schema/index.js';
import type { MaintenanceReport } from '../../workflows/maintenance.js';
import { MAINTENANCE_WORKFLOW } from '../../workflows/messages.js';
import { openApi, type ApiFixture } from '../support/api-fixture.js';
import { insertConversation, insertSandbox, insertStartTask, newId } from '../support/rows.js';

let api: ApiFixture;
beforeAll(async () => {
  api = await openApi({ deadlines: { accept: 5_000 } });
});
afterEach(() => api.conduct.held.clear());
afterAll(() => api.close());

const minutesAgo = (minutes: number) => new Date(Date.now() - minutes * 60_000);
const daysAgo = (days: number) => minutesAgo(days * 24 * 60);

/** One round, as the schedule starts it. */
const round = (): Promise<MaintenanceReport> =>
  api.temporal.client.workflow.execute(MAINTENANCE_WORKFLOW, {
    workflowId: `maintenance-${newId()}`,
    taskQueue: TASK_QUEUE,
    args: [],
  });
const rowOf = async (id: string) =>
  (await api.database.select().from(startTasks).where(eq(startTasks.id, id)))[0];
const requestOf = async (id: string) =>
  (await api.database.select().from(startRequests).where(eq(startRequests.id, id)))[0];
const age = (id: string, to: Date) =>
  api.database.update(startTasks).set({ updatedAt: to }).where(eq(startTasks.id, id));

/** A start that waits in a phase for as long as the test wants. */
async function startHeldIn(phase: string, status: string, body: object = {}): Promise<StartTask> {
  api.conduct.held.add(phase);
  const { body: task } = await api.call<StartTask>('POST', '/api/v1/app-conversations', {
    user: 'ann',
    body,
  });
  await vi.waitFor(async () => expect((await rowOf(task.id))?.status).toBe(status), 90_000);
  return task;
}

describe('maintenance', () => {
  it('brings a start to ERROR whose workflow was terminated, and gives back the sandbox made for it', async () => {
    const { id } = await startHeldIn('prepareRepository', 'PREPARING_REPOSITORY');
    await api.temporal.client.workflow.getHandle(startTaskWorkflowId(id)).terminate('by the test');
    await round();
    expect((await rowOf(id))?.status).toBe('PREPARING_REPOSITORY'); // too young: it may be ending by itself
    await age(id, minutesAgo(3));
    expect((await round()).sweeps['starts']).toMatchObject({ failed: 1 });
    const task = await rowOf(id);
    expect(task).toMatchObject({ status: 'ERROR' });
    expect(task?.detail).toBe(
      'The workflow of this start was terminated by hand; it had come to PREPARING_REPOSITORY. Try the start again.',
    );
    await vi.waitFor(async () => {
      const [box] = await api.database.select().from(sandboxes).where(eq(sandboxes.id, task!.sandboxId!));
      expect(box).toMatchObject({ status: 'MISSING', deletedAt: expect.any(Date) as Date });
    }, 90_000);
    api.conduct.held.clear();
    const again = await api.call<StartTask>('POST', `/api/v1/app-conversations/start-tasks/${id}/retry`, {
      user: 'ann',
    });
    await vi.waitFor(async () => expect((await rowOf(again.body.id))?.status).toBe('READY'), 90_000);
  });

  it('keeps a sandbox that was given, and takes the conversation out of it', async () => {
    const box = await insertSandbox(api.database, {
      createdByUserId: 'ann',
      agentServerUrl: api.agentServer.url,
    });
    const { id } = await startHeldIn('createConversation', 'STARTING_CONVERSATION', { sandbox_id: box });
    await api.temporal.client.workflow.getHandle(startTaskWorkflowId(id)).terminate('by the test');
    await age(id, minutesAgo(3));
    await round();
    expect((await rowOf(id))?.status).toBe('ERROR');
    expect(api.conduct.discarded).toContain(id);
    const [row] = await api.database.select().from(sandboxes).where(eq(sandboxes.id, box));
    expect(row).toMatchObject({ status: 'RUNNING', deletedAt: null });
  });

  it('says so when Temporal does not know a start any more', async () => {
    const id = await insertStartTask(api.database, { status: 'WORKING', updatedAt: minutesAgo(3) });
    await round();
    expect((await rowOf(id))?.detail).toMatch(/^The workflow service does not know this start any more/);
  });

  it('leaves a start alone that is under way, however long it takes', async () => {
    const { id } = await startHeldIn('prepareRepository', 'PREPARING_REPOSITORY');
    await age(id, minutesAgo(40));
    expect((await round()).sweeps['starts']).toMatchObject({ failed: 0, cancelled: 0 });
    expect((await rowOf(id))?.status).toBe('PREPARING_REPOSITORY');
    api.conduct.held.clear();
    await vi.waitFor(async () => expect(isTerminal((await rowOf(id))!.status)).toBe(true), 90_000);
    expect((await rowOf(id))?.status).toBe('READY');
  });

  it('cancels a start whose conversation was deleted while nobody could be told', async () => {
    const { id } = await startHeldIn('prepareRepository', 'PREPARING_REPOSITORY');
    const { conversationId } = (await rowOf(id))!;
    await insertConversation(api.database, { id: conversationId, deletedAt: minutesAgo(3) });
    await age(id, minutesAgo(3));
    expect((await round()).sweeps['starts']).toMatchObject({ cancelled: 1 });
    await vi.waitFor(async () => expect((await rowOf(id))?.detail).toBe('cancelled'), 90_000);
  });

  it('forgets requests that never became a start, and none that may still become one', async () => {
    const stage = async (createdAt: Date, supersedes: string | null = null) => {
      const id = newId();
      const request = StartRequest.parse({});
      await api.database
        .insert(startRequests)
        .values({ id, conversationId: newId(), request, createdAt, supersedes });
      return id;
    };
    const failed = await insertStartTask(api.database, { status: 'ERROR' });
    await api.database
      .update(startRequests)
      .set({ supersededAt: new Date() })
      .where(eq(startRequests.id, failed));
    const old = await stage(minutesAgo(61), failed);
    const young = await stage(minutesAgo(10));
    const accepted = await insertStartTask(api.database, {}); // as version 0.1.0 has left it: without the mark
    await api.database
      .update(startRequests)
      .set({ createdAt: minutesAgo(61), acceptedAt: null })
      .where(eq(startRequests.id, accepted));
    expect((await round()).sweeps['starts']).toMatchObject({ forgotten: 1 });
    expect(await requestOf(old)).toBeUndefined();
    expect(await requestOf(young)).toBeDefined();
    expect((await requestOf(accepted))?.acceptedAt).not.toBeNull();
    expect((await requestOf(failed))?.supersededAt).toBeNull(); // it can be tried again
  });

  it('finishes the deletion of conversations whose actor was never told, and no other', async () => {
    const deleted = await insertConversation(api.database, { deletedAt: minutesAgo(11) });
    const justNow = await insertConversation(api.database, { deletedAt: minutesAgo(1) });
    const purged = await insertConversation(api.database, {
      deletedAt: minutesAgo(11),
      purgedAt: minutesAgo(5),
    });
    const alive = await insertConversation(api.database);
    await round();
    await vi.waitFor(() => expect(api.deletions.deleted).toContain(deleted), 90_000);
    for (const id of [justNow, purged, alive]) expect(api.deletions.deleted).not.toContain(id);
  });

  it('wakes a conversation for callbacks that nobody works on', async () => {
    const id = await insertConversation(api.database);
    const callbackId = newId();
    const now = new Date();
    await api.database.insert(eventCallbacks).values({
      id: callbackId,
      conversationId: id,
      processor: { kind: 'LoggingCallbackProcessor' },
      processorKind: 'LoggingCallbackProcessor',
      eventKind: 'MessageEvent',
      status: 'ACTIVE',
      createdAt: now,
      updatedAt: now,
    });
    await api.database.insert(callbackQueue).values({ callbackId, conversationId: id, eventId: newId() });
    expect((await round()).sweeps['conversations']).toMatchObject({ woken: 1 });
    await api.temporal.client.workflow.getHandle(conversationWorkflowId(id)).result();
    await api.database.delete(callbackQueue).where(eq(callbackQueue.conversationId, id));
  });

  it('erases secrets of failed starts after a day, and removes what ended long ago', async () => {
    const withSecrets = async (values: Parameters<typeof insertStartTask>[1], createdAt: Date) => {
      const id = await insertStartTask(api.database, values);
      await api.database
        .update(startRequests)
        .set({ secrets: 'sealed', createdAt })
        .where(eq(startRequests.id, id));
      return id;
    };
    const yesterday = await withSecrets({ status: 'ERROR', updatedAt: daysAgo(2) }, daysAgo(2));
    const today = await withSecrets({ status: 'ERROR' }, daysAgo(2));
    const old = await insertStartTask(api.database, { updatedAt: daysAgo(91) });
    const younger = await insertStartTask(api.database, { updatedAt: daysAgo(89) });
    const oldMark = await insertConversation(api.database, { deletedAt: daysAgo(92), purgedAt: daysAgo(91) });
    const oldBox = await insertSandbox(api.database, { status: 'MISSING', deletedAt: daysAgo(91) });
    const usedBox = await insertSandbox(api.database, { status: 'MISSING', deletedAt: daysAgo(91) });
    await insertConversation(api.database, { sandboxId: usedBox });
    expect((await round()).sweeps['expiry']).toEqual({
      secretsErased: 1,
      startsRemoved: 1,
      conversationsRemoved: 1,
      sandboxesRemoved: 1,
    });
    expect((await requestOf(yesterday))?.secrets).toBeNull();
    expect((await requestOf(today))?.secrets).toBe('sealed');
    expect(await requestOf(old)).toBeUndefined();
    expect(await rowOf(younger)).toBeDefined();
    const marks = await api.database.select().from(conversations).where(eq(conversations.id, oldMark));
    expect(marks).toEqual([]);
    const boxes = await api.database
      .select({ id: sandboxes.id })
      .from(sandboxes)
      .where(sql`${sandboxes.id} in (${oldBox}, ${usedBox})`);
    expect(boxes).toEqual([{ id: usedBox }]);
  });

  it('reports a host that is away, sweeps the others, and keeps a small history', async () => {
    const away = await insertSandbox(api.database, { hostId: 'host-that-is-away', status: 'PAUSED' });
    await insertSandbox(api.database, { hostId: 'host-of-the-tests', status: 'PAUSED' });
    const handle = await api.temporal.client.workflow.start(MAINTENANCE_WORKFLOW, {
      workflowId: `maintenance-${newId()}`,
      taskQueue: TASK_QUEUE,
      args: [],
    });
    const { hosts } = (await handle.result()) as MaintenanceReport;
    expect(hosts).toMatchObject({ 'host-that-is-away': 'away', 'host-of-the-tests': { orphansRemoved: 0 } });
    expect((await handle.describe()).historyLength).toBeLessThanOrEqual(60);
    await api.database.delete(sandboxes).where(eq(sandboxes.id, away));
  });
});

describe('the schedule of maintenance', () => {
  const describeSchedule = () => api.temporal.client.schedule.getHandle(MAINTENANCE_SCHEDULE).describe();

  it('is made once, follows a changed interval, runs the workflow, and goes when it is turned off', async () => {
    const { client } = api.temporal;
    await Promise.all([1, 2, 3].map(() => ensureMaintenanceSchedule(client, { intervalMinutes: 5 })));
    expect((await describeSchedule()).spec.intervals).toMatchObject([{ every: 300_000 }]);
    const handle = client.schedule.getHandle(MAINTENANCE_SCHEDULE);
    await handle.pause('by an operator');
    await ensureMaintenanceSchedule(client, { intervalMinutes: 7 });
    const changed = await describeSchedule();
    expect(changed.spec.intervals).toMatchObject([{ every: 420_000 }]);
    expect(changed.state.paused).toBe(true);
    await handle.unpause();
    await handle.trigger();
    const workflowId = await vi.waitFor(async () => {
      const [action] = (await describeSchedule()).info.recentActions;
      expect(action?.action.type).toBe('startWorkflow');
      return action!.action.workflow.workflowId;
    }, 90_000);
    expect(await client.workflow.getHandle(workflowId).result()).toHaveProperty('sweeps.starts');
    await ensureMaintenanceSchedule(client, { intervalMinutes: 0 });
    await expect(describeSchedule()).rejects.toThrow();
    await ensureMaintenanceSchedule(client, { intervalMinutes: 0 });
  });
});
