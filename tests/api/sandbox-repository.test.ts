import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { DatabaseConnection } from '../../db/database.js';
import { SANDBOX_CHANNEL, SandboxRepository } from '../../db/sandbox-repository.js';
import { openTestDatabase } from '../support/database.js';
import { insertSandbox, newId } from '../support/rows.js';

let connection: DatabaseConnection;
let sandboxes: SandboxRepository;
beforeAll(async () => {
  connection = await openTestDatabase();
  sandboxes = new SandboxRepository(connection.database);
});
afterAll(() => connection.close());

describe('the row of a sandbox', () => {
  it('refuses what a worker that was frozen writes after somebody else', async () => {
    const id = await insertSandbox(connection.database, { status: 'RUNNING' });
    await sandboxes.setStatus(id, 'PAUSED', { revision: 1_000 });
    await sandboxes.setStatus(id, 'RUNNING', { revision: 1_001, agentServerUrl: 'http://new' });
    await sandboxes.setStatus(id, 'PAUSED', {
      revision: 1_000,
      agentServerUrl: 'http://old',
      detail: 'late',
    });
    expect(await sandboxes.read(id)).toMatchObject({
      status: 'RUNNING',
      agentServerUrl: 'http://new',
      detail: null,
    });
    // The same again is no harm: an answer may get lost, and the write be repeated.
    await sandboxes.setStatus(id, 'ERROR', { revision: 1_001 });
    expect((await sandboxes.read(id))?.status).toBe('ERROR');
  });

  it('stays deleted, whoever writes late', async () => {
    const id = await insertSandbox(connection.database, { status: 'RUNNING' });
    await sandboxes.markDeleted(id);
    await sandboxes.setStatus(id, 'RUNNING', { revision: Date.now() + 60_000 });
    expect((await sandboxes.read(id))?.status).toBe('MISSING');
  });

  it('announces what was written, and nothing that was refused', async () => {
    const [late, there] = [
      await insertSandbox(connection.database, { statusRevision: 1_000 }),
      await insertSandbox(connection.database),
    ];
    const listener = await connection.pool.connect();
    try {
      const heard: (string | undefined)[] = [];
      listener.on('notification', ({ payload }) => heard.push(payload));
      await listener.query(`listen ${SANDBOX_CHANNEL}`);
      const before = await sandboxes.read(late);
      await sandboxes.setStatus(late, 'PAUSED', { revision: 999 });
      await sandboxes.setStatus(newId(), 'PAUSED');
      await sandboxes.setStatus(there, 'PAUSED');
      await expect.poll(() => heard, { timeout: 90_000 }).toContain(there);
      expect(heard).toEqual([there]); // they come in the order of their commits
      expect(await sandboxes.read(late)).toEqual(before);
    } finally {
      listener.release(true);
    }
  });
});

describe('the owner of a sandbox', () => {
  it('is the first host that claims it', async () => {
    const id = await insertSandbox(connection.database, { status: 'STARTING' });
    const claims = await Promise.all(['one', 'two', 'one'].map((host) => sandboxes.claim(id, host)));
    const owner = (await sandboxes.read(id))?.hostId;
    expect(['one', 'two']).toContain(owner);
    expect(claims).toEqual(Array(3).fill(await sandboxes.read(id)));
  });

  it('is nobody new once it was deleted', async () => {
    const id = await insertSandbox(connection.database, { status: 'STARTING' });
    await sandboxes.hide(id);
    expect(await sandboxes.claim(id, 'one')).toBeNull();
    expect((await sandboxes.read(id))?.hostId).toBeNull();
    expect(await sandboxes.claim(newId(), 'one')).toBeNull();
  });
});

describe('the lease of a port', () => {
  it('is replaced by the next one of the same sandbox on that host, and of no other', async () => {
    const [host, other, id, neighbour] = [newId(), newId(), newId(), newId()];
    expect(await sandboxes.leasePort(host, 1, id)).toBe(true);
    expect(await sandboxes.leasePort(host, 2, neighbour)).toBe(true);
    expect(await sandboxes.leasePort(other, 1, id)).toBe(true);
    expect(await sandboxes.leases(host, id)).toEqual({ own: 1, all: new Set([1, 2]) });
    expect(await sandboxes.leasePort(host, 3, id)).toBe(true);
    expect(await sandboxes.leasePort(host, 3, id)).toBe(true); // the same again is no harm
    expect(await sandboxes.leases(host, id)).toEqual({ own: 3, all: new Set([2, 3]) });
    expect(await sandboxes.leases(host, neighbour)).toEqual({ own: 2, all: new Set([2, 3]) });
    expect(await sandboxes.leases(other, id)).toEqual({ own: 1, all: new Set([1]) });
    expect(await sandboxes.leases(host, newId())).toEqual({ own: null, all: new Set([2, 3]) });
  });

  it('that another one holds is refused, and the earlier one stays', async () => {
    const [host, id, neighbour] = [newId(), newId(), newId()];
    await sandboxes.leasePort(host, 1, neighbour);
    expect(await sandboxes.leasePort(host, 1, id)).toBe(false);
    await sandboxes.leasePort(host, 2, id);
    expect(await sandboxes.leasePort(host, 1, id)).toBe(false);
    expect(await sandboxes.leases(host, id)).toEqual({ own: 2, all: new Set([1, 2]) });
  });

  it('is given to a sandbox without one; one that has one keeps it', async () => {
    const [host, id, neighbour] = [newId(), newId(), newId()];
    expect(await sandboxes.leaseFirst(host, 1, neighbour)).toBe(1);
    expect(await sandboxes.leaseFirst(host, 1, id)).toBeNull();
    expect(await sandboxes.leaseFirst(host, 2, id)).toBe(2);
    expect(await sandboxes.leaseFirst(host, 2, id)).toBe(2);
    expect(await sandboxes.leaseFirst(host, 3, id)).toBe(2);
    expect(await sandboxes.leases(host, id)).toEqual({ own: 2, all: new Set([1, 2]) });
    expect(await sandboxes.leaseFirst(newId(), 1, id)).toBe(1);
  });

  it('is given to one of many that want their first at once', async () => {
    const host = newId();
    const given = await Promise.all(Array.from({ length: 8 }, () => sandboxes.leaseFirst(host, 1, newId())));
    expect(given.filter((port) => port === 1)).toHaveLength(1);
    expect(given.filter((port) => port === null)).toHaveLength(7);
  });

  it('is the same for all who ask at once for the first one of a sandbox', async () => {
    const [host, id] = [newId(), newId()];
    const ports = Array.from({ length: 8 }, (_, port) => port + 1);
    const given = new Set(await Promise.all(ports.map((port) => sandboxes.leaseFirst(host, port, id))));
    expect(given.size).toBe(1);
    expect((await sandboxes.leases(host, id)).all).toEqual(given);
  });

  it('goes to one of many that want it at once', async () => {
    const host = newId();
    const taken = await Promise.all(Array.from({ length: 8 }, () => sandboxes.leasePort(host, 1, newId())));
    expect(taken.filter(Boolean)).toHaveLength(1);
  });

  it('is one per sandbox, however many are asked for at once', async () => {
    const [host, id] = [newId(), newId()];
    await Promise.all(Array.from({ length: 8 }, (_, port) => sandboxes.leasePort(host, port + 1, id)));
    expect((await sandboxes.leases(host, id)).all.size).toBe(1);
  });

  it('fails for another reason as what it is', async () => {
    await expect(sandboxes.leasePort(newId(), 2 ** 40, newId())).rejects.toThrow();
  });
});

describe('the activity of a sandbox that posts webhooks', () => {
  it.each([
    [5_000, false],
    [11_000, true],
  ])('%d ms after it was noted is due to be noted: %s', async (ago, isDue) => {
    const lastActiveAt = new Date(Date.now() - ago);
    const hash = newId();
    const id = await insertSandbox(connection.database, { lastActiveAt, sessionApiKeyHash: hash });
    const poster = await sandboxes.findPoster(hash);
    expect(performance.now() >= poster!.touchDueAt).toBe(isDue);
    const { touchDueAt: _dueAt, ...row } = poster!;
    expect(row).toEqual(await sandboxes.read(id));
    await sandboxes.touch(id);
    expect((await sandboxes.read(id))!.lastActiveAt > lastActiveAt).toBe(isDue);
  });
});
