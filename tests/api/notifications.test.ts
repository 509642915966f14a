import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { createNotificationHub, SANDBOX_CHANNEL, START_TASK_CHANNEL } from '../../db/notifications.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';

const quiet = { info: () => undefined, warn: () => undefined };

describe('database notifications', () => {
  let database: TestDatabase;
  let admin: pg.Client;
  beforeAll(async () => {
    database = await createTestDatabase();
    admin = new pg.Client({ connectionString: database.url });
    await admin.connect();
  });
  afterAll(async () => {
    await admin.end();
    await database.drop();
  });

  const notify = (channel: string, id: string) => admin.query('select pg_notify($1, $2)', [channel, id]);
  const hangUp = () =>
    admin.query(`select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and application_name = 'callboard notifications'`);

  it('wake those who wait for that thing, and nobody else', async () => {
    const hub = createNotificationHub({ url: database.url, logger: quiet });
    await hub.listening();
    const woken = { task: vi.fn(), again: vi.fn(), other: vi.fn(), sandbox: vi.fn(), left: vi.fn() };
    hub.subscribe(START_TASK_CHANNEL, 'one', woken.task);
    hub.subscribe(START_TASK_CHANNEL, 'one', woken.again);
    hub.subscribe(START_TASK_CHANNEL, 'two', woken.other);
    hub.subscribe(SANDBOX_CHANNEL, 'one', woken.sandbox);
    hub.subscribe(START_TASK_CHANNEL, 'one', woken.left)();
    await notify(START_TASK_CHANNEL, 'one');
    await vi.waitFor(() => expect(woken.again).toHaveBeenCalledTimes(1), 90_000);
    await notify(SANDBOX_CHANNEL, 'one');
    await vi.waitFor(() => expect(woken.sandbox).toHaveBeenCalledTimes(1), 90_000);
    expect(woken.task).toHaveBeenCalledTimes(1);
    expect(woken.other).not.toHaveBeenCalled();
    expect(woken.left).not.toHaveBeenCalled();
    await hub.stop();
  });

  it('wake everybody after a lost connection is back, for something may have been missed', async () => {
    const warnings: string[] = [];
    const hub = createNotificationHub({
      url: database.url,
      logger: { info: () => undefined, warn: (_fields, message) => warnings.push(message) },
    });
    await hub.listening();
    const wakes = [vi.fn(), vi.fn()] as const;
    hub.subscribe(START_TASK_CHANNEL, 'one', wakes[0]);
    hub.subscribe(SANDBOX_CHANNEL, 'two', wakes[1]);
    await hangUp();
    await vi.waitFor(() => wakes.forEach((wake) => expect(wake).toHaveBeenCalledTimes(1)), 90_000);
    expect(warnings).toEqual(['database notifications are interrupted']);
    await notify(SANDBOX_CHANNEL, 'two');
    await vi.waitFor(() => expect(wakes[1]).toHaveBeenCalledTimes(2), 90_000);
    await hub.stop();
  });

  it('are heard as soon as a server that was away answers, and those who came meanwhile are woken', async () => {
    const late = await createTestDatabase();
    await late.drop();
    const hub = createNotificationHub({ url: late.url, logger: quiet });
    const wake = vi.fn();
    hub.subscribe(START_TASK_CHANNEL, 'one', wake);
    await admin.query(`create database ${new URL(late.url).pathname.slice(1)} template callboard_template`);
    await hub.listening();
    await vi.waitFor(() => expect(wake).toHaveBeenCalledTimes(1), 90_000);
    await hub.stop();
    await late.drop();
  });

  it('survive a subscriber that throws', async () => {
    const hub = createNotificationHub({ url: database.url, logger: quiet });
    await hub.listening();
    const wake = vi.fn();
    hub.subscribe(START_TASK_CHANNEL, 'one', () => {
      throw new Error('a defect');
    });
    hub.subscribe(START_TASK_CHANNEL, 'one', wake);
    await notify(START_TASK_CHANNEL, 'one');
    await vi.waitFor(() => expect(wake).toHaveBeenCalledTimes(1), 90_000);
    await hub.stop();
  });

  it('end with the hub, which can be stopped in every state', async () => {
    const hub = createNotificationHub({ url: database.url, logger: quiet });
    await hub.stop(); // while it connects
    const unreachable = createNotificationHub({ url: 'postgres://nobody@127.0.0.1:1/none', logger: quiet });
    await unreachable.stop();
    const connected = createNotificationHub({ url: database.url, logger: quiet });
    await connected.listening();
    await connected.stop();
    await vi.waitFor(async () => {
      const { rows } = await admin.query<{ count: string }>(
        `select count(*) from pg_stat_activity
         where datname = current_database() and application_name = 'callboard notifications'`,
      );
      expect(rows[0]?.count).toBe('0');
    }, 90_000);
  });
});
