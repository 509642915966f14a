import { afterEach, describe, expect, it, vi } from 'vitest';
import type { WebSocket } from 'ws';
import {
  openGateway,
  type GatewayFixture,
  type GatewaySettings,
  type Stage,
} from '../support/gateway-fixture.js';
import { handshakeStatus, SocketClient } from '../support/socket-client.js';

let gateway: GatewayFixture;
afterEach(() => gateway.close());

const withKey = (key: string) => ({ headers: { 'X-Session-API-Key': key } });
const eventsOf = ({ conversationId }: Stage) => `${gateway.url}/sockets/events/${conversationId}`;
const start = async (settings: GatewaySettings) => {
  gateway = await openGateway(settings);
  return gateway.stage({ user: 'ann' });
};

describe('a client that reads slowly', () => {
  const FRAME = 'x'.repeat(64 * 1024);
  /** Sends until a few hundred megabytes have gone, or nobody takes any more. */
  const flood = (socket: WebSocket): (() => number) => {
    let sent = 0;
    const more = (): void => {
      if (socket.readyState !== 1 || sent >= 4_000) return;
      socket.send(FRAME, () => {
        sent++;
        setImmediate(more);
      });
    };
    more();
    return () => sent;
  };

  it('holds up the agent-server instead of filling the memory, and goes on where it was', async () => {
    const box = await start({ limits: { stallMs: 60_000 } });
    const client = await SocketClient.open(eventsOf(box), withKey(box.key));
    client.socket.pause();
    const [socket] = gateway.agentServer.sockets;
    const sent = flood(socket!);
    let before = -1;
    await vi.waitFor(
      () => {
        const now = sent();
        const stopped = now === before && now > 0;
        before = now;
        expect(stopped).toBe(true);
      },
      { timeout: 90_000, interval: 300 },
    );
    // What lies in the buffers of two connections and in the gateway's own, far from all of it.
    expect(sent() * FRAME.length).toBeLessThan(64 * 1024 * 1024);
    client.socket.resume();
    await vi.waitFor(() => expect(client.frames.length).toBeGreaterThan(before + 100), { timeout: 90_000 });
    client.socket.terminate();
  });

  it('is hung up on when it takes nothing at all', async () => {
    const box = await start({ limits: { stallMs: 300, closeMs: 300 } });
    const client = await SocketClient.open(eventsOf(box), withKey(box.key));
    client.socket.pause();
    const [socket] = gateway.agentServer.sockets;
    const closed = new Promise((resolve) => socket!.on('close', resolve));
    flood(socket!);
    expect(await closed).toBe(1001);
    client.socket.terminate();
  });
});

describe('an end that is silent', () => {
  it('is given up when it is the client', async () => {
    const box = await start({ limits: { heartbeatMs: 200 } });
    const client = await SocketClient.open(eventsOf(box), { ...withKey(box.key), autoPong: false });
    const closed = new Promise((resolve) => gateway.agentServer.sockets[0]!.on('close', resolve));
    expect(await closed).toBe(1001);
    client.socket.terminate();
  });

  it('is given up when it is the agent-server, and the client told to come back', async () => {
    const box = await start({ limits: { heartbeatMs: 200 } });
    gateway.agentServer.onSocket = (socket) => socket.pause();
    const client = await SocketClient.open(eventsOf(box), withKey(box.key));
    expect((await client.closed).code).toBe(1012);
  });

  it('is kept while both answer', async () => {
    const box = await start({ limits: { heartbeatMs: 50 } });
    const client = await SocketClient.open(eventsOf(box), withKey(box.key));
    let pings = 0;
    client.socket.on('ping', () => pings++);
    await vi.waitFor(() => expect(pings).toBeGreaterThan(4), 90_000);
    expect(client.socket.readyState).toBe(1);
    client.socket.terminate();
  });
});

describe('the number of sockets', () => {
  it('is limited for a sandbox, and a closed one makes room', async () => {
    const box = await start({ socketsPerSandbox: 2 });
    const clients = await Promise.all([1, 2].map(() => SocketClient.open(eventsOf(box), withKey(box.key))));
    expect(await handshakeStatus(eventsOf(box), withKey(box.key))).toBe(429);
    const late = await SocketClient.open(eventsOf(box));
    late.socket.send(JSON.stringify({ type: 'auth', session_api_key: box.key }));
    expect((await late.closed).code).toBe(1013);
    clients[0]!.socket.close();
    await vi.waitFor(
      async () => expect(await handshakeStatus(eventsOf(box), withKey(box.key))).toBe(101),
      30_000,
    );
    for (const { socket } of clients) socket.terminate();
  });

  it('is limited for those who have not said who they are', async () => {
    const box = await start({ limits: { unauthenticated: 1, authMs: 60_000 } });
    const waiting = await SocketClient.open(eventsOf(box));
    expect(await handshakeStatus(eventsOf(box))).toBe(503);
    expect(await handshakeStatus(eventsOf(box), withKey(box.key))).toBe(101);
    waiting.socket.terminate();
    await vi.waitFor(async () => expect(await handshakeStatus(eventsOf(box))).toBe(101), 90_000);
  });
});

describe('a shutdown', () => {
  it('closes every socket with 1001 and takes no others', async () => {
    const box = await start({});
    const clients = await Promise.all([1, 2].map(() => SocketClient.open(eventsOf(box), withKey(box.key))));
    await gateway.closeSockets();
    for (const client of clients) expect((await client.closed).code).toBe(1001);
    expect(await handshakeStatus(eventsOf(box), withKey(box.key))).toBe(503);
  });
});

describe('an instance without identity', () => {
  it('wants the session key, since nobody in particular may listen', async () => {
    const box = await start({ noIdentity: true, limits: { authMs: 200 } });
    const client = await SocketClient.open(eventsOf(box));
    expect((await client.closed).code).toBe(4001);
    expect(await handshakeStatus(eventsOf(box), withKey(box.key))).toBe(101);
  });

  it('takes its own key, in either place, for any conversation', async () => {
    const box = await start({ noIdentity: true, instanceKey: 'of-the-instance' });
    expect(await handshakeStatus(eventsOf(box), withKey('of-the-instance'))).toBe(101);
    const bearer = { headers: { Authorization: 'Bearer of-the-instance' } };
    expect(await handshakeStatus(eventsOf(box), bearer)).toBe(101);
    expect(gateway.agentServer.handshakes.map(({ headers }) => headers['x-session-api-key'])).toEqual([
      box.key,
      box.key,
    ]);
    expect(await handshakeStatus(`${eventsOf(box)}?session_api_key=of-the-instance`)).toBe(403);
    expect(await handshakeStatus(eventsOf(box), withKey(box.key))).toBe(101);
  });

  it('does not take a cookie for the key of the instance', async () => {
    const box = await start({ instanceKey: 'of-the-instance', limits: { authMs: 200 } });
    const client = await SocketClient.open(eventsOf(box), gateway.ofBrowser('ann'));
    expect((await client.closed).code).toBe(4001);
  });
});
