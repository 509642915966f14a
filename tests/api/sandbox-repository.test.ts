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
