/** Webhooks that come faster than they can be stored, or slower than anybody should wait. */
import { once } from 'node:events';
import { connect } from 'node:net';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { startEventApi, type EventApi, type EventApiOptions } from '../support/event-api.js';
import { newId } from '../support/rows.js';

let api: EventApi;
afterEach(() => api.close());

const event = (size = 10) => ({ id: newId(), kind: 'MessageEvent', text: 'x'.repeat(size) });

/** An API whose store waits for `release`; what it is given is stored then. */
async function slowApi(admission: EventApiOptions['admission']) {
  let release = (): void => undefined;
  const released = new Promise<void>((resolve) => (release = resolve));
  let waiting = 0;
  api = await startEventApi({
    admission,
    wrapEvents: (events) => ({
      ...events,
      async ingest(id, incoming) {
        waiting++;
        await released;
        return events.ingest(id, incoming);
      },
    }),
  });
  return { release, waiting: () => waiting };
}

const post = async (key: string, id: string, events: unknown[]) => {
  const response = await fetch(`${api.url}/api/v1/webhooks/events/${id}`, {
    method: 'POST',
    headers: { 'X-Session-API-Key': key },
    body: JSON.stringify(events),
  });
  return {
    status: response.status,
    retryAfter: response.headers.get('retry-after'),
    body: await response.text(),
  };
};

describe('while the store is slow', () => {
  it('what is beyond the limit is refused at once with Retry-After, and nothing is lost when it is sent again', async () => {
    const { release, waiting } = await slowApi({ requests: 4, bytes: 1_000_000 });
    const boxes = await Promise.all([api.newSandbox(), api.newSandbox()]);
    const ids = [newId(), newId()];
    const sent = ids.map(() => Array.from({ length: 6 }, () => event()));
    const taken = [0, 1].flatMap((box) =>
      [0, 1].map((n) => post(boxes[box]?.key ?? '', ids[box] ?? '', [sent[box]?.[n]])),
    );
    await vi.waitFor(() => expect(waiting()).toBe(4), 90_000);
    expect(await post(boxes[0]?.key ?? '', ids[0] ?? '', [sent[0]?.[2]])).toMatchObject({
      status: 503,
      retryAfter: '1',
    });
    expect(api.lost).toEqual([ids[0]]);
    release();
    expect((await Promise.all(taken)).map(({ status }) => status)).toEqual([200, 200, 200, 200]);
    for (const box of [0, 1]) {
      for (const one of sent[box] ?? []) {
        expect((await post(boxes[box]?.key ?? '', ids[box] ?? '', [one])).status).toBe(200);
      }
      expect(await api.events.count({ conversationId: ids[box] ?? '', users: null })).toBe(6);
    }
    expect(api.admitted.inHand).toEqual({ requests: 0, bytes: 0 });
  });

  it('one sandbox takes no more than half of the room', async () => {
    const { release, waiting } = await slowApi({ requests: 4, bytes: 1_000_000 });
    const [greedy, other] = await Promise.all([api.newSandbox(), api.newSandbox()]);
    const [id, otherId] = [newId(), newId()];
    const first = [1, 2].map(() => post(greedy.key, id, [event()]));
    await vi.waitFor(() => expect(waiting()).toBe(2), 90_000);
    expect((await post(greedy.key, id, [event()])).status).toBe(503);
    const second = post(other.key, otherId, [event()]);
    await vi.waitFor(() => expect(waiting()).toBe(3), 90_000);
    release();
    expect((await Promise.all([...first, second])).map(({ status }) => status)).toEqual([200, 200, 200]);
  });

  it('the bytes in hand are bounded, and a batch larger than the bound is taken when it is alone', async () => {
    const { release, waiting } = await slowApi({ requests: 100, bytes: 10_000 });
    const [box, other] = await Promise.all([api.newSandbox(), api.newSandbox()]);
    const large = post(box.key, newId(), [event(30_000)]);
    await vi.waitFor(() => expect(waiting()).toBe(1), 90_000);
    expect(api.admitted.inHand.bytes).toBeGreaterThan(30_000);
    expect((await post(other.key, newId(), [event(100)])).status).toBe(503);
    release();
    expect((await large).status).toBe(200);
    expect((await post(other.key, newId(), [event(100)])).status).toBe(200);
  });
});

describe('a body that comes slowly', () => {
  const head = (key: string, id: string) =>
    `POST /api/v1/webhooks/events/${id} HTTP/1.1\r\nHost: x\r\nX-Session-API-Key: ${key}\r\nContent-Length: 1000\r\n\r\n[{"id":`;

  it('is given up, and its room given back', async () => {
    api = await startEventApi({ bodyWithinMs: 300 });
    const box = await api.newSandbox();
    const id = newId();
    const socket = connect(Number(new URL(api.url).port), '127.0.0.1');
    let answer = '';
    socket.on('data', (data) => (answer += data.toString()));
    socket.write(head(box.key, id));
    await vi.waitFor(() => expect(api.admitted.inHand.bytes).toBeGreaterThan(0), 90_000);
    await once(socket, 'close');
    expect(answer).toMatch(/^HTTP\/1.1 408 /);
    expect(api.admitted.inHand).toEqual({ requests: 0, bytes: 0 });
    expect(api.lost).toEqual([id]);
  });

  it('and is broken off gives its room back', async () => {
    api = await startEventApi();
    const box = await api.newSandbox();
    const socket = connect(Number(new URL(api.url).port), '127.0.0.1');
    socket.write(head(box.key, newId()));
    await vi.waitFor(() => expect(api.admitted.inHand.requests).toBe(1), 90_000);
    socket.destroy();
    await vi.waitFor(() => expect(api.admitted.inHand).toEqual({ requests: 0, bytes: 0 }), 90_000);
  });
});
