import { Client } from '@temporalio/client';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { Worker, type WorkflowBundleWithSourceMap } from '@temporalio/worker';
import { eq } from 'drizzle-orm';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { listKeys, removeKey, rewrapRows, rotateKeys, type KeyUses } from '../../cli/keys/key-orders.js';
import { openWorkflowsByKey } from '../../cli/keys/open-workflows.js';
import { sandboxWorkflowId } from '../../contract/ids.js';
import { applySettingsUpdate } from '../../contract/settings.js';
import { SandboxRepository } from '../../db/sandbox-repository.js';
import { SealedValues } from '../../db/sealed-values.js';
import { StartTaskRepository } from '../../db/start-task-repository.js';
import { startRequests } from '../../db/schema/index.js';
import { AccessTokens, InvalidAccessToken } from '../../identity/access-token.js';
import { encryptedData } from '../../identity/data-converter.js';
import type { KeyRing } from '../../identity/key-ring.js';
import { openKeyRing } from '../../identity/keys.js';
import { createSandboxRow } from '../../identity/new-sandbox.js';
import { withSealedArtifacts } from '../../identity/sealed-artifacts.js';
import { SecretsStore } from '../../identity/secrets-store.js';
import { SettingsStore } from '../../identity/settings-store.js';
import { purposes, Vault } from '../../identity/vault.js';
import {
  ensureRunningUpdate,
  SANDBOX_WORKFLOW,
  sandboxStateQuery,
  sandboxUpdate,
} from '../../workflows/messages.js';
import { openTestDatabase } from '../support/database.js';
import { FakeHost } from '../support/fake-host.js';
import { insertStartTask } from '../support/rows.js';
import { bundleWorkflows, connectTemporal, uniqueTaskQueue } from '../support/temporal.js';
import { hostTaskQueue, PLACEMENT_TASK_QUEUE } from '../../contract/ids.js';

/** 32 bytes; one in sixty is small enough for a digit less. */
const RANDOM_KEY = /^[0-9A-Za-z]{40,43}$/;

/** Everything that is made from the keys, as a process makes it when it starts. */
interface Process {
  ring: KeyRing;
  vault: Vault;
  secrets: SecretsStore;
  settings: SettingsStore;
  tokens: AccessTokens;
  client: Client;
  stop(): Promise<void>;
}

describe('a rotation of the master keys', () => {
  let dataDirectory: string;
  let connection: Awaited<ReturnType<typeof openTestDatabase>>;
  let temporal: TestWorkflowEnvironment;
  let workflowBundle: WorkflowBundleWithSourceMap;
  let uses: KeyUses;
  const taskQueue = uniqueTaskQueue();
  const host = new FakeHost(`host-${randomUUID()}`);
  const sandboxId = randomUUID();
  const taskId = randomUUID().replaceAll('-', '');
  let lines: string[] = [];
  const print = (line: string) => void lines.push(line);

  const places = () => ({ secret: null, dataDirectory });

  async function startProcess(): Promise<Process> {
    const problems: unknown[] = [];
    const ring = await openKeyRing(places(), (error) => problems.push(error));
    const vault = new Vault(ring);
    const { database } = connection;
    const dataConverter = encryptedData(ring);
    const namespace = temporal.namespace ?? 'default';
    const client = new Client({ connection: temporal.connection, namespace, dataConverter });
    const common = {
      connection: temporal.nativeConnection,
      namespace,
      dataConverter,
      maxCachedWorkflows: 10,
    };
    const workers = await Promise.all([
      Worker.create({ ...common, taskQueue, workflowBundle, activities: host.rowActivities }),
      Worker.create({ ...common, taskQueue: PLACEMENT_TASK_QUEUE, activities: host.hostActivities }),
      Worker.create({ ...common, taskQueue: hostTaskQueue(host.hostId), activities: host.hostActivities }),
    ]);
    const runs = workers.map((worker) => worker.run());
    return {
      ring,
      vault,
      client,
      secrets: new SecretsStore(database, vault),
      settings: new SettingsStore({ database, vault }),
      tokens: new AccessTokens(ring),
      async stop() {
        for (const worker of workers) worker.shutdown();
        await Promise.all(runs);
        expect(problems).toEqual([]);
      },
    };
  }

  beforeAll(async () => {
    dataDirectory = await mkdtemp(join(tmpdir(), 'callboard-rotation-'));
    [connection, temporal, workflowBundle] = await Promise.all([
      openTestDatabase(),
      connectTemporal(),
      bundleWorkflows(),
    ]);
    uses = {
      values: new SealedValues(connection.database),
      openWorkflows: () => openWorkflowsByKey(temporal.client),
    };
  });
  afterAll(async () => {
    await temporal.teardown();
    await connection.close();
    await rm(dataDirectory, { recursive: true, force: true });
  });

  /** Writes one of everything that is sealed. */
  async function fill({ vault, secrets, settings, client }: Process): Promise<void> {
    const { database } = connection;
    await createSandboxRow(
      { vault, sandboxes: new SandboxRepository(database) },
      { id: sandboxId, userId: null, specId: 'spec' },
    );
    await secrets.putCustom(null, { name: 'CUSTOM', value: 'custom value' });
    await secrets.replaceProviderTokens(
      null,
      new Map([['github', { token: 'provider token', host: null, userId: null }]]),
    );
    await settings.update(null, (stored) =>
      applySettingsUpdate(stored, { agent_settings_diff: { llm: { api_key: 'model key' } } }),
    );
    await insertStartTask(database, { id: taskId, status: 'WORKING' });
    const sealed = await vault.seal(purposes.startSecrets(taskId), '{"A":"start secret"}');
    await database.update(startRequests).set({ secrets: sealed }).where(eq(startRequests.id, taskId));
    const startTasks = new StartTaskRepository(database);
    await withSealedArtifacts(startTasks, vault).putArtifact(taskId, 'skills', ['an artifact']);
    expect(JSON.stringify(await startTasks.artifact(taskId, 'skills'))).not.toContain('an artifact');
    const handle = await client.workflow.start(SANDBOX_WORKFLOW, {
      workflowId: sandboxWorkflowId(sandboxId),
      taskQueue,
      args: [{ sandboxId, status: 'STARTING' }],
    });
    await handle.executeUpdate(ensureRunningUpdate);
    // Temporal's list of open workflows comes a moment after them.
    await vi.waitFor(async () => expect((await openWorkflowsByKey(client)).size).toBe(1), 30_000);
  }

  async function expectAllRows({ vault, secrets, settings }: Process): Promise<void> {
    const { database } = connection;
    const sandbox = await new SandboxRepository(database).read(sandboxId);
    expect(await vault.open(purposes.sessionKey(sandboxId), sandbox!.sessionApiKey)).toMatch(RANDOM_KEY);
    expect(await vault.open(purposes.secretKey(sandboxId), sandbox!.secretKey)).toMatch(RANDOM_KEY);
    expect(await secrets.readCustomValue(null, 'CUSTOM')).toBe('custom value');
    expect((await secrets.providerTokens(null)).get('github')?.token).toBe('provider token');
    expect((await settings.read(null)).agent_settings.llm.api_key).toBe('model key');
    const starts = new StartTaskRepository(database);
    const task = await starts.read(taskId);
    expect(await vault.open(purposes.startSecrets(taskId), task!.secrets!)).toContain('start secret');
    expect(await withSealedArtifacts(starts, vault).artifact(taskId, 'skills')).toEqual(['an artifact']);
  }

  it('keeps rows, tokens and open workflows readable, and lets the old key go when nothing needs it', async () => {
    const first = await startProcess();
    await fill(first);
    await expectAllRows(first);
    const token = await first.tokens.issue({ userId: null, providerType: 'github' });
    const oldId = (await first.ring.newest()).id;
    await rotateKeys(places(), print);

    await first.stop(); // one process has one worker for a queue; its stores go on

    // A process that still runs reads what others write with the new key.
    const second = await startProcess();
    const newId = (await second.ring.newest()).id;
    expect(newId).not.toBe(oldId);
    await second.secrets.putCustom(null, { name: 'LATER', value: 'later value' });
    expect(await first.secrets.readCustomValue(null, 'LATER')).toBe('later value');
    expect((await first.ring.newest()).id).toBe(newId);

    // After a restart everything is there, and the open actor goes on from its old history.
    await expectAllRows(second);
    expect(await second.tokens.verify(token)).toMatchObject({ providerType: 'github' });
    const actor = second.client.workflow.getHandle(sandboxWorkflowId(sandboxId));
    expect(await actor.query(sandboxStateQuery)).toMatchObject({ sandboxId, status: 'RUNNING' });
    expect(await actor.executeUpdate(sandboxUpdate('pause'))).toBe('PAUSED');

    // The old key is needed by rows, then by the open workflow, then by nothing.
    await expect(removeKey(places(), oldId, uses, print)).rejects.toThrow(
      /stored secrets are under the key.*rewrap/,
    );
    lines = [];
    expect(await rewrapRows(uses, second.vault, print)).toBe(0);
    expect(lines).toContain('sandboxes: 2 sealed anew, 0 were already.');
    expect(lines).toContain('secrets: 2 sealed anew, 1 were already.');
    lines = [];
    expect(await rewrapRows(uses, second.vault, print)).toBe(0);
    expect(lines.join()).not.toMatch(/[1-9]\d* sealed anew/);
    await expectAllRows(second);
    await expect(removeKey(places(), oldId, uses, print)).rejects.toThrow(
      /1 open workflows need the key .* callboard sandboxes delete ID/,
    );
    await expect(removeKey(places(), newId, uses, print)).rejects.toThrow('is the newest one');
    lines = [];
    await listKeys(places(), uses, print);
    expect(lines.find((line) => line.startsWith(oldId))).toMatch(/\t0\t1\tdecrypts$/);
    expect(lines.find((line) => line.startsWith(newId))).toMatch(/\t\d+\t1\tencrypts$/);
    await actor.executeUpdate(sandboxUpdate('delete'));
    await actor.result();
    await second.stop();
    await removeKey(places(), oldId, uses, print);

    const third = await startProcess();
    expect(third.ring.all.map(({ id }) => id)).toEqual([newId]);
    await expectAllRows(third);
    await expect(third.tokens.verify(token)).rejects.toThrow(InvalidAccessToken);
    await third.stop();
  });

  it('is refused where the keys are a setting, and tells of values it cannot read', async () => {
    const secret = 's'.repeat(40);
    await expect(rotateKeys({ secret, dataDirectory }, print)).rejects.toThrow('JWT_SECRET');
    const vault = new Vault([{ id: 'another installation', secret: new Uint8Array(32) }]);
    lines = [];
    expect(await rewrapRows(uses, vault, print)).toBe(1);
    expect(lines.join('\n')).toContain('2 cannot be read with the keys there are');
  });
});
