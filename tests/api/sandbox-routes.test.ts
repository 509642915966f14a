import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { sandboxWorkflowId } from '../../contract/ids.js';
import type { Page } from '../../contract/primitives.js';
import type { StartTask } from '../../contract/start-task.js';
import type { SandboxInfo, SandboxStatus } from '../../contract/sandbox.js';
import { SandboxIdTaken, createSandboxRow } from '../../identity/new-sandbox.js';
import { lookupHash, purposes } from '../../identity/vault.js';
import { sandboxStateQuery } from '../../workflows/messages.js';
import { openApi, type ApiFixture } from '../support/api-fixture.js';
import { insertSandbox, newId } from '../support/rows.js';
import { testVault } from '../support/test-vault.js';

const BASE = '/api/v1/sandboxes';

let api: ApiFixture;
beforeAll(async () => {
  api = await openApi({ deadlines: { accept: 3_000, obey: 1_000 } });
});
afterEach(() => {
  api.conduct.held.clear();
  api.conduct.failBoot = null;
  vi.restoreAllMocks();
});
afterAll(() => api.close());

type Told = SandboxInfo & { detail: unknown; success: boolean };
const call = (method: string, path: string, user = 'ann', of = api) =>
  of.call<Told>(method, `${BASE}${path}`, { user, ...(method === 'POST' ? { body: {} } : {}) });
const statusOf = async (id: string, user = 'ann', of = api): Promise<SandboxStatus | null> => {
  const { body } = await of.call<(SandboxInfo | null)[]>('GET', `${BASE}?id=${id}`, { user });
  return body[0]?.status ?? null;
};
const becomes = (id: string, status: SandboxStatus | null, user = 'ann', of = api) =>
  vi.waitFor(async () => expect(await statusOf(id, user, of)).toBe(status), 90_000);
const start = async (user = 'ann', of = api) => {
  const { status, body } = await call('POST', '', user, of);
  expect(status, JSON.stringify(body)).toBe(200);
  return body.id;
};
const started = async (user = 'ann', of = api) => {
  const id = await start(user, of);
  await becomes(id, 'RUNNING', user, of);
  return id;
};

describe('a new sandbox', () => {
  it('is answered while it is STARTING, without key and address, and shows both when it is RUNNING', async () => {
    api.conduct.held.add('boot');
    const { status, body } = await call('POST', '');
    expect(status).toBe(200);
    expect(body).toEqual({
      id: body.id,
      created_by_user_id: 'ann',
      sandbox_spec_id: 'spec',
      status: 'STARTING',
      session_api_key: null,
      exposed_urls: null,
      created_at: body.created_at,
    });
    expect(body.id).toMatch(/^[0-9A-Za-z]{20,22}$/);
    api.conduct.held.clear();
    await becomes(body.id, 'RUNNING');
    const { body: listed } = await api.call<SandboxInfo[]>('GET', `${BASE}?id=${body.id}`, { user: 'ann' });
    expect(listed[0]?.session_api_key).toMatch(/^[0-9A-Za-z]{40,43}$/);
    expect(listed[0]?.exposed_urls).toEqual([
      { name: 'AGENT_SERVER', url: api.agentServer.url, port: api.agentServer.port },
    ]);
  });

  it('has keys of its own, encrypted at rest and found by their hash', async () => {
    const [one, two] = [await start(), await start()];
    const rows = [(await api.sandboxes.read(one))!, (await api.sandboxes.read(two))!];
    const keys = await Promise.all(
      rows.map((row) => testVault.open(purposes.sessionKey(row.id), row.sessionApiKey)),
    );
    expect(keys[0]).not.toBe(keys[1]);
    for (const [index, row] of rows.entries()) {
      expect(row.sessionApiKeyHash).toBe(lookupHash(keys[index]!));
      expect(JSON.stringify(row)).not.toContain(keys[index]);
      expect(await testVault.open(purposes.secretKey(row.id), row.secretKey)).not.toBe(keys[index]);
    }
  });

  it('comes from the spec asked for, and an unknown spec is 404 (D26)', async () => {
    expect((await call('POST', '?sandbox_spec_id=other%20spec')).body.sandbox_spec_id).toBe('other spec');
    expect(await call('POST', '?sandbox_spec_id=none')).toMatchObject({
      status: 404,
      body: { detail: "Sandbox Spec 'none' not found" },
    });
  });

  it('that cannot boot ends in ERROR', async () => {
    api.conduct.failBoot = 'exit code 1';
    await becomes(await start(), 'ERROR');
  });

  it('that nobody takes up is answered with 503 and not listed', async () => {
    vi.spyOn(api.actors, 'startSandbox').mockRejectedValueOnce(
      Object.assign(new Error('14 UNAVAILABLE'), { code: 14, details: '', metadata: {} }),
    );
    expect((await call('POST', '', 'unlucky')).status).toBe(503);
    const { body } = await api.call<Page<SandboxInfo>>('GET', `${BASE}/search`, { user: 'unlucky' });
    expect(body.items).toEqual([]);
  });

  it('never takes the id of somebody else’s sandbox, or of a deleted one', async () => {
    const deps = { vault: testVault, sandboxes: api.sandboxes };
    const id = newId();
    await createSandboxRow(deps, { id, userId: 'ann', specId: 'spec' });
    const first = await api.sandboxes.read(id);
    await createSandboxRow(deps, { id, userId: 'ann', specId: 'spec' }); // another attempt
    expect(await api.sandboxes.read(id)).toEqual(first);
    await expect(createSandboxRow(deps, { id, userId: 'bob', specId: 'spec' })).rejects.toThrow(
      SandboxIdTaken,
    );
    await api.sandboxes.hide(id);
    await expect(createSandboxRow(deps, { id, userId: 'ann', specId: 'spec' })).rejects.toThrow(
      SandboxIdTaken,
    );
  });
});

describe('a sandbox asked for with an Idempotency-Key', () => {
  const ask = (key: string, { query = '', user = 'kay' } = {}) =>
    api.call<Told & { detail: string }>('POST', `${BASE}${query}`, {
      user,
      headers: { 'Idempotency-Key': key },
    });
  const listed = async (user: string) =>
    (await api.call<Page<SandboxInfo>>('GET', `${BASE}/search`, { user })).body.items.map(({ id }) => id);
  const outage = () => Object.assign(new Error('14 UNAVAILABLE'), { code: 14, details: '', metadata: {} });

  it('twenty times at once, and again later, is one sandbox, for that user alone', async () => {
    const key = newId();
    const answers = await Promise.all(Array.from({ length: 20 }, () => ask(key)));
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
    const id = answers[0]!.body.id;
    expect(new Set(answers.map(({ body }) => body.id))).toEqual(new Set([id]));
    await becomes(id, 'RUNNING', 'kay');
    expect((await ask(key)).body).toMatchObject({ id, status: 'RUNNING' });
    expect(await listed('kay')).toEqual([id]);
    expect((await ask(key, { user: 'bob' })).body.id).not.toBe(id);
    expect((await ask('x'.repeat(256))).status).toBe(400);
  });

  it('with another spec is refused with 422, and nothing is started', async () => {
    const [key, user] = [newId(), 'spec changer'];
    const { body: first } = await ask(key, { user });
    const { status, body } = await ask(key, { user, query: '?sandbox_spec_id=other%20spec' });
    expect(status).toBe(422);
    expect(body.detail).toContain(first.id);
    expect(await listed(user)).toEqual([first.id]);
  });

  it('and deleted since is not made a second time', async () => {
    const [key, user] = [newId(), 'deleter'];
    const { body: first } = await ask(key, { user });
    await call('DELETE', `/${first.id}`, user);
    const { status, body } = await ask(key, { user });
    expect(status).toBe(409);
    expect(body.detail).toContain('send a new key');
    expect(await listed(user)).toEqual([]);
  });

  it('that could not be started leaves nothing, and is started when it is asked for again', async () => {
    const [key, user] = [newId(), 'patient'];
    vi.spyOn(api.actors, 'startSandbox').mockRejectedValueOnce(outage());
    expect((await ask(key, { user })).status).toBe(503);
    expect(await listed(user)).toEqual([]);
    const { status, body } = await ask(key, { user });
    expect(status).toBe(200);
    await becomes(body.id, 'RUNNING', user);
    expect(await listed(user)).toEqual([body.id]);
  });

  it('whose API process was killed before its actor began is carried on by the repeated request', async () => {
    const [key, user] = [newId(), 'survivor'];
    const dying = vi.spyOn(api.actors, 'startSandbox').mockReturnValueOnce(new Promise(() => undefined));
    void ask(key, { user }).catch(() => undefined);
    await vi.waitFor(() => expect(dying).toHaveBeenCalledOnce(), 90_000);
    const [stored] = await listed(user);
    const { status, body } = await ask(key, { user });
    expect({ status, id: body.id }).toEqual({ status: 200, id: stored });
    await becomes(body.id, 'RUNNING', user);
  });

  it('by two requests of which one fails is kept for the other', async () => {
    const [key, user] = [newId(), 'twice'];
    let fail: (error: Error) => void = () => undefined;
    const failing = vi
      .spyOn(api.actors, 'startSandbox')
      .mockReturnValueOnce(new Promise((_, reject) => (fail = reject)));
    const first = ask(key, { user });
    await vi.waitFor(() => expect(failing).toHaveBeenCalledOnce(), 90_000);
    const second = await ask(key, { user });
    expect(second.status).toBe(200);
    fail(outage());
    expect(await first).toMatchObject({ status: 200, body: { id: second.body.id } });
    expect(await listed(user)).toEqual([second.body.id]);
  });
});

describe('an order to a sandbox', () => {
  it('to pause or resume is obeyed, and repeated it changes nothing', async () => {
    const id = await started();
    for (let times = 0; times < 2; times++) {
      expect(await call('POST', `/${id}/pause`)).toMatchObject({ status: 200, body: { success: true } });
      expect(await statusOf(id)).toBe('PAUSED'); // pause waits until it is done
    }
    for (let times = 0; times < 2; times++) {
      expect(await call('POST', `/${id}/resume`)).toMatchObject({ status: 200, body: { success: true } });
      await becomes(id, 'RUNNING');
    }
  });

  it('that takes long is answered after a while, and carried out all the same', async () => {
    const id = await started();
    api.conduct.held.add('suspend');
    expect((await call('POST', `/${id}/pause`)).status).toBe(200);
    expect(await statusOf(id)).toBe('RUNNING');
    api.conduct.held.clear();
    await becomes(id, 'PAUSED');
  });

  it('that its state does not allow is refused with the reason', async () => {
    api.conduct.failBoot = 'exit code 1';
    const id = await start();
    await becomes(id, 'ERROR');
    expect(await call('POST', `/${id}/pause`)).toMatchObject({
      status: 409,
      body: { detail: 'cannot pause a sandbox that is ERROR' },
    });
  });

  it('to delete takes it out of all lists at once, ends its actor, and is 404 from then on', async () => {
    const id = await started();
    const { body } = await api.call<SandboxInfo[]>('GET', `${BASE}?id=${id}`, { user: 'ann' });
    const hash = lookupHash(body[0]!.session_api_key!);
    expect((await api.sandboxes.findBySessionKeyHash(hash))?.id).toBe(id);
    api.conduct.held.add('destroy');
    expect(await call('DELETE', `/${id}`)).toMatchObject({ status: 200, body: { success: true } });
    expect(await statusOf(id)).toBeNull();
    expect(await api.sandboxes.findBySessionKeyHash(hash)).toBeNull();
    for (const [method, path] of [
      ['DELETE', `/${id}`],
      ['POST', `/${id}/pause`],
      ['POST', `/${id}/resume`],
    ] as const) {
      expect(await call(method, path)).toMatchObject({ status: 404, body: { detail: 'Not Found' } });
    }
    api.conduct.held.clear();
    const actor = api.temporal.client.workflow.getHandle(sandboxWorkflowId(id));
    await actor.result();
    expect((await api.sandboxes.read(id))?.status).toBe('MISSING');
  });

  it('to delete takes the sandbox of the query parameter, where older clients name it', async () => {
    const [named, inPath] = [await started(), await started()];
    expect((await call('DELETE', `/${inPath}?sandbox_id=${named}`)).status).toBe(200);
    expect(await statusOf(named)).toBeNull();
    expect(await statusOf(inPath)).toBe('RUNNING');
  });

  it('from somebody else finds nothing (D7)', async () => {
    const id = await started();
    for (const [method, path] of [
      ['POST', `/${id}/pause`],
      ['POST', `/${id}/resume`],
      ['DELETE', `/${id}`],
      ['DELETE', `/anything?sandbox_id=${id}`],
    ] as const) {
      expect(await call(method, path, 'bob')).toMatchObject({ status: 404, body: { detail: 'Not Found' } });
    }
    expect(await statusOf(id)).toBe('RUNNING');
    expect(await statusOf(id, 'bob')).toBeNull();
  });

  it('brings back an actor that somebody has ended by hand, in the state of the row', async () => {
    const id = await started();
    const actor = api.temporal.client.workflow.getHandle(sandboxWorkflowId(id));
    await actor.terminate('by hand');
    expect((await call('POST', `/${id}/pause`)).status).toBe(200);
    expect(await statusOf(id)).toBe('PAUSED');
    expect((await actor.query(sandboxStateQuery)).hostId).toBe('host-of-the-tests');
  });
});

describe('the list of sandboxes', () => {
  it('is aligned in the batch, refuses more than a hundred ids and none', async () => {
    const mine = await insertSandbox(api.database, { createdByUserId: 'ann', status: 'PAUSED' });
    const theirs = await insertSandbox(api.database, { createdByUserId: 'bob', status: 'PAUSED' });
    const { body } = await api.call<(SandboxInfo | null)[]>('GET', `${BASE}?id=${theirs}&id=${mine}&id=x`, {
      user: 'ann',
    });
    expect(body.map((sandbox) => sandbox?.id ?? null)).toEqual([null, mine, null]);
    const many = Array.from({ length: 101 }, () => `id=${newId()}`).join('&');
    expect(await call('GET', `?${many}`)).toMatchObject({
      status: 400,
      body: { detail: 'Cannot request more than 100 sandboxes at once, got 101' },
    });
    expect(await call('GET', '')).toMatchObject({
      status: 422,
      body: { detail: [{ type: 'missing', loc: ['query', 'id'] }] },
    });
    expect((await call('GET', '?id=%00')).status).toBe(400);
  });

  it('shows neither key nor addresses of what is not RUNNING', async () => {
    for (const status of ['STARTING', 'PAUSED', 'ERROR', 'MISSING'] as const) {
      const id = await insertSandbox(api.database, {
        createdByUserId: `owner of ${status}`,
        status,
        exposedUrls: [{ name: 'AGENT_SERVER', url: 'http://x', port: 1 }],
      });
      const { body } = await api.call<Page<SandboxInfo>>('GET', `${BASE}/search`, {
        user: `owner of ${status}`,
      });
      expect(body.items).toMatchObject([{ id, status, session_api_key: null, exposed_urls: null }]);
    }
  });
});

describe('a limit of one running sandbox per user (D24)', () => {
  let limited: ApiFixture;
  beforeAll(async () => {
    limited = await openApi({ maxSandboxesPerUser: 1 });
  });
  afterAll(() => limited.close());

  const runningOf = async (user: string) => {
    const { body } = await limited.call<Page<SandboxInfo>>('GET', `${BASE}/search`, { user });
    return body.items.filter(({ status }) => status !== 'PAUSED');
  };

  it('lets the new one start and pauses the other, and leaves those of other users alone', async () => {
    const [first, other] = [await started('ann', limited), await started('bob', limited)];
    const second = await started('ann', limited);
    await becomes(first, 'PAUSED', 'ann', limited);
    expect(await statusOf(second, 'ann', limited)).toBe('RUNNING');
    expect(await statusOf(other, 'bob', limited)).toBe('RUNNING');
    await call('POST', `/${first}/resume`, 'ann', limited);
    await becomes(first, 'RUNNING', 'ann', limited);
    await becomes(second, 'PAUSED', 'ann', limited);
  });

  it('never pauses the very sandbox that is resumed', async () => {
    const id = await started('cat', limited);
    expect((await call('POST', `/${id}/resume`, 'cat', limited)).status).toBe(200);
    const actor = limited.temporal.client.workflow.getHandle(sandboxWorkflowId(id));
    const history = await actor.fetchHistory();
    expect(await statusOf(id, 'cat', limited)).toBe('RUNNING');
    const orders = (history.events ?? []).flatMap(
      (event) => event.workflowExecutionUpdateAcceptedEventAttributes?.acceptedRequest?.input?.name ?? [],
    );
    expect(orders).toEqual(['accepted', 'resume']);
  });

  it('holds for the sandboxes of conversations too', async () => {
    const first = await started('eve', limited);
    const { status } = await limited.call('POST', '/api/v1/app-conversations', { user: 'eve', body: {} });
    expect(status).toBe(200);
    await becomes(first, 'PAUSED', 'eve', limited);
    await vi.waitFor(
      async () => expect(await runningOf('eve')).toMatchObject([{ status: 'RUNNING' }]),
      30_000,
    );
  });

  it('holds when several start at the same time', async () => {
    await Promise.all([1, 2, 3].map(() => start('dog', limited)));
    await vi.waitFor(async () => {
      const running = await runningOf('dog');
      expect(running.map(({ status }) => status)).toEqual(['RUNNING']);
    }, 90_000);
  });
});

describe('within the limit of a user', () => {
  const runningRows = async (of: ApiFixture, user: string): Promise<number> => {
    const { body } = await of.call<Page<SandboxInfo>>('GET', `${BASE}/search`, { user });
    return body.items.filter(({ status }) => status === 'RUNNING').length;
  };

  it('a sandbox in which an agent works is never paused: one more is refused for a while', async () => {
    const limited = await openApi({ maxSandboxesPerUser: 1 });
    try {
      const first = await started('ann', limited);
      limited.conduct.working.add(first);
      const refusal = await limited.call<Told>('POST', BASE, { user: 'ann', body: {} });
      expect(refusal.status).toBe(429);
      expect(Number(refusal.headers.get('retry-after'))).toBeGreaterThan(0);
      expect(refusal.body.detail).toBe(
        'You have a running sandbox, as many as are allowed, and no idle one among them: pause or delete one, then try again.',
      );
      const { body } = await limited.call<Page<SandboxInfo>>('GET', `${BASE}/search`, { user: 'ann' });
      expect(body.items).toMatchObject([{ id: first, status: 'RUNNING' }]);
      limited.conduct.working.clear();
      const second = await started('ann', limited);
      expect(await statusOf(first, 'ann', limited)).toBe('PAUSED');
      expect((await limited.sandboxes.read(first))?.detail).toContain('another sandbox of its user');
      // Neither is what was marked for sleep, or let in, counted in for ever.
      expect((await call('POST', `/${first}/resume`, 'ann', limited)).status).toBe(200);
      await becomes(first, 'RUNNING', 'ann', limited);
      expect(await statusOf(second, 'ann', limited)).toBe('PAUSED');
      expect((await limited.sandboxes.read(first))?.detail).toBeNull();
    } finally {
      await limited.close();
    }
  });

  it('several that are resumed at once never run in greater number', async () => {
    const limited = await openApi({ maxSandboxesPerUser: 2 });
    try {
      const ids: string[] = [];
      for (let count = 0; count < 4; count++) ids.push(await started('ann', limited));
      for (const id of ids) await call('POST', `/${id}/pause`, 'ann', limited);
      let most = 0;
      const answers = Promise.all(ids.map((id) => call('POST', `/${id}/resume`, 'ann', limited)));
      let done = false;
      void answers.finally(() => (done = true));
      while (!done) most = Math.max(most, await runningRows(limited, 'ann'));
      for (const { status } of await answers) expect([200, 429]).toContain(status);
      await vi.waitFor(async () => {
        const now = await runningRows(limited, 'ann');
        most = Math.max(most, now);
        expect(now).toBe(2);
      }, 90_000);
      expect(most).toBe(2);
    } finally {
      await limited.close();
    }
  });

  it('nothing is paused under the policy that refuses', async () => {
    const strict = await openApi({ maxSandboxesPerUser: 1, limitPolicy: 'refuse' });
    try {
      const first = await started('ann', strict);
      const refusal = await strict.call<Told>('POST', BASE, { user: 'ann', body: {} });
      expect(refusal.status).toBe(429);
      expect(refusal.headers.get('retry-after')).not.toBeNull();
      expect(await statusOf(first, 'ann', strict)).toBe('RUNNING');
      await call('POST', `/${first}/pause`, 'ann', strict);
      const second = await started('ann', strict);
      expect((await call('POST', `/${first}/resume`, 'ann', strict)).status).toBe(429);
      expect(await statusOf(first, 'ann', strict)).toBe('PAUSED');
      await call('DELETE', `/${second}`, 'ann', strict);
      expect((await call('POST', `/${first}/resume`, 'ann', strict)).status).toBe(200);
      await becomes(first, 'RUNNING', 'ann', strict);
      expect(await started('bob', strict)).not.toBe(first); // others have a limit of their own
    } finally {
      await strict.close();
    }
  });
});

describe('without a worker', () => {
  it('an order is taken all the same, and carried out by the next one', async () => {
    const lonely = await openApi({ deadlines: { accept: 1_500, obey: 1_000 } });
    try {
      const id = await started('ann', lonely);
      await lonely.stopWorker();
      expect((await call('POST', `/${id}/pause`, 'ann', lonely)).status).toBe(200);
      expect(await statusOf(id, 'ann', lonely)).toBe('RUNNING');
      await lonely.startWorker();
      // Up to 10 s: a task that the stopped worker had in hand has to time out first.
      await becomes(id, 'PAUSED', 'ann', lonely);
    } finally {
      await lonely.close();
    }
  });

  it('a start is taken all the same, and carried out by the next one', async () => {
    const lonely = await openApi({ deadlines: { accept: 1_500 } });
    try {
      await lonely.stopWorker();
      const { status, body } = await lonely.call<StartTask>('POST', '/api/v1/app-conversations', {
        body: {},
      });
      expect(status).toBe(200);
      expect(body.status).toBe('WORKING');
      const shown = async (): Promise<string | undefined> => {
        const path = `/api/v1/app-conversations/start-tasks?ids=${body.id}`;
        const { body: tasks } = await lonely.call<(StartTask | null)[]>('GET', path);
        return tasks[0]?.status;
      };
      expect(await shown()).toBe('WORKING');
      await lonely.startWorker();
      await vi.waitFor(async () => expect(await shown()).toBe('READY'), 60_000);
    } finally {
      await lonely.close();
    }
  });
});
