import { sql } from 'drizzle-orm';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { startEventApi, type EventApi, type TestSandbox } from '../support/event-api.js';
import { insertStartTask, newId } from '../support/rows.js';

let api: EventApi;
let sandbox: TestSandbox;
let other: TestSandbox;

beforeAll(async () => {
  api = await startEventApi();
  sandbox = await api.newSandbox('ada');
  other = await api.newSandbox('ada');
});
afterAll(() => api.close());

const event = () => ({ id: newId(), kind: 'MessageEvent', timestamp: '2026-01-01T00:00:00' });
const record = (id: string) => ({ id, agent: { llm: { model: 'm' } }, workspace: {} });
const eventsPath = (id: string) => `/api/v1/webhooks/events/${id}`;
const RECORDS = '/api/v1/webhooks/conversations';

describe('a webhook', () => {
  it.each(['RUNNING', 'PAUSED'] as const)(
    'without a key is refused, also for a sandbox that is %s (D3)',
    async (status) => {
      const { id } = await api.newSandbox(null, status);
      for (const path of [
        eventsPath(newId()),
        `/api/v1/webhooks/${id}/events/${newId()}`,
        RECORDS,
        `/api/v1/webhooks/${id}/conversations`,
      ]) {
        for (const key of [null, '']) {
          expect(await api.post(path, key, [])).toMatchObject({
            status: 401,
            body: { detail: 'X-Session-API-Key header is required' },
          });
        }
      }
    },
  );

  it('with a key of nobody is refused', async () => {
    for (const path of [eventsPath(newId()), RECORDS]) {
      expect(await api.post(path, 'wrong', [])).toMatchObject({
        status: 401,
        body: { detail: 'Invalid session API key' },
      });
    }
  });

  it('with the key of another sandbox than the path names is refused', async () => {
    const id = newId();
    for (const [path, body] of [
      [`/api/v1/webhooks/${sandbox.id}/events/${id}`, [event()]],
      [`/api/v1/webhooks/${sandbox.id}/conversations`, record(id)],
    ] as const) {
      expect(await api.post(path, other.key, body)).toMatchObject({
        status: 401,
        body: { detail: 'Unauthorized' },
      });
    }
    expect(await api.conversations.read(id)).toBeNull();
  });

  it('of a deleted sandbox is taken while its last events may come, and refused afterwards', async () => {
    const gone = await api.newSandbox();
    const id = newId();
    await api.post(eventsPath(id), gone.key, [event()]);
    await api.sandboxes.markDeleted(gone.id);
    expect((await api.post(eventsPath(id), gone.key, [event()])).status).toBe(200);
    expect(await api.events.count({ conversationId: id, users: null })).toBe(2);
    await api.database.execute(
      sql`update sandboxes set deleted_at = now() - interval '16 minutes' where id = ${gone.id}`,
    );
    expect(await api.post(eventsPath(id), gone.key, [event()])).toMatchObject({
      status: 401,
      body: { detail: 'Invalid session API key' },
    });
  });

  it('is accepted in both path forms, and counts as activity of the sandbox', async () => {
    const id = newId();
    expect((await api.post(eventsPath(id), sandbox.key, [event()])).status).toBe(200);
    expect(
      await api.post(`/api/v1/webhooks/${sandbox.id}/events/${id}`, sandbox.key, [event()]),
    ).toMatchObject({
      status: 200,
      body: { success: true },
    });
    expect((await api.post(RECORDS, sandbox.key, record(id))).status).toBe(200);
    expect(
      (await api.post(`/api/v1/webhooks/${sandbox.id}/conversations`, sandbox.key, record(id))).status,
    ).toBe(200);
    expect(await api.events.count({ conversationId: id, users: ['ada'] })).toBe(2);
    expect((await api.sandboxes.read(sandbox.id))?.lastActiveAt.getTime()).toBeGreaterThan(0);
  });

  it('that comes right after another one has nothing to note of the activity', async () => {
    const [id, { id: box, key }] = [newId(), await api.newSandbox('ada')];
    const touch = vi.spyOn(api.sandboxes, 'touch');
    try {
      for (let times = 0; times < 2; times++) {
        expect((await api.post(eventsPath(id), key, [event()])).status).toBe(200);
        expect((await api.post(RECORDS, key, record(id))).status).toBe(200);
      }
      expect(touch.mock.calls).toEqual([[box]]);
      await api.database.execute(
        sql`update sandboxes set last_active_at = now() - interval '11 seconds' where id = ${box}`,
      );
      expect((await api.post(RECORDS, key, record(id))).status).toBe(200);
      expect(touch.mock.calls).toEqual([[box], [box]]);
    } finally {
      touch.mockRestore();
    }
  });

  it('of a paused sandbox is accepted: the last flush comes late', async () => {
    const paused = await api.newSandbox(null, 'PAUSED');
    expect((await api.post(eventsPath(newId()), paused.key, [event()])).status).toBe(200);
  });
});

describe('a conversation', () => {
  it.each(['ada', null])(
    'of another sandbox of the same owner (%s) cannot be written to (D2)',
    async (owner) => {
      const [mine, theirs] = [await api.newSandbox(owner), await api.newSandbox(owner)];
      const id = newId();
      await api.post(eventsPath(id), mine.key, [event()]);
      const refused = [
        await api.post(eventsPath(id), theirs.key, [event()]),
        await api.post(`/api/v1/webhooks/${theirs.id}/events/${id}`, theirs.key, [event()]),
        await api.post(RECORDS, theirs.key, { ...record(id), tags: { stolen: 'yes' } }),
      ];
      for (const answer of refused)
        expect(answer).toMatchObject({ status: 401, body: { detail: 'Unauthorized' } });
      expect(await api.events.count({ conversationId: id, users: null })).toBe(1);
      expect((await api.conversation(id)).tags).toEqual({});
    },
  );

  it('of another owner cannot be written to', async () => {
    const id = newId();
    await api.post(eventsPath(id), sandbox.key, [event()]);
    const stranger = await api.newSandbox('mallory');
    expect((await api.post(eventsPath(id), stranger.key, [event()])).status).toBe(401);
    expect((await api.post(RECORDS, stranger.key, record(id))).status).toBe(401);
  });

  it('that is being started elsewhere cannot be taken', async () => {
    const conversationId = newId();
    await insertStartTask(api.database, {
      conversationId,
      createdByUserId: 'ada',
      sandboxId: sandbox.id,
      status: 'STARTING_CONVERSATION',
    });
    expect((await api.post(eventsPath(conversationId), other.key, [event()])).status).toBe(401);
    expect((await api.post(eventsPath(conversationId), sandbox.key, [event()])).status).toBe(200);
  });
});

describe('where sandboxes have to have an owner', () => {
  it('a webhook of one without is refused', async () => {
    const strict = await startEventApi({ requireOwner: true });
    try {
      const ownerless = await strict.newSandbox(null);
      expect(await strict.post(eventsPath(newId()), ownerless.key, [])).toMatchObject({
        status: 401,
        body: { detail: 'Sandbox had no user specified' },
      });
      const owned = await strict.newSandbox('ada');
      expect((await strict.post(eventsPath(newId()), owned.key, [event()])).status).toBe(200);
    } finally {
      await strict.close();
    }
  });
});

describe('what is wrong with a webhook is told in the order', () => {
  const malformed = (offset: number) => ({
    status: 422,
    body: { detail: [{ type: 'json_invalid', loc: ['body', offset], msg: 'JSON decode error' }] },
  });

  it('malformed JSON, then the key, then the rest', async () => {
    expect(await api.post(eventsPath('no-uuid'), 'wrong', '[{]')).toMatchObject(malformed(3));
    expect(await api.post(RECORDS, null, '{"id":')).toMatchObject(malformed(0));
    expect((await api.post(eventsPath('no-uuid'), 'wrong', '[{}]')).status).toBe(401);
    expect((await api.post(RECORDS, 'wrong', '{}')).status).toBe(401);
    expect(await api.post(eventsPath('no-uuid'), sandbox.key, [])).toMatchObject({
      status: 422,
      body: { detail: [{ type: 'uuid_parsing', loc: ['path', 'conversation_id'] }] },
    });
  });

  it('a large body of a stranger is not read', async () => {
    const large = JSON.stringify([{ id: 'x', kind: 'K', text: 'x'.repeat(2_000_000) }]);
    const answer = await api.post(eventsPath(newId()), 'wrong', large).catch((error: unknown) => error);
    // The connection may be cut while the client still writes.
    expect(answer instanceof TypeError || (answer as { status: number }).status === 401).toBe(true);
  });
});

it('compressed bodies are read', async () => {
  const id = newId();
  const response = await fetch(`${api.url}${eventsPath(id)}`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      'content-encoding': 'gzip',
      'x-session-api-key': sandbox.key,
    },
    body: gzipSync(JSON.stringify([event()])),
  });
  expect(response.status).toBe(200);
  expect(await api.events.count({ conversationId: id, users: null })).toBe(1);
});

it('literal segments are never sandbox ids', async () => {
  // `events` is not the id of a sandbox, so this is an event batch of a conversation that cannot be.
  expect(await api.post('/api/v1/webhooks/events/conversations', sandbox.key, [])).toMatchObject({
    status: 422,
    body: { detail: [{ loc: ['path', 'conversation_id'] }] },
  });
});
