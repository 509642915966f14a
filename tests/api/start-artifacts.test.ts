import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { StartTaskRepository } from '../../db/start-task-repository.js';
import { withSealedArtifacts } from '../../identity/sealed-artifacts.js';
import { Vault } from '../../identity/vault.js';
import { openTestDatabase } from '../support/database.js';
import { insertStartTask } from '../support/rows.js';

describe('what a phase of a start keeps for the next ones', () => {
  let connection: Awaited<ReturnType<typeof openTestDatabase>>;
  beforeAll(async () => {
    connection = await openTestDatabase();
  });
  afterAll(() => connection.close());

  it('is sealed, and decided once by whoever comes first', async () => {
    const taskId = await insertStartTask(connection.database);
    const stored = new StartTaskRepository(connection.database);
    const artifacts = withSealedArtifacts(
      stored,
      new Vault([{ id: 'test', secret: new Uint8Array(32).fill(7) }]),
    );
    const answers = await Promise.all(
      ['/one', '/two', '/three'].map((directory) => artifacts.keepArtifact(taskId, 'project', { directory })),
    );
    const kept = await artifacts.artifact(taskId, 'project');
    expect(answers).toEqual([kept, kept, kept]);
    expect(await artifacts.keepArtifact(taskId, 'project', { directory: '/late' })).toEqual(kept);
    expect(JSON.stringify(await stored.artifact(taskId, 'project'))).not.toContain('directory');
  });

  it('may be something else later where a phase says so', async () => {
    const taskId = await insertStartTask(connection.database);
    const startTasks = new StartTaskRepository(connection.database);
    await startTasks.keepArtifact(taskId, 'skills', ['first']);
    await startTasks.putArtifact(taskId, 'skills', ['second']);
    expect(await startTasks.keepArtifact(taskId, 'skills', ['third'])).toEqual(['second']);
  });
});
