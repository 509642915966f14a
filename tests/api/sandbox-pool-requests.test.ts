import { eq } from 'drizzle-orm';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import type { SandboxInfo } from '../../contract/sandbox.js';
import { sandboxes } from '../../db/schema/index.js';
import { lookupHash } from '../../identity/vault.js';
import { openApi, type ApiFixture } from '../support/api-fixture.js';
import { freePort } from '../support/loopback.js';
import { poolBench, WITHIN } from '../support/pool-bench.js';
import { newId } from '../support/rows.js';

const SANDBOXES = '/api/v1/sandboxes';

/** A sandbox is asked for. */
const asker =
  (api: () => ApiFixture) =>
  (user: string, { query = '', key }: { query?: string; key?: string } = {}) =>
    api().call<SandboxInfo>('POST', `${SANDBOXES}${query}`, {
      user,
      ...(key === undefined ? {} : { headers: { 'idempotency-key': key } }),
    });

describe('a sandbox that is asked for', () => {
  let api: ApiFixture;
  const pool = poolBench(() => api);
  const ask = asker(() => api);
  beforeAll(async () => {
    api = await openApi({ warm: { size: 1, max: 1 } });
  });
  beforeEach(async () => {
    await pool.wake();
    await pool.ready(1);
  });
  afterEach(async () => {
    api.conduct.held.clear();
    await pool.clear();
  });
  afterAll(() => api.close());

  it('is one that was kept warm, with its keys, and another one is made in its place', async () => {
    const [warm] = await pool.ready(1);
    api.conduct.held.add('boot'); // no other sandbox can come up
    const { status, body } = await ask('ann');
    expect(status).toBe(200);
    expect(body).toMatchObject({
      id: warm,
      status: 'RUNNING',
      created_by_user_id: 'ann',
      sandbox_spec_id: 'spec',
      exposed_urls: [{ name: 'AGENT_SERVER', url: api.agentServer.url }],
    });
    expect(await api.sandboxes.findPoster(lookupHash(body.session_api_key!))).toMatchObject({
      id: warm,
      createdByUserId: 'ann',
    });
    expect(await pool.listed('ann')).toContain(warm);
    expect(await pool.listed('ben')).not.toContain(warm);
    expect((await api.call('POST', `${SANDBOXES}/${warm}/pause`, { user: 'ben' })).status).toBe(404);
    api.conduct.held.clear();
    expect(await pool.ready(1)).not.toContain(warm);
  });

  it('is had by one of two who ask for the only warm one at the same time', async () => {
    const [warm] = await pool.ready(1);
    const answers = await Promise.all([ask('ann'), ask('ben')]);
    expect(answers.map(({ status }) => status)).toEqual([200, 200]);
    const ids = answers.map(({ body }) => body.id);
    expect(ids.filter((id) => id === warm)).toHaveLength(1);
    expect(new Set(ids).size).toBe(2);
    for (const [n, id] of ids.entries()) {
      expect((await pool.rowOf(id)).createdByUserId).toBe(['ann', 'ben'][n]);
    }
  });

  it('is not the one that a start gets at the same time', async () => {
    const [answer, task] = await Promise.all([ask('ann'), pool.run({}, 'ben')]);
    expect([answer.status, task.status]).toEqual([200, 'READY']);
    expect(answer.body.id).not.toBe(task.sandbox_id);
    expect((await pool.rowOf(answer.body.id)).createdByUserId).toBe('ann');
    expect((await pool.rowOf(task.sandbox_id!)).createdByUserId).toBe('ben');
  });

  it('is one and the same for a key that is used several times at once, and again', async () => {
    const [warm] = await pool.ready(1);
    const key = newId();
    const answers = await Promise.all([1, 2, 3].map(() => ask('ann', { key })));
    answers.push(await ask('ann', { key }));
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
    expect(new Set(answers.map(({ body }) => body.id))).toEqual(new Set([warm]));
    await pool.ready(1);
    expect((await ask('ann', { key })).body.id).toBe(warm);
    expect((await ask('ann', { key, query: '?sandbox_spec_id=spec' })).status).toBe(422);
    const [left] = await pool.ready(1);
    expect((await ask('ben', { key })).body.id).toBe(left);
  });

  it('is made when it is of another spec, or when the warm one does not answer', async () => {
    const [warm] = await pool.ready(1);
    const other = await ask('ann', { query: '?sandbox_spec_id=other%20spec' });
    expect(other.body).toMatchObject({ sandbox_spec_id: 'other spec' });
    expect(other.body.id).not.toBe(warm);
    const agentServerUrl = `http://127.0.0.1:${await freePort()}`;
    await api.database.update(sandboxes).set({ agentServerUrl }).where(eq(sandboxes.id, warm!));
    const own = await ask('ann');
    expect(own.status).toBe(200);
    expect(own.body.id).not.toBe(warm);
    expect((await pool.rowOf(warm!)).createdByUserId).toBeNull();
  });

  it.each([{ key: undefined }, { key: 'a key' }])(
    'is nobody’s, and ended, when it could not be given after all (key: $key)',
    async ({ key }) => {
      const [warm] = await pool.ready(1);
      const started = vi.spyOn(api.actors, 'startSandbox').mockRejectedValueOnce(new Error('broken'));
      const refused = await ask('ann', key === undefined ? {} : { key });
      started.mockRestore();
      expect(refused.status).toBe(500);
      expect(await pool.listed('ann')).not.toContain(warm);
      await pool.wake();
      await vi.waitFor(() => expect(api.conduct.destroyed).toContain(warm), WITHIN);
      const [next] = await pool.ready(1);
      expect(next).not.toBe(warm);
      expect((await ask('ann', key === undefined ? {} : { key })).body.id).toBe(next);
    },
  );
});

describe('a sandbox that is asked for by a user who may have one', () => {
  let api: ApiFixture;
  const pool = poolBench(() => api);
  const ask = asker(() => api);
  beforeAll(async () => {
    api = await openApi({ warm: { size: 1, max: 1 }, maxSandboxesPerUser: 1, limitPolicy: 'refuse' });
  });
  afterAll(() => api.close());

  it('is refused with 429 when they have it, and no warm one is wasted on that', async () => {
    await pool.wake();
    const [warm] = await pool.ready(1);
    expect((await ask('ann')).body.id).toBe(warm);
    const [next] = await pool.ready(1);
    expect((await ask('ann')).status).toBe(429);
    expect(await pool.ready(1)).toEqual([next]);
    expect((await ask('ben')).body.id).toBe(next);
  });
});
