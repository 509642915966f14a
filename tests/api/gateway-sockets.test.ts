import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { dashedId } from '../../contract/ids.js';
import { handshakeStatus, Refused, SocketClient } from '../support/socket-client.js';
import { openGateway, type GatewayFixture, type Stage } from '../support/gateway-fixture.js';
import { insertConversation, newId } from '../support/rows.js';

let gateway: GatewayFixture;
let box: Stage;
let other: Stage;

beforeAll(async () => {
  gateway = await openGateway({
    limits: {
      authMs: 500,
      connectMs: 500,
      clientFrameBytes: 10_000,
      upstreamFrameBytes: 200_000,
      lookAgainMs: 200,
    },
  });
  box = await gateway.stage({ user: 'ann' });
  other = await gateway.stage({ user: 'eve' });
});
afterAll(() => gateway.close());
afterEach(() => {
  gateway.agentServer.onSocket = () => undefined;
  gateway.agentServer.refuseWith = null;
  gateway.agentServer.hung = false;
});

const eventsOf = ({ conversationId }: Pick<Stage, 'conversationId'>, query = '') =>
  `${gateway.url}/sockets/events/${conversationId}${query}`;
const withKey = (key: string) => ({ headers: { 'X-Session-API-Key': key } });
const last = <T>(items: readonly T[]): T => {
  const item = items.at(-1);
  if (item === undefined) throw new Error('there is none');
  return item;
};

describe('a socket is opened by', () => {
  it.each<[string, () => [string, object?]]>([
    ['the key as header', () => [eventsOf(box), withKey(box.key)]],
    ['the key as bearer token', () => [eventsOf(box), { headers: { Authorization: `Bearer ${box.key}` } }]],
    ['the key in the query', () => [eventsOf(box, `?session_api_key=${box.key}`)]],
    [
      'the key in the query, whatever the header says',
      () => [eventsOf(box, `?session_api_key=${box.key}`), withKey('wrong')],
    ],
    ['the header, when the query is empty', () => [eventsOf(box, '?session_api_key='), withKey(box.key)]],
    [
      'the header, whatever bearer there is',
      () => [eventsOf(box), { headers: { 'X-Session-API-Key': box.key, Authorization: 'Bearer wrong' } }],
    ],
    [
      'the bearer token, when the header is empty',
      () => [eventsOf(box), { headers: { 'X-Session-API-Key': '', Authorization: `Bearer ${box.key}` } }],
    ],
    [
      'an id with dashes',
      () => [eventsOf({ conversationId: dashedId(box.conversationId) }), withKey(box.key)],
    ],
    ["the owner's cookie", () => [eventsOf(box), gateway.ofBrowser('ann')]],
    ["the owner's own bearer key", () => [eventsOf(box), { headers: { Authorization: 'Bearer user-ann' } }]],
    [
      'a cookie from a permitted page',
      () => [eventsOf(box), { headers: { Cookie: 'user=ann', Origin: 'http://localhost:5173' } }],
    ],
    [
      'a key from any page',
      () => [
        eventsOf(box, `?session_api_key=${box.key}`),
        { headers: { Origin: 'https://elsewhere.example' } },
      ],
    ],
    ['bash events by their key alone', () => [`${gateway.url}/sockets/bash-events`, withKey(box.key)]],
    [
      'bash events of a conversation',
      () => [`${gateway.url}/sockets/bash-events/${box.conversationId}`, withKey(box.key)],
    ],
    [
      "the sandbox's own path",
      () => [
        `${gateway.url}/api/v1/sandboxes/${box.sandboxId}/agent-server/sockets/events/${newId()}`,
        withKey(box.key),
      ],
    ],
  ])('%s', async (_, request) => {
    const [url, options] = request();
    expect(await handshakeStatus(url, options)).toBe(101);
    const { url: upstream, headers } = last(gateway.agentServer.handshakes);
    expect(headers['x-session-api-key']).toBe(box.key);
    expect(upstream).not.toContain('key');
    expect(headers).not.toHaveProperty('authorization');
    expect(headers).not.toHaveProperty('cookie');
    expect(headers).not.toHaveProperty('origin');
  });
});

describe('a handshake is refused, before it is one, with', () => {
  const paused = () => gateway.stage({ status: 'PAUSED' });
  it.each<[number, string, () => Promise<[string, object?]> | [string, object?]]>([
    [403, 'a wrong key as header', () => [eventsOf(box), withKey('wrong')]],
    [403, 'a wrong bearer token', () => [eventsOf(box), { headers: { Authorization: 'Bearer wrong' } }]],
    [403, 'a wrong key in the query', () => [eventsOf(box, '?session_api_key=wrong')]],
    [
      403,
      'a wrong key in the query beside the right header',
      () => [eventsOf(box, '?session_api_key=wrong'), withKey(box.key)],
    ],
    [
      403,
      'a wrong key beside the right cookie',
      () => [eventsOf(box), { headers: { 'X-Session-API-Key': 'wrong', Cookie: 'user=ann' } }],
    ],
    [403, 'the key of another sandbox', () => [eventsOf(box), withKey(other.key)]],
    [
      403,
      'the key of another sandbox on the path of this one',
      () => [
        `${gateway.url}/api/v1/sandboxes/${box.sandboxId}/agent-server/sockets/events/${box.conversationId}`,
        withKey(other.key),
      ],
    ],
    [
      403,
      'a cookie from a strange page',
      () => [eventsOf(box), { headers: { Cookie: 'user=ann', Origin: 'https://elsewhere.example' } }],
    ],
    [403, 'a cookie that no page sent', () => [eventsOf(box), { headers: { Cookie: 'user=ann' } }]],
    [
      403,
      'a cookie from a page that cannot be told (a sandboxed frame, a file)',
      () => [eventsOf(box), { headers: { Cookie: 'user=ann', Origin: 'null' } }],
    ],
    [
      403,
      'a cookie from a page whose address begins like ours',
      () => [eventsOf(box), { headers: { Cookie: 'user=ann', Origin: `${gateway.url}.evil.example` } }],
    ],
    [
      403,
      'a cookie from a sibling site',
      () => [
        eventsOf(box),
        {
          headers: {
            Cookie: 'user=ann',
            Origin: 'https://other.example.com',
            'Sec-Fetch-Site': 'same-site',
          },
        },
      ],
    ],
    [403, 'a wrong API key', () => [eventsOf(box), { headers: { 'X-API-Key': 'wrong' } }]],
    [
      403,
      'a member who wants the bash of another',
      () => {
        return [`${gateway.url}/sockets/bash-events/${box.conversationId}`, gateway.ofBrowser('bob')];
      },
    ],
    [
      403,
      'a user who names neither conversation nor sandbox',
      () => {
        return [`${gateway.url}/sockets/bash-events`, gateway.ofBrowser('ann')];
      },
    ],
    [404, "somebody else's conversation", () => [eventsOf(box), gateway.ofBrowser('eve')]],
    [404, 'an unknown conversation', () => [eventsOf({ conversationId: newId() }), withKey(box.key)]],
    [404, 'an id that is none', () => [`${gateway.url}/sockets/events/..%2f..`, withKey(box.key)]],
    [404, 'no id', () => [`${gateway.url}/sockets/events`, withKey(box.key)]],
    [404, 'no such socket', () => [`${gateway.url}/sockets/else/${box.conversationId}`, withKey(box.key)]],
    [
      404,
      'a deleted conversation',
      async () => {
        const conversationId = await insertConversation(gateway.database, {
          sandboxId: box.sandboxId,
          deletedAt: new Date(),
        });
        return [eventsOf({ conversationId }), withKey(box.key)];
      },
    ],
    [
      403,
      'the key of a deleted sandbox',
      async () => {
        const stage = await gateway.stage();
        await gateway.sandboxes.markDeleted(stage.sandboxId);
        return [eventsOf(stage), withKey(stage.key)];
      },
    ],
    [
      410,
      'a deleted sandbox, asked for by its owner',
      async () => {
        const stage = await gateway.stage({ user: 'ann' });
        await gateway.sandboxes.markDeleted(stage.sandboxId);
        return [eventsOf(stage), gateway.ofBrowser('ann')];
      },
    ],
    [
      409,
      'a paused sandbox',
      async () => {
        const stage = await paused();
        return [eventsOf(stage), withKey(stage.key)];
      },
    ],
    [
      503,
      'a starting sandbox',
      async () => {
        const stage = await gateway.stage({ status: 'STARTING' });
        return [eventsOf(stage), withKey(stage.key)];
      },
    ],
    [
      502,
      'a sandbox where nobody listens',
      async () => {
        const stage = await gateway.stage({ agentServerUrl: 'http://127.0.0.1:9' });
        return [eventsOf(stage), withKey(stage.key)];
      },
    ],
    [
      504,
      'an agent-server that does not answer',
      () => {
        gateway.agentServer.hung = true;
        return [eventsOf(box), withKey(box.key)];
      },
    ],
    [
      400,
      'parameters that the agent-server refuses',
      () => {
        gateway.agentServer.refuseWith = 403;
        return [eventsOf(box, '?resend_mode=odd'), withKey(box.key)];
      },
    ],
  ])('%i: %s', async (status, _, request) => {
    const [url, options] = await request();
    const error = await SocketClient.open(url, options).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(Refused);
    expect(error).toMatchObject({ status });
    const { detail } = JSON.parse((error as Refused).body) as { detail: string };
    expect(detail).not.toBe('');
    expect((error as Refused).body).not.toContain('key-');
  });
});

describe('a client that shows nothing', () => {
  const auth = (key: string) => JSON.stringify({ type: 'auth', session_api_key: key });

  it('opens its socket by a first frame, and frames sent right after it are not lost', async () => {
    const client = await SocketClient.open(eventsOf(box, '?resend_mode=all'));
    gateway.agentServer.received.length = 0;
    client.socket.send(auth(box.key));
    client.socket.send('{"role":"user","content":[]}');
    client.socket.send(auth(box.key));
    client.socket.send('second');
    await vi.waitFor(
      () => expect(gateway.agentServer.received).toEqual(['{"role":"user","content":[]}', 'second']),
      30_000,
    );
    expect(last(gateway.agentServer.handshakes).url).toBe(
      `/sockets/events/${box.conversationId}?resend_mode=all`,
    );
    client.socket.terminate();
  });

  it.each<[string, () => string | null, () => string, number]>([
    ['a wrong key', () => auth('wrong'), () => eventsOf(box), 4001],
    ["another sandbox's key", () => auth(other.key), () => eventsOf(box), 4001],
    ['an empty key', () => auth(''), () => eventsOf(box), 4001],
    ['another frame', () => '{"role":"user","content":[]}', () => eventsOf(box), 4001],
    ['no JSON', () => 'hello', () => eventsOf(box), 4001],
    ['silence', () => null, () => eventsOf(box), 4001],
    ['an unknown conversation', () => auth(box.key), () => eventsOf({ conversationId: newId() }), 4004],
  ])('is hung up on for %s', async (_, frame, url, code) => {
    const before = gateway.agentServer.handshakes.length;
    const client = await SocketClient.open(url());
    const text = frame();
    if (text !== null) client.socket.send(text);
    expect((await client.closed).code).toBe(code);
    expect(gateway.agentServer.handshakes).toHaveLength(before);
  });

  it('is told to come back when the sandbox is paused', async () => {
    const stage = await gateway.stage({ status: 'PAUSED' });
    const client = await SocketClient.open(eventsOf(stage));
    client.socket.send(auth(stage.key));
    expect(await client.closed).toEqual({ code: 1012, reason: expect.stringContaining('PAUSED') as string });
  });
});

describe('an open socket', () => {
  const open = (query = '', stage = box) => SocketClient.open(eventsOf(stage, query), withKey(stage.key));
  const upstream = () => last(gateway.agentServer.sockets);

  it('passes text and binary both ways, from the first frame on', async () => {
    gateway.agentServer.onSocket = (socket) => socket.send('at once');
    const client = await open();
    upstream().send(Buffer.from([1, 2, 3]));
    client.socket.send('hello');
    await vi.waitFor(() => expect(client.frames).toHaveLength(2), 90_000);
    expect(client.frames.map(({ isBinary }) => isBinary)).toEqual([false, true]);
    expect(client.texts[0]).toBe('at once');
    await vi.waitFor(() => expect(last(gateway.agentServer.received)).toBe('hello'), 90_000);
    client.socket.terminate();
  });

  it.each([
    ['resend_all=true', 'resend_all=true'],
    [
      'resend_mode=since&after_timestamp=2026-11-01T00%3A00%3A00',
      'resend_mode=since&after_timestamp=2026-11-01T00%3A00%3A00',
    ],
    ['session_api_key=&resend_mode=all', 'resend_mode=all'],
    ['last_event_id=unknown', 'resend_mode=all'],
    ['last_event_id=known', 'resend_mode=since&after_timestamp=2026-11-22T04%3A00%3A00.123456Z'],
  ])('asks with %s for %s', async (query, expected) => {
    gateway.events.set('known', '{"id":"known","timestamp":"2026-11-22T04:00:00.123456"}');
    const client = await open(`?${query}`);
    expect(last(gateway.agentServer.handshakes).url.split('?')[1]).toBe(expected);
    client.socket.terminate();
  });

  it('leaves out the one event that the client named', async () => {
    gateway.events.set('seen', '{"id":"seen","timestamp":"2026-11-22T04:00:00.1"}');
    const client = await open('?last_event_id=seen');
    for (const id of ['seen', 'new', 'quoted'])
      upstream().send(JSON.stringify({ id, text: id === 'quoted' ? 'after seen' : '' }));
    await vi.waitFor(() => expect(client.frames).toHaveLength(2), 90_000);
    expect(client.texts.map((text) => (JSON.parse(text) as { id: string }).id)).toEqual(['new', 'quoted']);
    client.socket.terminate();
  });

  it.each([
    [1000, 'done'],
    [1012, 'restart'],
    [1013, 'Too many connections for this conversation'],
    [4004, 'Conversation not found'],
    [1005, ''],
  ])("keeps the agent-server's close %i", async (code, reason) => {
    const client = await open();
    if (code === 1005) upstream().close();
    else upstream().close(code, reason);
    expect(await client.closed).toEqual({ code, reason });
  });

  it.each([
    [1000, 'bye'],
    [3999, 'own'],
    [1005, ''],
  ])("keeps the client's close %i", async (code, reason) => {
    const client = await open();
    const closed = new Promise((resolve) => {
      upstream().on('close', (got, text) => resolve({ code: got, reason: text.toString() }));
    });
    if (code === 1005) client.socket.close();
    else client.socket.close(code, reason);
    expect(await closed).toEqual({ code, reason });
  });

  it('ends with 1012 when the agent-server dies, and with 1001 there when the client does', async () => {
    const client = await open();
    gateway.agentServer.die();
    expect((await client.closed).code).toBe(1012);
    const second = await open();
    const closed = new Promise((resolve) => upstream().on('close', resolve));
    second.socket.terminate();
    expect(await closed).toBe(1001);
  });

  it('ends with 1009 for a frame that is too large, from either end', async () => {
    const client = await open();
    client.socket.send('x'.repeat(10_001));
    expect((await client.closed).code).toBe(1009);
    const second = await open();
    upstream().send('x'.repeat(200_001));
    expect((await second.closed).code).toBe(1009);
  });

  it('ends when its sandbox pauses, and opens again when it is RUNNING', async () => {
    const stage = await gateway.stage();
    const client = await open('', stage);
    await gateway.sandboxes.setStatus(stage.sandboxId, 'PAUSED');
    expect(await client.closed).toEqual({ code: 1012, reason: expect.stringContaining('PAUSED') as string });
    expect(await handshakeStatus(eventsOf(stage), withKey(stage.key))).toBe(409);
    await gateway.sandboxes.setStatus(stage.sandboxId, 'RUNNING');
    expect(await handshakeStatus(eventsOf(stage), withKey(stage.key))).toBe(101);
  });

  it('ends with 4004 when its sandbox is deleted', async () => {
    const stage = await gateway.stage();
    const client = await open('', stage);
    await gateway.sandboxes.markDeleted(stage.sandboxId);
    expect((await client.closed).code).toBe(4004);
  });

  it('lets a member listen to the conversation of another, and give no orders', async () => {
    const client = await SocketClient.open(eventsOf(box), gateway.ofBrowser('bob'));
    const before = gateway.agentServer.received.length;
    upstream().send('{"id":"1"}');
    client.socket.send('{"role":"user","content":[]}');
    await vi.waitFor(() => expect(client.frames).toHaveLength(2), 90_000);
    expect(JSON.parse(last(client.texts))).toMatchObject({ kind: 'ServerErrorEvent', code: 'ReadOnly' });
    expect(gateway.agentServer.received).toHaveLength(before);
    client.socket.terminate();
  });
});

describe('a socket of a user', () => {
  const open = (user: string) => SocketClient.open(eventsOf(box), gateway.ofBrowser(user));
  afterEach(() => {
    gateway.signedOut.clear();
    gateway.members.splice(0, gateway.members.length, 'ann', 'bob');
  });

  it('ends with 4001 soon after the session', async () => {
    const client = await open('ann');
    gateway.signedOut.add('ann');
    expect((await client.closed).code).toBe(4001);
  });

  it('ends with 4004 soon after the membership by which the conversation was seen', async () => {
    const [owner, member] = [await open('ann'), await open('bob')];
    gateway.members.splice(1, 1);
    expect((await member.closed).code).toBe(4004);
    expect(owner.socket.readyState).toBe(owner.socket.OPEN);
    owner.socket.terminate();
  });

  it('that showed the key of its sandbox stays', async () => {
    const client = await SocketClient.open(eventsOf(box), withKey(box.key));
    const watched = await open('ann');
    gateway.signedOut.add('ann');
    await watched.closed;
    expect(client.socket.readyState).toBe(client.socket.OPEN);
    client.socket.terminate();
  });
});

it('writes no key to the log, whatever way it came', () => {
  const lines = gateway.logged.join('');
  expect(lines).toContain('socket opened');
  expect(lines).toContain('socket refused');
  expect(lines).not.toContain('session_api_key');
  expect(lines).not.toContain('key-');
  expect(lines).not.toContain(box.key);
});
