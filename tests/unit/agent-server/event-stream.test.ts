/** What the stream of events does when its connection breaks, with a server that breaks it. */
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { WebSocketServer } from 'ws';
import type { WebSocket } from 'ws';
import { eventStream } from '../../../agent-server/event-stream.js';
import type { EventStreamRequest } from '../../../agent-server/event-stream.js';

const closing: WebSocketServer[] = [];
afterEach(() => {
  for (const server of closing.splice(0)) {
    for (const socket of server.clients) socket.terminate();
    server.close();
  }
});

/** Serves each connection, after its first message, with the next of the given functions. */
async function serving(...connections: ((socket: WebSocket) => void)[]) {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
  closing.push(server);
  await once(server, 'listening');
  const urls: string[] = [];
  const first: unknown[] = [];
  server.on('connection', (socket, request) => {
    urls.push(request.url!);
    socket.once('message', (data: Buffer) => {
      first.push(JSON.parse(data.toString()));
      connections.shift()?.(socket);
    });
  });
  const request: EventStreamRequest = {
    baseUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    sessionApiKey: 'the-key',
    conversationId: 'c1',
  };
  return { request, urls, first };
}

const send = (socket: WebSocket, ...numbers: number[]) => {
  for (const n of numbers) {
    const event = { id: `e${n}`, kind: 'MessageEvent', timestamp: `2026-01-01T00:00:0${n}.000000` };
    socket.send(JSON.stringify(event));
  }
};

async function take(request: EventStreamRequest, count: number): Promise<string[]> {
  const ids: string[] = [];
  for await (const { id } of eventStream(request)) {
    ids.push(id);
    if (ids.length === count) break;
  }
  return ids;
}

describe('a stream of events whose connection breaks', () => {
  it('is resumed, and brings what was missed without repeating the rest', async () => {
    const { request, urls, first } = await serving(
      (socket) => {
        send(socket, 1, 2);
        socket.close(1012);
      },
      (socket) => send(socket, 1, 2, 3, 4),
    );
    expect(await take({ ...request, resend: 'all' }, 4)).toEqual(['e1', 'e2', 'e3', 'e4']);
    expect(urls).toEqual(Array(2).fill('/sockets/events/c1?resend_mode=all'));
    expect(first).toEqual(Array(2).fill({ type: 'auth', session_api_key: 'the-key' }));
  });

  it('asks only for what came after the newest event if it had begun with the present', async () => {
    const { request, urls } = await serving(
      (socket) => {
        send(socket, 3, 2);
        socket.terminate();
      },
      (socket) => send(socket, 3, 4),
    );
    expect(await take(request, 3)).toEqual(['e3', 'e2', 'e4']);
    expect(urls).toEqual([
      '/sockets/events/c1',
      '/sockets/events/c1?resend_mode=since&after_timestamp=2026-01-01T00%3A00%3A03.000000',
    ]);
  });

  it('fails when the server stays away, or says that it is of no use', async () => {
    const broken = await serving((socket) => socket.terminate());
    await expect(take({ ...broken.request, reconnects: 0 }, 1)).rejects.toMatchObject({
      kind: 'unreachable',
    });
    const refusing = await serving((socket) => socket.close(4004, 'Conversation not found'));
    await expect(take(refusing.request, 1)).rejects.toMatchObject({ kind: 'http', status: 404 });
    expect(refusing.urls).toHaveLength(1);
  });

  it('passes over frames that are no events', async () => {
    const { request } = await serving((socket) => {
      socket.send('hello');
      socket.send('{"kind":"Greeting"}');
      send(socket, 1);
    });
    expect(await take(request, 1)).toEqual(['e1']);
  });

  it('ends quietly when it is aborted, also while it waits to connect again', async () => {
    const controller = new AbortController();
    const { request, urls } = await serving((socket) => {
      send(socket, 1);
      socket.terminate();
    });
    const stream = eventStream({ ...request, signal: controller.signal });
    expect((await stream.next()).value).toMatchObject({ id: 'e1' });
    const next = stream.next();
    setTimeout(() => controller.abort(), 50);
    expect(await next).toEqual({ done: true, value: undefined });
    expect(urls).toHaveLength(1);
    expect(await take({ ...request, signal: AbortSignal.abort() }, 1)).toEqual([]);
  });
});
