import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import type { StartTask } from '../../contract/start-task.js';
import { openApi, type ApiFixture } from '../support/api-fixture.js';
import { insertStartTask, newId } from '../support/rows.js';

let api: ApiFixture;
beforeAll(async () => {
  api = await openApi();
});
afterEach(() => {
  api.conduct.held.clear();
  api.conduct.signedOut.clear();
});
afterAll(() => api.close());

const PATH = '/api/v1/app-conversations/start-tasks/stream';
const LONG = { timeout: 180_000 };

/** A stream of server-sent events as it comes. */
interface Followed {
  status: number;
  type: string | null;
  text: () => string;
  tasks: () => StartTask[];
  lastEventId: () => string;
  ended: () => boolean;
  hangUp: () => void;
}

async function follow(query = '', user = 'ann', headers: Record<string, string> = {}): Promise<Followed> {
  const over = new AbortController();
  const response = await fetch(`${api.url}${PATH}${query}`, {
    headers: { 'x-test-user': user, ...headers },
    signal: over.signal,
  });
  let text = '';
  let ended = false;
  const decoder = new TextDecoder();
  const reading = async (): Promise<void> => {
    for await (const piece of response.body ?? [])
      text += decoder.decode(piece as Uint8Array, { stream: true });
  };
  void reading()
    .catch((error: unknown) => {
      if (!over.signal.aborted) throw error;
    })
    .finally(() => (ended = true));
  return {
    status: response.status,
    type: response.headers.get('content-type'),
    text: () => text,
    tasks: () =>
      [...text.matchAll(/^event: start-task\ndata: (.*)$/gm)].map(
        ([, json]) => JSON.parse(json ?? '') as StartTask,
      ),
    lastEventId: () => [...text.matchAll(/^id: (\d+)$/gm)].at(-1)?.[1] ?? '',
    ended: () => ended,
    hangUp: () => over.abort(),
  };
}

const start = async (user = 'ann'): Promise<StartTask> =>
  (await api.call<StartTask>('POST', '/api/v1/app-conversations', { user, body: {} })).body;

describe('a stream of start tasks', () => {
  it('of one id tells its changes and ends with it', async () => {
    api.conduct.held.add('prepareSkills');
    const { id } = await start();
    const stream = await follow(`?ids=${id}`);
    expect([stream.status, stream.type]).toEqual([200, 'text/event-stream']);
    await vi.waitFor(() => expect(stream.tasks().at(-1)?.status).toBe('SETTING_UP_SKILLS'), LONG);
    api.conduct.held.clear();
    await vi.waitFor(() => expect(stream.ended()).toBe(true), LONG);
    expect(stream.tasks().at(-1)).toMatchObject({ id, status: 'READY' });
    expect(stream.text().endsWith('event: end\ndata: {}\n\n')).toBe(true);
  });

  it('of one that has ended is its last state, whenever it is asked for', async () => {
    const id = await insertStartTask(api.database, { createdByUserId: 'ann', updatedAt: new Date(0) });
    const stream = await follow(`?ids=${id}`);
    await vi.waitFor(() => expect(stream.ended()).toBe(true), LONG);
    expect(stream.tasks().map((task) => [task.id, task.status])).toEqual([[id, 'READY']]);
  });

  it('without ids tells of every start of the user, and of nobody else', async () => {
    const stream = await follow('', 'bob');
    const others = await start('ann');
    const own = await start('bob');
    await vi.waitFor(
      () => expect(stream.tasks().some(({ id, status }) => id === own.id && status === 'READY')).toBe(true),
      LONG,
    );
    expect(stream.tasks().filter(({ id }) => id === others.id)).toEqual([]);
    expect(stream.ended()).toBe(false);
    stream.hangUp();
  });

  it('taken up again tells what has happened meanwhile', async () => {
    api.conduct.held.add('prepareSkills');
    const { id } = await start('cleo');
    const first = await follow('', 'cleo');
    await vi.waitFor(() => expect(first.tasks().at(-1)?.status).toBe('SETTING_UP_SKILLS'), LONG);
    first.hangUp();
    api.conduct.held.clear();
    await vi.waitFor(async () => {
      const { body } = await api.call<StartTask[]>('GET', `${PATH.replace('/stream', '')}?ids=${id}`, {
        user: 'cleo',
      });
      expect(body[0]?.status).toBe('READY');
    }, LONG);
    const second = await follow('', 'cleo', { 'Last-Event-ID': first.lastEventId() });
    await vi.waitFor(() => expect(second.tasks().at(-1)).toMatchObject({ id, status: 'READY' }), LONG);
    second.hangUp();
    await vi.waitFor(() => expect(api.streams.size).toBe(0), LONG);
  });

  it('lives through silence by comments, and ends with the session of its caller', async () => {
    const stream = await follow('', 'dora');
    await vi.waitFor(() => expect(stream.text()).toContain('\n: still here\n\n'), LONG);
    expect(stream.ended()).toBe(false);
    api.conduct.signedOut.add('dora');
    await vi.waitFor(() => expect(stream.ended()).toBe(true), LONG);
  });

  it.each([
    [
      'of another user',
      async () => `?ids=${await insertStartTask(api.database, { createdByUserId: 'ann' })}`,
      404,
    ],
    ['that is not there', () => Promise.resolve(`?ids=${newId()}`), 404],
    ['that is none', () => Promise.resolve('?ids=none'), 422],
    [
      'and too many others',
      () => Promise.resolve(`?${Array.from({ length: 101 }, () => `ids=${newId()}`).join('&')}`),
      400,
    ],
  ])('of an id %s is refused', async (_what, query, status) => {
    const { status: answered } = await api.call('GET', `${PATH}${await query()}`, { user: 'eve' });
    expect(answered).toBe(status);
  });

  it('ends when the server does', async () => {
    const stream = await follow('', 'fay');
    api.streams.endAll();
    await vi.waitFor(() => expect(stream.ended()).toBe(true), LONG);
  });
});
