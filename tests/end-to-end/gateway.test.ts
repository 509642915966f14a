/** The gateway before the real agent-server: what clients do, and everything they must not get. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { createAgentServerClient } from '../../agent-server/client.js';
import { eventStream } from '../../agent-server/event-stream.js';
import { agentServerPath } from '../../api/gateway/client-addresses.js';
import { hexId } from '../../contract/ids.js';
import { conversations } from '../../db/schema/index.js';
import type { SandboxHandle, SandboxLaunch } from '../../sandboxes/backend.js';
import { openGateway, type GatewayFixture, type Stage } from '../support/gateway-fixture.js';
import { createSandboxBench, type SandboxBench } from '../support/real-sandbox.js';
import { finish, startScriptedLlm, type ScriptedLlm } from '../support/scripted-llm.js';
import { handshakeStatus, SocketClient } from '../support/socket-client.js';

let bench: SandboxBench;
let llm: ScriptedLlm;
let gateway: GatewayFixture;
let launch: SandboxLaunch;
let handle: SandboxHandle;
let box: Stage;
let other: Stage;
let conversationId: string;

const PATIENCE = { timeout: 90_000, interval: 100 };

beforeAll(async () => {
  [bench, llm, gateway] = await Promise.all([
    createSandboxBench(),
    startScriptedLlm({ steps: [finish('all done')] }),
    openGateway(),
  ]);
  launch = await bench.newLaunch();
  handle = await bench.backend.launch(launch);
  await bench.ready(launch, handle);
  box = await gateway.stage({ user: 'ann', key: launch.sessionApiKey, agentServerUrl: handle.url });
  other = await gateway.stage();
  conversationId = crypto.randomUUID();
  const { created } = await client().startConversation({
    conversation_id: conversationId,
    agent: { llm: model(), tools: [] },
    workspace: { working_dir: handle.workingDirectory },
    autotitle: false,
  });
  expect(created).toBe(true);
  const now = new Date();
  await gateway.database.insert(conversations).values({
    id: hexId(conversationId),
    sandboxId: box.sandboxId,
    createdByUserId: 'ann',
    createdAt: now,
    updatedAt: now,
  });
});

afterAll(async () => {
  await gateway.close();
  await bench.close();
  await llm.close();
});

const model = () => ({
  model: 'openai/scripted',
  api_key: 'sk-none',
  base_url: llm.url,
  num_retries: 0,
  usage_id: 'agent',
});
/** The address that clients are told. */
const base = () => `${gateway.url}${agentServerPath(box.sandboxId)}`;
const client = () => createAgentServerClient({ baseUrl: base(), sessionApiKey: box.key });
const events = (query = '') => `${gateway.url}/sockets/events/${conversationId}${query}`;
const withKey = (key: string) => ({ headers: { 'X-Session-API-Key': key } });
const bearer = (key: string) => ({ headers: { Authorization: `Bearer ${key}` } });
const both = (key: string, token: string) => ({
  headers: { 'X-Session-API-Key': key, Authorization: `Bearer ${token}` },
});
const idsOf = ({ texts }: SocketClient) => texts.map((text) => (JSON.parse(text) as { id: string }).id);

describe('through the gateway', () => {
  it('a conversation runs to its end, told by the socket below the path of its sandbox', async () => {
    const kinds: string[] = [];
    const stop = new AbortController();
    const stream = eventStream({
      baseUrl: base(),
      sessionApiKey: box.key,
      conversationId,
      signal: stop.signal,
    });
    let asked = false;
    for await (const event of stream) {
      kinds.push(event.kind);
      if (!asked) {
        asked = true;
        const content = [{ type: 'text', text: 'go' }];
        await client().sendMessage(conversationId, { role: 'user', content, run: true });
      }
      if (event['key'] === 'execution_status' && event['value'] === 'finished') stop.abort();
    }
    expect(kinds).toContain('MessageEvent');
    expect(kinds).toContain('ActionEvent');
  });

  it('a browser’s socket on this origin takes a message and resends what was asked for', async () => {
    const first = await SocketClient.open(events());
    first.socket.send(JSON.stringify({ type: 'auth', session_api_key: box.key }));
    first.socket.send(JSON.stringify({ role: 'user', content: [{ type: 'text', text: 'again, please' }] }));
    await vi.waitFor(() => expect(first.texts.join('')).toContain('again, please'), PATIENCE);
    first.socket.close(1000);

    const all = await SocketClient.open(events(`?resend_all=true&session_api_key=${box.key}`));
    await vi.waitFor(() => expect(all.texts.join('')).toContain('again, please'), PATIENCE);
    all.socket.close(1000);
    const stored = all.texts.map((text) => JSON.parse(text) as { id: string; kind: string });
    const messages = stored.filter(({ kind }) => kind === 'MessageEvent');
    const earlier = messages.find((event) => JSON.stringify(event).includes('"go"'));
    const message = messages.find((event) => JSON.stringify(event).includes('again, please'));
    expect([earlier, message]).not.toContain(undefined);
    gateway.events.set(message!.id, JSON.stringify(message));
    const since = await SocketClient.open(events(`?last_event_id=${message!.id}`), withKey(box.key));
    await vi.waitFor(() => expect(since.frames.length).toBeGreaterThan(0), PATIENCE);
    since.socket.close(1000);
    await since.closed;
    expect(idsOf(since)).not.toContain(message!.id);
    expect(idsOf(since)).not.toContain(earlier!.id);
  });

  it('a command runs on the bash socket', async () => {
    const socket = await SocketClient.open(`${gateway.url}/sockets/bash-events`, withKey(box.key));
    socket.socket.send(JSON.stringify({ command: 'echo through-the-gateway' }));
    await vi.waitFor(() => expect(socket.texts.join('')).toContain('through-the-gateway\\n'), PATIENCE);
    socket.socket.close(1000);
  });

  it('a file is stored and read, by today’s paths and by those of old clients', async () => {
    const path = join(handle.workingDirectory, 'via gateway.txt');
    const form = new FormData();
    form.set('file', new Blob(['hello']), 'via gateway.txt');
    const { headers } = withKey(box.key);
    const url = `${gateway.url}/api/file/upload/${encodeURIComponent(path)}`;
    expect((await fetch(url, { method: 'POST', headers, body: form })).status).toBe(200);
    expect(await readFile(path, 'utf8')).toBe('hello');
    const read = await fetch(`${base()}/api/file/download?path=${encodeURIComponent(path)}`, { headers });
    expect(await read.text()).toBe('hello');
  });
});

describe('a socket is refused', () => {
  it.each<[string, number, () => [string, object?]]>([
    ['a wrong header', 403, () => [events(), withKey('wrong')]],
    ['a wrong bearer token', 403, () => [events(), bearer('wrong')]],
    ['a wrong query', 403, () => [events('?session_api_key=wrong')]],
    [
      'a wrong query beside the right header',
      403,
      () => [events('?session_api_key=wrong'), withKey(box.key)],
    ],
    ["another sandbox's key", 403, () => [events(), withKey(other.key)]],
    [
      'another sandbox’s conversation',
      403,
      () => {
        return [`${gateway.url}/sockets/events/${other.conversationId}`, withKey(box.key)];
      },
    ],
    [
      'an unknown conversation',
      404,
      () => {
        return [`${gateway.url}/sockets/events/${crypto.randomUUID()}`, withKey(box.key)];
      },
    ],
    ['a wrong key on the bash socket', 403, () => [`${gateway.url}/sockets/bash-events`, withKey('wrong')]],
    [
      'a page of somebody else with a cookie',
      403,
      () => {
        return [events(), { headers: { Cookie: 'user=ann', Origin: 'https://elsewhere.example' } }];
      },
    ],
    ['an empty query beside a wrong header', 403, () => [events('?session_api_key='), withKey('wrong')]],
    ['an empty header beside a wrong bearer token', 403, () => [events(), both('', 'wrong')]],
    ['a wrong header beside the right bearer token', 403, () => [events(), both('wrong', box.key)]],
    ['part of the key', 403, () => [events(), withKey(box.key.slice(0, -1))]],
    ["another sandbox's key in the query", 403, () => [events(`?session_api_key=${other.key}`)]],
    ["another sandbox's key as bearer token", 403, () => [events(), bearer(other.key)]],
    [
      'a wrong key below the path of the sandbox',
      403,
      () => [`${base()}/sockets/events/${conversationId}`, withKey('wrong')],
    ],
    [
      'a wrong query on the bash socket beside the right header',
      403,
      () => [`${gateway.url}/sockets/bash-events?session_api_key=wrong`, withKey(box.key)],
    ],
    [
      'a cookie that no page of ours sent',
      403,
      () => [events(), { headers: { Cookie: 'user=ann', Origin: 'null' } }],
    ],
    ['somebody else’s cookie', 404, () => [events(), gateway.ofBrowser('eve')]],
    ['odd parameters', 400, () => [events('?resend_mode=odd'), withKey(box.key)]],
  ])('for %s', async (_, status, request) => {
    expect(await handshakeStatus(...request())).toBe(status);
  });

  it.each([
    [
      'the right query beside a wrong header',
      () => [events(`?session_api_key=${box.key}`), withKey('wrong')],
    ],
    ['an empty query beside the right header', () => [events('?session_api_key='), withKey(box.key)]],
    ['the right bearer token', () => [events(), bearer(box.key)]],
    ['an empty header beside the right bearer token', () => [events(), both('', box.key)]],
    ['the right header beside a wrong bearer token', () => [events(), both(box.key, 'wrong')]],
    [
      'the right query beside a wrong bearer token',
      () => [events(`?session_api_key=${box.key}`), bearer('wrong')],
    ],
    ['the owner’s cookie from a page of ours', () => [events(), gateway.ofBrowser('ann')]],
  ] as [string, () => [string, object]][])('but not for %s', async (_, request) => {
    expect(await handshakeStatus(...request())).toBe(101);
  });

  it.each<[string, () => string, () => string, number]>([
    [
      '4001 for a wrong first frame',
      events,
      () => JSON.stringify({ type: 'auth', session_api_key: 'wrong' }),
      4001,
    ],
    [
      '4001 for an empty query and an empty key in the first frame',
      () => events('?session_api_key='),
      () => JSON.stringify({ type: 'auth', session_api_key: '' }),
      4001,
    ],
    [
      '4001 for a command as first frame on the bash socket',
      () => `${gateway.url}/sockets/bash-events`,
      () => JSON.stringify({ command: 'touch never' }),
      4001,
    ],
    ['4001 for a message as first frame', events, () => '{"role":"user","content":[]}', 4001],
    [
      '4004, by the agent-server itself, for a conversation it does not know',
      () => `${base()}/sockets/events/${crypto.randomUUID()}`,
      () => JSON.stringify({ type: 'auth', session_api_key: box.key }),
      4004,
    ],
  ])('with %s', async (_, url, frame, code) => {
    const socket = await SocketClient.open(url());
    socket.socket.send(frame());
    expect((await socket.closed).code).toBe(code);
  });
});

it('a paused sandbox ends its sockets with 1012, is not woken, and is reached again when it is RUNNING', async () => {
  const open = await SocketClient.open(events(), withKey(box.key));
  await bench.backend.pause(launch.sandboxId, handle);
  await gateway.sandboxes.setStatus(box.sandboxId, 'PAUSED');
  expect((await open.closed).code).toBe(1012);
  expect(await handshakeStatus(events(), withKey(box.key))).toBe(409);
  expect((await fetch(`${base()}/alive`, withKey(box.key))).status).toBe(409);
  await bench.backend.resume(launch.sandboxId, handle);
  await gateway.sandboxes.setStatus(box.sandboxId, 'RUNNING');
  expect(await handshakeStatus(events(), withKey(box.key))).toBe(101);
});

it('the key appears in no log, of the gateway or of the agent-server', async () => {
  const theirs = await readFile(join(bench.root, 'sandboxes', launch.sandboxId, 'agent-server.log'), 'utf8');
  expect(theirs).toContain('/sockets/events/');
  expect(theirs).not.toContain(box.key);
  const ours = gateway.logged.join('');
  expect(ours).toContain('socket opened');
  expect(ours).not.toContain(box.key);
  expect(ours).not.toContain('session_api_key');
});

it('a sandbox that dies ends its sockets with 1012, and asking again says that nobody answers', async () => {
  const open = await SocketClient.open(events(), withKey(box.key));
  await bench.backend.destroy(launch.sandboxId, handle);
  expect((await open.closed).code).toBe(1012);
  expect(await handshakeStatus(events(), withKey(box.key))).toBe(502);
  await gateway.sandboxes.markDeleted(box.sandboxId);
  expect(await handshakeStatus(events(), withKey(box.key))).toBe(403);
  expect(await handshakeStatus(events(), gateway.ofBrowser('ann'))).toBe(410);
});
