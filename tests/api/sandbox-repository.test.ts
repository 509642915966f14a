import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { DatabaseConnection } from '../../db/database.js';
import { SandboxRepository } from '../../db/sandbox-repository.js';
import { openTestDatabase } from '../support/database.js';
import { insertSandbox } from '../support/rows.js';

describe('the row of a sandbox', () => {
  let connection: DatabaseConnection;
  let sandboxes: SandboxRepository;
  beforeAll(async () => {
    connection = await openTestDatabase();
    sandboxes = new SandboxRepository(connection.database);
  });
  afterAll(() => connection.close());

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
});
