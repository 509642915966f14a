import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { dashedId } from '../../contract/ids.js';
import { MOST_PENDING_MESSAGES, type PendingMessageInfo } from '../../contract/pending-message.js';
import type { StartTask } from '../../contract/start-task.js';
import { PendingMessageRepository } from '../../db/pending-message-repository.js';
import type { sandboxes } from '../../db/schema/index.js';
import { purposes } from '../../identity/vault.js';
import { openApi, type ApiFixture } from '../support/api-fixture.js';
import { insertConversation, insertSandbox, insertStartTask, newId } from '../support/rows.js';
import { testVault } from '../support/test-vault.js';

const BASE = '/api/v1/app-conversations';
const SESSION_KEY = 'the session key of the sandbox';

let api: ApiFixture;
let messages: PendingMessageRepository;
beforeAll(async () => {
  api = await openApi();
  messages = new PendingMessageRepository(api.database);
});
afterEach(() => {
  Object.assign(api.agentServer, { status: 200, hung: false, executionStatus: 'idle', inToolCall: false });
  Object.assign(api.conduct, { failing: null, failBoot: null });
  api.agentServer.requests.length = 0;
  api.conduct.held.clear();
});
afterAll(() => api.close());

/** A conversation of Ann's in a RUNNING sandbox whose agent-server is the fake one. */
async function running(sandbox: Partial<typeof sandboxes.$inferInsert> = {}): Promise<string> {
  const sandboxId = newId();
  await insertSandbox(api.database, {
    id: sandboxId,
    createdByUserId: 'ann',
    sessionApiKey: await testVault.seal(purposes.sessionKey(sandboxId), SESSION_KEY),
    agentServerUrl: api.agentServer.url,
    ...sandbox,
  });
  return insertConversation(api.database, { createdByUserId: 'ann', sandboxId });
}

const text = (value: string) => ({ content: [{ type: 'text', text: value }] });
type Sent = { success: boolean; sandbox_status: string; message: string | null; detail: unknown };
type Queued = { id: string; queued: boolean; position: number; detail: string };

const send = (id: string, body: object = text('hello'), { user = 'ann', key = '' } = {}) =>
  api.call<Sent>('POST', `${BASE}/${id}/send-message`, {
    user,
    body,
    ...(key === '' ? {} : { headers: { 'Idempotency-Key': key } }),
  });
const pending = (id: string) => `/api/v1/conversations/${id}/pending-messages`;
const queue = (id: string, body: unknown = text('hello'), user = 'ann') =>
  api.call<Queued>('POST', pending(id), { user, body });
const list = async (id: string, user = 'ann') =>
  (await api.call<{ items: PendingMessageInfo[] }>('GET', pending(id), { user })).body.items;
const heard = (id: string) => api.agentServer.heard(dashedId(id));
const hears = (id: string, texts: string[]) =>
  vi.waitFor(() => expect(heard(id)).toEqual(texts), { timeout: 90_000, interval: 20 });
const nothingWaits = (id: string) =>
  vi.waitFor(async () => expect(await messages.undelivered(id)).toEqual([]), 90_000);

const start = async (request: object = {}) =>
  (await api.call<StartTask>('POST', BASE, { user: 'ann', body: request })).body;
const endOfStart = (id: string) =>
  vi.waitFor(
    async () => {
      const { body } = await api.call<StartTask[]>('GET', `${BASE}/start-tasks?ids=${id}`, { user: 'ann' });
      expect(['READY', 'ERROR']).toContain(body[0]!.status);
      return body[0]!;
    },
    { timeout: 90_000, interval: 20 },
  );

describe('send-message', () => {
  it('hands the message to the agent-server under the dashed id, and renews the idle time', async () => {
    const long = new Date('2020-01-01T00:00:00Z');
    const id = await running({ lastActiveAt: long });
    expect(await send(id)).toMatchObject({
      status: 200,
      body: { success: true, sandbox_status: 'RUNNING', message: null },
    });
    expect(api.agentServer.requests.filter(({ method }) => method === 'POST')).toMatchObject([
      {
        path: `/api/conversations/${dashedId(id)}/events`,
        sessionKey: SESSION_KEY,
        body: { role: 'user', content: [{ type: 'text', text: 'hello', cache_prompt: false }], run: true },
      },
    ]);
    const { body } = await api.call<{ sandbox_id: string }[]>('GET', `${BASE}?ids=${id}`, { user: 'ann' });
    expect((await api.sandboxes.read(body[0]!.sandbox_id))?.lastActiveAt.getTime()).toBeGreaterThan(
      long.getTime(),
    );
  });

  it.each(['PAUSED', 'MISSING', 'STARTING'] as const)(
    'to a sandbox that is %s queues the message, says so, and has the sandbox resumed',
    async (status) => {
      const id = await running({ status });
      const { status: code, body } = await send(id);
      expect(code).toBe(200);
      expect(body).toMatchObject({ success: true, sandbox_status: status });
      expect(body.message).toContain('is queued and will be delivered');
      await hears(id, ['hello']);
      await nothingWaits(id);
    },
  );

  it('says for each state in which nothing can be delivered what is wrong', async () => {
    const cases = [
      [await running({ status: 'ERROR' }), 503, 'Sandbox is in an error state and cannot accept messages.'],
      [
        await running({ deletedAt: new Date() }),
        410,
        'Conversation is archived. The sandbox no longer exists.',
      ],
      [await running({ agentServerUrl: null }), 503, 'No agent server URL found for sandbox.'],
    ] as const;
    for (const [id, status, detail] of cases)
      expect(await send(id)).toMatchObject({ status, body: { detail } });
    const homeless = await insertConversation(api.database, { createdByUserId: 'ann' });
    expect(await send(homeless)).toMatchObject({
      status: 404,
      body: { detail: `Sandbox not found for conversation ${dashedId(homeless)}` },
    });
  });

  it('refuses empty messages, other roles, and conversations that are missing or foreign', async () => {
    const id = await running();
    expect((await send(id, { content: [] })).status).toBe(422);
    expect((await send(id, { role: 'system', ...text('x') })).status).toBe(422);
    expect((await send('abc')).status).toBe(422);
    expect(await send(id, undefined, { user: 'bob' })).toMatchObject({
      status: 404,
      body: { detail: `Conversation ${dashedId(id)} not found` },
    });
    expect(api.agentServer.requests).toEqual([]);
  });

  it('tells that the agent-server refused a message, and goes on with the next one', async () => {
    const id = await running();
    api.agentServer.refusals.push(422);
    expect(await send(id, text('one'))).toMatchObject({
      status: 502,
      body: { detail: 'Agent server error: 422' },
    });
    expect((await send(id, text('two'))).status).toBe(200);
    expect(heard(id)).toEqual(['two']);
    expect(await list(id)).toMatchObject([
      { status: 'failed', position: null, detail: 'Agent server error: 422' },
    ]);
  });

  it('tries an agent-server that fails again, and believes it in the end', async () => {
    const id = await running();
    api.agentServer.refusals.push(500, 503);
    expect((await send(id, text('one'))).status).toBe(200);
    expect(heard(id)).toEqual(['one']);
    api.agentServer.refusals.push(500, 500, 500);
    expect(await send(id, text('two'))).toMatchObject({
      status: 502,
      body: { detail: 'Agent server error: 500' },
    });
    expect(heard(id)).toEqual(['one']);
  });

  it('sent twice with one Idempotency-Key is one message', async () => {
    const id = await running();
    await Promise.all([1, 2, 3].map(() => send(id, text('once'), { key: 'k' })));
    expect((await send(id, text('once'), { key: 'k' })).body.message).toBeNull();
    expect(heard(id)).toEqual(['once']);
  });

  it('keeps texts and images as they are', async () => {
    const id = await running();
    const content = [
      { type: 'text', text: 'NUL \u0000, a half \ud800, "quotes"\n' },
      { type: 'image', image_urls: ['data:image/png;base64,AAAA'] },
      { type: 'image_url', image_url: { url: 'https://example.com/a.png' } },
    ];
    expect((await send(id, { content })).status).toBe(200);
    expect(api.agentServer.log(dashedId(id))[0]?.llm_message?.content).toMatchObject([
      { type: 'text', text: 'NUL \u0000, a half \ud800, "quotes"\n' },
      { type: 'image', image_urls: ['data:image/png;base64,AAAA'] },
      { type: 'image', image_urls: ['https://example.com/a.png'] },
    ]);
  });
});

describe('a message whose answer got lost', () => {
  it.each(['kept, answer lost', 'lost', 'kept, answered with 500'] as const)(
    'is in the log once (%s), even if it was said before',
    async (mishap) => {
      const id = await running();
      await send(id, text('again'));
      api.agentServer.mishaps.push(mishap);
      expect(await send(id, text('again'))).toMatchObject({ status: 200, body: { message: null } });
      await send(id, text('after'));
      expect(heard(id)).toEqual(['again', 'again', 'after']);
    },
  );

  it('while a tool call keeps it out of the log is waited for, not sent again', async () => {
    const id = await running();
    Object.assign(api.agentServer, { inToolCall: true, executionStatus: 'running' });
    api.agentServer
      .log(dashedId(id))
      .push({ id: newId(), kind: 'ActionEvent', source: 'agent', timestamp: '2026-11-22T00:00:00' });
    api.agentServer.mishaps.push('kept, answer lost');
    const sent = send(id, text('patience'));
    const looks = () => api.agentServer.requests.filter(({ path }) => path.endsWith('/events/search')).length;
    await vi.waitFor(() => expect(looks()).toBeGreaterThan(60), { timeout: 90_000, interval: 20 });
    expect(heard(id)).toEqual([]);
    api.agentServer.endToolCall();
    expect((await sent).status).toBe(200);
    expect(heard(id)).toEqual(['patience']);
  });

  it('goes on at another worker when the one that delivers it is stopped', async () => {
    const id = await running();
    api.agentServer.mishaps.push('hangs');
    const sent = send(id, text('moving on'));
    await vi.waitFor(async () => expect((await messages.next(id))?.toldAt).toBeInstanceOf(Date), 90_000);
    await api.stopWorker();
    await api.startWorker();
    await hears(id, ['moving on']);
    await nothingWaits(id);
    expect((await sent).status).toBe(200);
  });
});

describe('pending messages', () => {
  it('of a start are delivered in order, once, when it is READY', async () => {
    api.conduct.held.add('prepareRepository');
    const task = await start();
    const other = await insertStartTask(api.database, { createdByUserId: 'bob', status: 'WORKING' });
    const texts = Array.from({ length: MOST_PENDING_MESSAGES }, (_, index) => `message ${index + 1}`);
    const ids: string[] = [];
    for (const [index, value] of texts.entries()) {
      const { status, body } = await queue(`task-${task.id}`, text(value));
      expect(status).toBe(201);
      expect(body).toEqual({ id: body.id, queued: true, position: index + 1 });
      expect(body.id).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
      ids.push(body.id);
    }
    const full = await queue(`task-${dashedId(task.id)}`);
    expect(full).toMatchObject({
      status: 429,
      body: { detail: 'Too many pending messages. Maximum 10 messages per conversation.' },
    });
    expect(full.headers.get('retry-after')).toBe('5');
    expect((await list(`task-${task.id}`)).map(({ id, position, status }) => [id, position, status])).toEqual(
      ids.map((id, index) => [id, index + 1, 'waiting']),
    );
    expect((await queue(`task-${other}`)).status).toBe(404);
    const taken = await api.call('DELETE', `${pending(`task-${task.id}`)}/${ids[3]}`, { user: 'ann' });
    expect(taken).toMatchObject({ status: 200, body: { success: true } });

    api.conduct.held.clear();
    const { app_conversation_id: id } = await endOfStart(task.id);
    await hears(
      id!,
      texts.filter((_, index) => index !== 3),
    );
    await nothingWaits(id!);
    expect((await queue(dashedId(id!), text('late'))).status).toBe(201);
    expect((await queue(id!, text('later'))).status).toBe(201);
    await vi.waitFor(() => expect(heard(id!).slice(-2)).toEqual(['late', 'later']), 90_000);
    const gone = await api.call('DELETE', `${pending(id!)}/${ids[0]}`, { user: 'ann' });
    expect(gone.status).toBe(404);
  });

  it('of a start that failed wait for the next start of the conversation, and say so (D14)', async () => {
    const conversationId = newId();
    api.conduct.failing = 'prepareSkills';
    api.conduct.held.add('prepareSkills');
    const task = await start({ conversation_id: conversationId });
    expect((await queue(`task-${task.id}`, text('one'))).status).toBe(201);
    expect((await queue(conversationId, text('two'))).status).toBe(201);
    expect((await send(conversationId, text('three'))).body.sandbox_status).toBe('STARTING');
    api.conduct.held.clear();
    expect((await endOfStart(task.id)).status).toBe('ERROR');
    expect(await list(conversationId)).toMatchObject(
      [1, 2, 3].map((position) => ({
        position,
        status: 'waiting',
        detail: expect.stringContaining('prepareSkills failed') as string,
      })),
    );
    expect(await queue(`task-${task.id}`)).toMatchObject({
      status: 409,
      body: { detail: expect.stringContaining('start it again') as string },
    });

    api.conduct.failing = null;
    const second = await start({ conversation_id: conversationId });
    expect(await endOfStart(second.id)).toMatchObject({ status: 'READY' });
    await hears(conversationId, ['one', 'two', 'three']);
  });

  it('of a start that failed are delivered once, in order, when it is tried again, with those that come meanwhile', async () => {
    api.conduct.held.add('prepareSkills');
    const task = await start();
    const texts = ['one', 'two', 'three'];
    for (const value of texts) expect((await queue(`task-${task.id}`, text(value))).status).toBe(201);
    api.conduct.failing = 'prepareSkills';
    api.conduct.held.clear();
    expect((await endOfStart(task.id)).status).toBe('ERROR');

    api.conduct.failing = null;
    api.conduct.held.add('prepareSkills');
    const again = () => api.call<StartTask>('POST', `${BASE}/start-tasks/${task.id}/retry`, { user: 'ann' });
    const { body: second } = await again();
    expect((await queue(`task-${second.id}`, text('four'))).status).toBe(201);
    expect((await again()).body.id).toBe(second.id);
    api.conduct.held.clear();
    const { status, app_conversation_id: id } = await endOfStart(second.id);
    expect(status).toBe('READY');
    await hears(id!, [...texts, 'four']);
    await nothingWaits(id!);
    // What is sent now comes after them, and nothing of them comes again.
    await send(id!, text('five'));
    expect(heard(id!)).toEqual([...texts, 'four', 'five']);
  });

  it('and messages sent keep their order, however they come', async () => {
    const id = await running({ status: 'PAUSED' });
    api.conduct.held.add('boot');
    await queue(id, text('1'));
    await send(id, text('2'));
    await queue(id, text('3'));
    await send(id, text('4'));
    expect(heard(id)).toEqual([]);
    api.conduct.held.clear();
    await hears(id, ['1', '2', '3', '4']);
  });

  it('survive a sandbox that cannot be resumed, and are delivered when it runs again (D14)', async () => {
    const id = await running({ status: 'PAUSED' });
    const { body } = await api.call<{ sandbox_id: string }[]>('GET', `${BASE}?ids=${id}`, { user: 'ann' });
    await messages.add({
      conversationId: id,
      content: [{ type: 'text', text: 'still here', cache_prompt: false }],
      run: true,
      idempotencyKey: null,
    });
    await messages.block(id, 'The sandbox could not be resumed: no luck');
    expect(await messages.conversationsToWake()).not.toContain(id);
    expect(await list(id)).toMatchObject([{ detail: 'The sandbox could not be resumed: no luck' }]);
    await api.sandboxes.setStatus(body[0]!.sandbox_id, 'RUNNING');
    await hears(id, ['still here']);
  });

  it('are found by the sweep when nobody could be told of them', async () => {
    const id = await running();
    await messages.add({
      conversationId: id,
      content: [{ type: 'text', text: 'left behind', cache_prompt: false }],
      run: true,
      idempotencyKey: null,
    });
    expect(await messages.conversationsToWake()).toContain(id);
    await messages.forget([id]);
  });

  it('go with their conversation', async () => {
    const id = await running({ status: 'PAUSED' });
    api.conduct.held.add('boot');
    await queue(id);
    expect((await api.call('DELETE', `${BASE}/${id}`, { user: 'ann' })).status).toBe(200);
    expect(await messages.undelivered(id)).toEqual([]);
    expect((await queue(id)).status).toBe(404);
    api.conduct.held.clear();
    await vi.waitFor(() => expect(api.deletions.deleted).toContain(id), 90_000);
    expect(heard(id)).toEqual([]);
  });

  it.each([
    ['no JSON', '{"content": [', 'Invalid request body'],
    ['nothing', undefined, 'Invalid request body'],
    ['a list', [text('x')], 'Invalid request body'],
    ['no content', {}, 'content must be a non-empty list'],
    ['empty content', { content: [] }, 'content must be a non-empty list'],
    ['content that is no list', { content: 'hello' }, 'content must be a non-empty list'],
    ['a block of no known type', { content: [{ type: 'video' }] }, /^Invalid content format: 0/],
    ['a block without text', { content: [{ type: 'text' }] }, /^Invalid content format: 0\.text/],
    ['another role', { role: 'system', ...text('x') }, 'Only messages of the role user are accepted.'],
  ])('refuse %s with 400', async (_name, body, detail) => {
    const id = await running();
    const response = await fetch(`${api.url}${pending(id)}`, {
      method: 'POST',
      headers: { 'x-test-user': 'ann', 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    expect(response.status).toBe(400);
    const answer = (await response.json()) as { detail: string };
    expect(answer.detail).toEqual(typeof detail === 'string' ? detail : expect.stringMatching(detail));
  });

  it('of others, and of what does not exist, are not there', async () => {
    const id = await running();
    for (const [address, user] of [
      [id, 'bob'],
      [newId(), 'ann'],
      [`task-${newId()}`, 'ann'],
      ['anything', 'ann'],
      ['task-x', 'ann'],
    ] as const) {
      expect(await queue(address, text('x'), user)).toMatchObject({
        status: 404,
        body: { detail: expect.stringContaining('not found') as string },
      });
      expect((await api.call('GET', pending(address), { user })).status).toBe(404);
    }
  });
});
