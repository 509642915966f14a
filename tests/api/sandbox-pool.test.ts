import { eq, isNotNull } from 'drizzle-orm';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { createSandboxActors } from '../../activities/sandbox-actors.js';
import { runPool } from '../../cli/pool-command.js';
import { closeWarmPool, renewWarmPool } from '../../cli/warm-pool.js';
import { isTerminal, type StartTask } from '../../contract/start-task.js';
import { sandboxes, startTaskTransitions } from '../../db/schema/index.js';
import { lookupHash, purposes } from '../../identity/vault.js';
import { SANDBOX_POOL_WORKFLOW, poolStateQuery } from '../../workflows/messages.js';
import { openApi, type ApiFixture } from '../support/api-fixture.js';
import { STATUSES_OF_A_START } from '../support/fake-phases.js';
import { freePort } from '../support/loopback.js';
import { poolBench, SPEC, START, WITHIN } from '../support/pool-bench.js';
import { newId } from '../support/rows.js';
import { testVault } from '../support/test-vault.js';

describe('the pool of warm sandboxes', () => {
  let api: ApiFixture;
  const pool = poolBench(() => api);
  beforeAll(async () => {
    api = await openApi({ warm: { size: 3, max: 3 } });
  });
  beforeEach(async () => {
    await pool.wake();
    await pool.ready(3);
  });
  afterEach(async () => {
    api.conduct.held.clear();
    api.conduct.failBoot = null;
    await pool.clear();
  });
  afterAll(() => api.close());

  // Before any start: each asks for a look two seconds later, which would open the pool again.
  it('keeps nothing that was booting when it was told to end', async () => {
    await pool.clear();
    api.conduct.held.add('boot');
    await pool.wake();
    await vi.waitFor(() => expect(api.conduct.booted).toHaveLength(3), WITHIN);
    const booting = (await pool.warm()).map(({ id }) => id);
    await api.pool.actors.close(SPEC);
    api.conduct.held.clear();
    await vi.waitFor(
      async () => expect((await pool.handle().describe()).status.name).toBe('COMPLETED'),
      WITHIN,
    );
    await vi.waitFor(async () => expect(await pool.warm()).toEqual([]), WITHIN);
    expect(api.conduct.destroyed).toEqual(expect.arrayContaining(booting));
  });

  it('gives a start a sandbox that has booted already, which is its user’s from then on', async () => {
    const warm = await pool.ready(3);
    api.conduct.held.add('boot'); // no other sandbox can come up
    const task = await pool.run();
    expect(task).toMatchObject({ status: 'READY', agent_server_url: api.agentServer.url });
    expect(warm).toContain(task.sandbox_id);
    const statuses = await api.database
      .select({ status: startTaskTransitions.status })
      .from(startTaskTransitions)
      .where(eq(startTaskTransitions.taskId, task.id))
      .orderBy(startTaskTransitions.sequence);
    expect(statuses.map(({ status }) => status)).toEqual(STATUSES_OF_A_START);
    const row = await pool.rowOf(task.sandbox_id!);
    expect(row).toMatchObject({ createdByUserId: 'ann', warmSince: null, status: 'RUNNING' });
    expect(await pool.listed('ann')).toEqual([row.id]);
    expect(await pool.listed('ben')).toEqual([]);
  });

  it('boots another one in its place when the start has ended', async () => {
    const before = await pool.ready(3);
    const { sandbox_id } = await pool.run();
    const after = await pool.ready(3);
    expect(after.filter((id) => !before.includes(id))).toHaveLength(1);
    expect(after).not.toContain(sandbox_id);
  });

  it('gives none twice: each of twenty starts at once has a sandbox of its own, with an owner of its own', async () => {
    const warm = await pool.ready(3);
    const users = ['ann', 'ben'];
    const tasks = await Promise.all(Array.from({ length: 20 }, (_, n) => pool.run({}, users[n % 2])));
    expect(tasks.map(({ status }) => status)).toEqual(Array(20).fill('READY'));
    const taken = tasks.map(({ sandbox_id }) => sandbox_id!);
    expect(new Set(taken).size).toBe(20);
    expect(taken.filter((id) => warm.includes(id)).length).toBeGreaterThan(0);
    for (const [n, id] of taken.entries()) expect((await pool.rowOf(id)).createdByUserId).toBe(users[n % 2]);
  });

  it('is seen by nobody, and its keys open nothing', async () => {
    const warm = await pool.ready(3);
    const [id] = warm;
    const row = await pool.rowOf(id!);
    expect(row.createdByUserId).toBeNull();
    const lastActiveAt = new Date(Date.now() - 3_600_000);
    await api.database.update(sandboxes).set({ lastActiveAt }).where(eq(sandboxes.id, row.id));
    expect(await api.sandboxes.idleMilliseconds(row.id)).toBe(0);
    const key = await testVault.open(purposes.sessionKey(row.id), row.sessionApiKey);
    expect(await api.sandboxes.findBySessionKeyHash(lookupHash(key))).toBeNull();
    expect(await api.sandboxes.findPoster(lookupHash(key))).toBeNull();
    // Without a user everything that has no owner is one's own, but for these.
    const anybody = { headers: {} };
    const search = await api.call<{ items: { id: string }[] }>('GET', '/api/v1/sandboxes/search', anybody);
    expect(search.body.items.filter((item) => warm.includes(item.id))).toEqual([]);
    const batch = await api.call<unknown[]>('GET', `/api/v1/sandboxes?id=${id}`, anybody);
    expect(batch.body).toEqual([null]);
    for (const order of ['pause', 'resume']) {
      expect((await api.call('POST', `/api/v1/sandboxes/${id}/${order}`, anybody)).status).toBe(404);
    }
    expect((await api.call('DELETE', `/api/v1/sandboxes/${id}`, anybody)).status).toBe(404);
    const given = await api.call<StartTask>('POST', START, { body: { sandbox_id: id } });
    if (given.status === 200) {
      const task = await vi.waitFor(async () => {
        const { body } = await api.call<StartTask[]>('GET', `${START}/start-tasks?ids=${given.body.id}`);
        expect(isTerminal(body[0]!.status)).toBe(true);
        return body[0]!;
      }, WITHIN);
      expect(task).toMatchObject({ status: 'ERROR', detail: `500: Sandbox not found: ${id}` });
    } else {
      expect(given.status).toBe(404);
    }
  });

  it('gives each sandbox keys of its own, which go with it to its user', async () => {
    const [first, second] = [await pool.run({}, 'ann'), await pool.run({}, 'ben')];
    const keys = await Promise.all(
      [first, second].map(async ({ sandbox_id }) => {
        const row = await pool.rowOf(sandbox_id!);
        return {
          row,
          session: await testVault.open(purposes.sessionKey(row.id), row.sessionApiKey),
          secret: await testVault.open(purposes.secretKey(row.id), row.secretKey),
        };
      }),
    );
    expect(new Set(keys.flatMap(({ session, secret }) => [session, secret])).size).toBe(4);
    for (const [n, { row, session }] of keys.entries()) {
      const poster = await api.sandboxes.findPoster(lookupHash(session));
      expect(poster).toMatchObject({ id: row.id, createdByUserId: ['ann', 'ben'][n] });
    }
  });

  it('is passed over by a start that names its sandbox, or the id of its conversation', async () => {
    const warm = await pool.ready(3);
    const { sandbox_id: own } = await pool.run();
    expect((await pool.run({ sandbox_id: own })).sandbox_id).toBe(own);
    const conversationId = newId();
    expect((await pool.run({ conversation_id: conversationId })).sandbox_id).toBe(conversationId);
    const taken = (
      await api.database.select({ id: sandboxes.id }).from(sandboxes).where(isNotNull(sandboxes.claimedAt))
    )
      .map(({ id }) => id)
      .filter((id) => warm.includes(id));
    expect(taken).toEqual([own]);
  });

  it('loses a sandbox that does not answer, and the start takes the next one', async () => {
    const [dead] = await pool.ready(3);
    const nobody = `http://127.0.0.1:${await freePort()}`;
    // The oldest is looked at first.
    await api.database
      .update(sandboxes)
      .set({ agentServerUrl: nobody, warmSince: new Date(Date.now() - 600_000) })
      .where(eq(sandboxes.id, dead!));
    const task = await pool.run();
    expect(task.status).toBe('READY');
    expect(task.sandbox_id).not.toBe(dead);
    await vi.waitFor(() => expect(api.conduct.destroyed).toContain(dead), WITHIN);
    expect(await pool.ready(3)).not.toContain(dead);
  });

  it('has a start boot its own sandbox when all that is warm is dead', async () => {
    const warm = await pool.ready(3);
    const agentServerUrl = `http://127.0.0.1:${await freePort()}`;
    await api.database.update(sandboxes).set({ agentServerUrl }).where(isNotNull(sandboxes.warmSince));
    const task = await pool.run();
    expect(task.status).toBe('READY');
    expect(warm).not.toContain(task.sandbox_id);
    expect(api.conduct.booted).toContain(task.sandbox_id);
  });

  it('replaces what died, and everything when an operator says so', async () => {
    const before = await pool.ready(3);
    await api.temporal.client.workflow
      .getHandle(`sandbox/${before[0]}`)
      .signal('observed', { state: 'gone', exitCode: 137 });
    await vi.waitFor(async () => expect((await pool.rowOf(before[0]!)).status).toBe('MISSING'), WITHIN);
    await pool.wake();
    expect(await pool.ready(3)).not.toContain(before[0]);
    await pool.handle().signal('recycle');
    await vi.waitFor(async () => {
      const now = await pool.ready(3);
      expect(now.filter((id) => before.includes(id))).toEqual([]);
    }, WITHIN);
  });

  it('is emptied by an order, which stays until it is taken back', async () => {
    const before = await pool.ready(3);
    await pool.handle().signal('drain');
    await pool.ready(0);
    await vi.waitFor(() => expect(api.conduct.destroyed).toEqual(expect.arrayContaining(before)), WITHIN);
    const task = await pool.run();
    expect(api.conduct.booted).toContain(task.sandbox_id);
    expect(await pool.handle().query(poolStateQuery)).toMatchObject({ drained: true, report: { target: 0 } });
    await pool.handle().signal('fill');
    await pool.ready(3);
  });

  it('gives a start the sandbox that is booting for it when none is ready', async () => {
    await pool.clear();
    api.conduct.held.add('boot');
    await pool.wake();
    await vi.waitFor(async () => expect(await pool.warm()).toHaveLength(3), WITHIN);
    const started = await pool.start();
    await vi.waitFor(
      async () => expect((await api.starts.read(started.id))?.sandboxId).not.toBeNull(),
      WITHIN,
    );
    api.conduct.held.clear();
    const task = await pool.ended(started.id);
    expect(task.status).toBe('READY');
    const row = await pool.rowOf(task.sandbox_id!);
    expect(row.createdByUserId).toBe('ann');
    expect(row.claimedAt).not.toBeNull();
    await pool.ready(3);
  });

  it('goes with the start that took it when that fails', async () => {
    await pool.ready(3);
    api.conduct.failing = 'prepareRepository';
    const task = await pool.run();
    api.conduct.failing = null;
    expect(task.status).toBe('ERROR');
    await vi.waitFor(() => expect(api.conduct.destroyed).toContain(task.sandbox_id), WITHIN);
    expect(await pool.ready(3)).not.toContain(task.sandbox_id);
  });

  it('tries again after a boot that failed, later each time, and says why', async () => {
    await pool.clear();
    api.conduct.failBoot = 'the agent-server is not installed';
    await pool.wake();
    await vi.waitFor(async () => {
      const state = await pool.handle().query(poolStateQuery);
      expect(state).toMatchObject({ lastFailure: 'the agent-server is not installed' });
      expect(state.retryAt).toBeGreaterThan(0);
    }, WITHIN);
    await vi.waitFor(
      async () => expect((await pool.warm()).every(({ retired }) => retired)).toBe(true),
      WITHIN,
    );
    api.conduct.failBoot = null;
    await pool.handle().signal('fill'); // at once, instead of after the wait
    await pool.ready(3);
  });

  it('is shown and given orders on the command line', async () => {
    const warm = await pool.ready(3);
    const access = { ...api.pool, client: api.temporal.client, specId: SPEC };
    const lines: string[] = [];
    await runPool(access, 'list', (line) => lines.push(line));
    expect(lines[0]).toMatch(/^spec: 3 wanted, \d ready/);
    for (const id of warm) expect(lines.join('\n')).toContain(`${id} `);
    expect(lines.at(-2)).toBe('Machines:');
    expect(lines.at(-1)).toMatch(/^\S+ +3 warm {2}65536 MB left at \d{4}-\d\d-\d\dT[\d:]{8}Z$/);
    await runPool(access, 'drain', (line) => lines.push(line));
    expect(lines.at(-1)).toBe('drain: ordered');
    await pool.ready(0);
    await expect(runPool({ ...access, specId: 'nothing' }, 'list', () => undefined)).rejects.toThrow(
      /CALLBOARD_WARM_SANDBOXES/,
    );
  });

  it('keeps its history short, and a healthy pool costs a handful of events per look', async () => {
    await pool.ready(3);
    await vi.waitFor(async () => {
      const { report } = await pool.handle().query(poolStateQuery);
      expect(report).toMatchObject({ ready: 3, booting: 0 });
    }, WITHIN);
    const before = (await pool.handle().describe()).historyLength;
    for (let n = 0; n < 5; n++) {
      const { report } = await pool.handle().query(poolStateQuery);
      await pool.wake();
      await vi.waitFor(async () => {
        expect((await pool.handle().query(poolStateQuery)).report?.at).not.toBe(report?.at);
      }, WITHIN);
    }
    expect((await pool.handle().describe()).historyLength - before).toBeLessThanOrEqual(5 * 12);
  });
});

describe('a pool and the limit of running sandboxes', () => {
  let api: ApiFixture;
  const pool = poolBench(() => api);
  beforeAll(async () => {
    api = await openApi({ warm: { size: 2, max: 2 }, maxSandboxesPerUser: 1, limitPolicy: 'refuse' });
  });
  afterAll(() => api.close());

  it('counts what a start takes and nothing else, and wastes none on a start that is refused', async () => {
    await pool.wake();
    await pool.ready(2);
    const first = await pool.run();
    expect(first.status).toBe('READY');
    await pool.ready(2);
    const refused = await pool.run();
    expect(refused.status).toBe('ERROR');
    expect(refused.detail).toContain('as many as are allowed');
    expect((await pool.rowOf(refused.sandbox_id!)).claimedAt).toBeNull();
    expect((await pool.run({}, 'ben')).status).toBe('READY');
  });
});

describe('a pool after a crash', () => {
  let api: ApiFixture;
  const pool = poolBench(() => api);
  beforeAll(async () => {
    api = await openApi({ warm: { size: 2, max: 2 } });
  });
  afterAll(() => api.close());
  const closeAll = (hostId: string) =>
    closeWarmPool(api.pool, { hostId, actors: createSandboxActors(api.temporal.client) }, WITHIN.timeout);

  it('goes on from its rows when its workflow was terminated', async () => {
    await pool.wake();
    const before = await pool.ready(2);
    await pool.handle().terminate('as an operator might');
    await pool.wake();
    expect(await pool.ready(2)).toEqual(before);
    expect((await pool.handle().describe()).type).toBe(SANDBOX_POOL_WORKFLOW);
  });

  it('leaves no sandbox behind when the start that took one is terminated', async () => {
    await pool.wake();
    await pool.ready(2);
    api.conduct.held.add('prepareRepository');
    const { id } = await pool.start();
    await vi.waitFor(
      async () => expect((await api.starts.read(id))?.status).toBe('PREPARING_REPOSITORY'),
      WITHIN,
    );
    const sandboxId = (await api.starts.read(id))!.sandboxId!;
    await api.temporal.client.workflow.getHandle(`start-task/${id}`).terminate('crashed');
    // The sandbox is the start's by its row: whoever brings the start to ERROR hides it in the same transaction.
    await api.starts.advance(id, 'ERROR', { detail: 'swept' });
    expect((await pool.rowOf(sandboxId)).deletedAt).not.toBeNull();
    api.conduct.held.clear();
    await pool.ready(2);
  });

  it('is renewed, and what was kept before is ended, when a worker begins', async () => {
    await pool.wake();
    const before = await pool.ready(2);
    const { hostId } = await pool.rowOf(before[0]!);
    const actors = createSandboxActors(api.temporal.client);
    await renewWarmPool(api.pool, { hostId: hostId!, actors });
    expect((await pool.ready(2)).filter((id) => before.includes(id))).toEqual([]);
    await vi.waitFor(() => expect(api.conduct.destroyed).toEqual(expect.arrayContaining(before)), WITHIN);
  });

  it('ends with everything that it keeps when everything stops', async () => {
    await pool.wake();
    const before = await pool.ready(2);
    const { hostId } = await pool.rowOf(before[0]!);
    await closeAll(hostId!);
    expect((await pool.handle().describe()).status.name).toBe('COMPLETED');
    expect(await pool.warm()).toEqual([]);
    expect(api.conduct.destroyed).toEqual(expect.arrayContaining(before));
  });

  it('waits for what was booting when everything stops', async () => {
    await pool.clear();
    api.conduct.held.add('boot');
    await pool.wake();
    await vi.waitFor(() => expect(api.conduct.booted).toHaveLength(2), WITHIN);
    const booting = (await pool.warm()).map(({ id }) => id);
    const { hostId } = await pool.rowOf(booting[0]!);
    await closeAll(hostId!);
    api.conduct.held.clear();
    expect((await pool.handle().describe()).status.name).toBe('COMPLETED');
    expect(await pool.warm()).toEqual([]);
  });
});
