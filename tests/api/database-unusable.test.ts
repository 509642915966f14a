import { connect, createServer } from 'node:net';
import pg from 'pg';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { upgradeDatabase } from '../../cli/database-upgrade.js';
import { connectDatabase, DatabaseUnusable } from '../../db/unusable.js';
import { createEmptyDatabase, type TestDatabase } from '../support/database.js';
import { freePort, listen, stop } from '../support/loopback.js';

let database: TestDatabase;
beforeEach(async () => {
  database = await createEmptyDatabase('unusable');
});
afterEach(() => database.drop());

/** The database's address with something else in it. */
function altered(change: (url: URL) => void): string {
  const url = new URL(database.url);
  url.password = 'hunter2';
  change(url);
  return url.toString();
}

async function refusal(url: string): Promise<DatabaseUnusable> {
  const outcome = await connectDatabase(url).catch((err: unknown) => err);
  if (!(outcome instanceof DatabaseUnusable)) throw new Error('it was let in', { cause: outcome });
  return outcome;
}

describe('a database that cannot be used', () => {
  it('is told in a sentence that says what to do, without the password', async () => {
    const port = await freePort();
    const { host } = new URL(database.url);
    const { message: away, isAway } = await refusal(
      altered((url) => {
        url.hostname = '127.0.0.1';
        url.port = String(port);
      }),
    );
    expect(away).toMatch(
      new RegExp(
        `^The database at 127\\.0\\.0\\.1:${port}/unusable_\\w+ cannot be reached \\(.*ECONNREFUSED.*\\): start it, or correct DATABASE_URL\\.$`,
      ),
    );
    expect(isAway).toBe(true);

    const missing = await refusal(database.url.replace(/\/unusable_\w+/, '/nowhere'));
    expect(missing.message).toBe(
      `The database at ${host}/nowhere is not there (database "nowhere" does not exist): create it, or correct DATABASE_URL.`,
    );
    expect(missing.isAway).toBe(false);

    const stranger = await refusal(altered((url) => (url.username = 'stranger')));
    expect(stranger.message).toMatch(
      /^The database at .* does not let this user in \(.*stranger.*\): correct user and password in DATABASE_URL\.$/,
    );
    expect(stranger.isAway).toBe(false);
    expect(away + stranger.message).not.toContain('hunter2');
  });

  it('is told in the same way when its address means nothing', async () => {
    const { message, isAway } = await refusal('postgres://user:hunter2@[nonsense/db');
    expect(message).toMatch(/^The database at DATABASE_URL cannot be used \(.*\): correct DATABASE_URL\.$/);
    expect(message).not.toContain('hunter2');
    expect(isAway).toBe(false);
  });
});

describe('a database that is started together with what uses it', () => {
  it('is waited for, and upgraded as soon as it answers', async () => {
    const port = await freePort();
    const target = new URL(database.url);
    const url = altered((one) => {
      one.hostname = '127.0.0.1';
      one.port = String(port);
      one.password = target.password;
    });
    const onAway = vi.fn();
    const upgraded = upgradeDatabase({ url, allowNewer: false, onAway });
    await vi.waitFor(() => expect(onAway.mock.calls.length).toBeGreaterThan(1), 90_000);
    const door = createServer((near) => {
      const far = connect(Number(target.port), target.hostname);
      near.pipe(far).pipe(near);
      for (const end of [near, far]) end.on('error', () => [near, far].forEach((socket) => socket.destroy()));
    });
    await listen(door, port);
    try {
      await upgraded;
    } finally {
      await stop(door);
    }
    const client = new pg.Client({ connectionString: database.url });
    await client.connect();
    const { rows } = await client.query("select to_regclass('start_tasks') is not null as there");
    await client.end();
    expect(rows).toEqual([{ there: true }]);
  });

  it('is waited for no longer than wanted, or until nobody wants it any more', async () => {
    const port = await freePort();
    const url = altered((one) => {
      one.hostname = '127.0.0.1';
      one.port = String(port);
    });
    const onAway = vi.fn();
    await expect(upgradeDatabase({ url, allowNewer: false, onAway, patienceMs: 1 })).rejects.toThrow(
      'cannot be reached',
    );
    const asked = new AbortController();
    const waiting = upgradeDatabase({ url, allowNewer: false, onAway, signal: asked.signal });
    await vi.waitFor(() => expect(onAway.mock.calls.length).toBeGreaterThan(2), 90_000);
    asked.abort(new Error('stopped'));
    await expect(waiting).rejects.toThrow('stopped');
  });

  it('is waited for again when it goes in the middle of an upgrade', async () => {
    const holder = await connectDatabase(database.url);
    await holder.query('select pg_advisory_lock(7242019)'); // as another process that migrates
    const onAway = vi.fn();
    const upgraded = upgradeDatabase({ url: database.url, allowNewer: false, onAway });
    await vi.waitFor(async () => {
      const { rowCount } = await holder.query(
        `select pg_terminate_backend(pid) from pg_locks
         where locktype = 'advisory' and not granted and database = (select oid from pg_database where datname = current_database())`,
      );
      expect(rowCount).toBe(1);
    }, 90_000);
    await vi.waitFor(() => expect(onAway).toHaveBeenCalled(), 90_000);
    await holder.end();
    await upgraded;
  });

  it('is not waited for where waiting mends nothing', async () => {
    const onAway = vi.fn();
    const url = database.url.replace(/\/unusable_\w+/, '/nowhere');
    await expect(upgradeDatabase({ url, allowNewer: false, onAway })).rejects.toThrow('is not there');
    expect(onAway).not.toHaveBeenCalled();
  });
});
