import { createServer } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer as createTcpServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { createAgentServerClient } from '../../../agent-server/client.js';
import { AgentServerError } from '../../../agent-server/errors.js';
import { freePort, listen, originOf, stop } from '../../support/loopback.js';

const KEY = 'a-session-key-1234';
const ID = '20f3e1ba-673e-4707-810d-81a301f16ec0';
const open: Server[] = [];

afterEach(async () => {
  for (const server of open.splice(0)) {
    await stop(server);
  }
});

async function serve(server: Server): Promise<string> {
  open.push(server);
  await listen(server);
  return originOf(server);
}

type Handler = (request: IncomingMessage, response: ServerResponse, body: string) => void;

/** A server of our own that answers as the recorded one did, and notes what it was asked. */
async function answering(handler: Handler) {
  const asked: string[] = [];
  const url = await serve(
    createServer((request, response) => {
      let body = '';
      request.on('data', (chunk: Buffer) => (body += chunk.toString()));
      request.on('end', () => {
        asked.push(`${request.method} ${request.url}`);
        handler(request, response, body);
      });
    }),
  );
  return {
    asked,
    client: createAgentServerClient({ baseUrl: url, sessionApiKey: KEY, defaultTimeoutMs: 2000 }),
  };
}

const json = (response: ServerResponse, status: number, body: unknown): void => {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
};

async function failureOf(promise: Promise<unknown>): Promise<AgentServerError> {
  const error: unknown = await promise.then(
    () => null,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(AgentServerError);
  return error as AgentServerError;
}

describe('a call to an agent-server', () => {
  it('carries the session key, and keeps fields it does not know', async () => {
    const { client } = await answering((request, response) => {
      expect(request.headers['x-session-api-key']).toBe(KEY);
      json(response, 200, { id: ID, execution_status: 'contemplating', brand_new: { a: 1 } });
    });
    expect(await client.conversation(ID)).toMatchObject({
      execution_status: 'contemplating',
      brand_new: { a: 1 },
    });
  });

  it('tells a refused connection from a frozen server and from a broken connection', async () => {
    const gone = createAgentServerClient({ baseUrl: await closedPort(), sessionApiKey: KEY });
    expect(await failureOf(gone.serverInfo())).toMatchObject({ kind: 'refused', status: null });

    const frozen = await answering(() => undefined);
    expect(await failureOf(frozen.client.serverInfo({ timeoutMs: 50 }))).toMatchObject({ kind: 'timeout' });
    expect(await frozen.client.alive({ timeoutMs: 50 })).toBe(false);

    const rude = await answering((request) => request.socket.destroy());
    expect(await failureOf(rude.client.serverInfo())).toMatchObject({ kind: 'unreachable' });
  });

  it('quotes the reason and masks the key in it', async () => {
    const { client } = await answering((_, response) => {
      json(response, 500, { detail: 'Internal Server Error', exception: `bad key ${KEY}`, error_id: 'x' });
    });
    const error = await failureOf(client.serverInfo());
    expect(error).toMatchObject({ kind: 'http', status: 500, call: 'GET /server_info' });
    expect(error.message).toBe('GET /server_info: HTTP 500 Internal Server Error: bad key **********');
  });

  it('is an error when the answer is not what the contract says', async () => {
    const { client } = await answering((_, response) => json(response, 200, { version: 5 }));
    const error = await failureOf(client.serverInfo());
    expect(error).toMatchObject({ kind: 'http', status: 200 });
    expect(error.detail).toContain('version');
  });

  it('ends with the reason of the signal when its caller gives up', async () => {
    const { client } = await answering(() => undefined);
    const reason = new Error('no longer wanted');
    const controller = new AbortController();
    const call = client.serverInfo({ signal: controller.signal });
    controller.abort(reason);
    await expect(call).rejects.toBe(reason);
  });
});

describe('a kept-alive connection that has died', () => {
  /** Resets the connection at its second request, as a thawed server does, and answers all others. */
  async function resetting() {
    const requests: string[] = [];
    const url = await serve(
      createTcpServer((socket: Socket) => {
        socket.on('error', () => undefined);
        socket.on('data', (data) => {
          requests.push(data.toString().split('\r\n')[0]!);
          if (requests.length === 2) return socket.resetAndDestroy();
          const body = '{"version":"1","uptime":1,"idle_time":1,"success":true}';
          socket.end(`HTTP/1.1 200 OK\r\ncontent-length: ${body.length}\r\nconnection: close\r\n\r\n${body}`);
        });
      }),
    );
    return { requests, client: createAgentServerClient({ baseUrl: url, sessionApiKey: KEY }) };
  }

  it('costs an idempotent call a second try and nothing else', async () => {
    const { client, requests } = await resetting();
    await client.serverInfo();
    expect((await client.serverInfo()).version).toBe('1');
    expect(requests).toHaveLength(3);
  });

  it('never makes a message be sent twice', async () => {
    const { client, requests } = await resetting();
    await client.serverInfo();
    const message = { role: 'user' as const, content: [{ type: 'text', text: 'hi' }], run: true };
    expect(await failureOf(client.sendMessage(ID, message))).toMatchObject({ kind: 'unreachable' });
    expect(requests.filter((line) => line.startsWith('POST'))).toHaveLength(1);
  });
});

describe('a call that may not be repeated', () => {
  it('has a connection of its own: one that is kept may be on its way to being closed', async () => {
    const ports: Record<string, number | undefined> = {};
    const { client } = await answering((request, response) => {
      ports[`${request.method} ${request.url!.split('/').at(-1)!}`] = request.socket.remotePort;
      json(response, 200, { version: '1', uptime: 1, idle_time: 1, success: true });
    });
    await client.serverInfo();
    await client.sendMessage(ID, { role: 'user', content: [{ type: 'text', text: 'hi' }], run: true });
    await client.serverInfo();
    expect(ports['POST events']).toEqual(expect.any(Number));
    expect(ports['POST events']).not.toBe(ports['GET server_info']);
  });
});

describe('waiting for a command', () => {
  it('leaves the server free for everything else (D36)', async () => {
    const command = { id: 'c', timestamp: '2026-01-01T00:00:00', command: 'make', timeout: 10 };
    let polls = 0;
    let turns = 0;
    let turnsAtFirstPoll = 0;
    let isOver = false;
    // Every turn of the event loop is one in which requests of others would have been answered.
    const turn = () => {
      turns++;
      if (!isOver) setImmediate(turn);
    };
    const { client } = await answering(({ method }, response) => {
      if (method === 'POST') return json(response, 200, command);
      polls++;
      if (polls === 1) turnsAtFirstPoll = turns;
      const last = { id: 'o', timestamp: '2026-01-01T00:00:01', command_id: 'c', order: 0, exit_code: 0 };
      json(response, 200, { items: polls < 4 ? [] : [last] });
    });
    turn();
    const result = await client.runCommand({ command: 'make', timeoutSeconds: 10 });
    isOver = true;
    expect(result).toMatchObject({ exitCode: 0, timedOut: false });
    expect(polls).toBe(4);
    // A request and its answer are a handful of turns; a wait of milliseconds that holds up nobody is thousands.
    expect(turns - turnsAtFirstPoll).toBeGreaterThan(200);
  });
});

describe('calls about conversations', () => {
  it('asks for at most 99 conversations at once and keeps the order', async () => {
    const { client, asked } = await answering((request, response) => {
      const ids = new URL(request.url!, 'http://x').searchParams.getAll('ids');
      json(
        response,
        200,
        ids.map((id) => (id.endsWith('7') ? null : { id, execution_status: 'idle' })),
      );
    });
    const ids = Array.from({ length: 205 }, (_, n) => `conversation-${n}`);
    const found = await client.conversations(ids);
    expect(asked).toHaveLength(3);
    expect(found.map((info, n) => info?.id ?? (ids[n]!.endsWith('7') ? ids[n] : 'wrong'))).toEqual(ids);
    expect(await client.conversations([])).toEqual([]);
  });

  it('takes every spelling of "unknown" for an answer', async () => {
    const { client } = await answering((request, response) => {
      if (request.method === 'PATCH') json(response, 200, { success: false });
      else json(response, request.method === 'GET' ? 404 : 400, { detail: 'Bad Request' });
    });
    expect(await client.conversation(ID)).toBeNull();
    expect(await client.patchConversation(ID, { title: 'x' })).toBe(false);
    expect(await client.deleteConversation(ID)).toBe(false);
    expect(await client.pause(ID)).toBe(false);
    expect(await client.interrupt(ID)).toBe(false);
  });

  it('tells a new conversation from one that was there, and a running one from a started one', async () => {
    let status = 201;
    const { client } = await answering((request, response) => {
      if (request.url!.endsWith('/run')) json(response, 409, { detail: 'already running' });
      else json(response, status, { id: ID, execution_status: 'idle' });
    });
    const body = { conversation_id: ID, workspace: { working_dir: '/workspace' } };
    expect((await client.startConversation(body)).created).toBe(true);
    status = 200;
    expect((await client.startConversation(body)).created).toBe(false);
    expect(await client.run(ID)).toBe('running');
  });

  it('reads a whole log page by page', async () => {
    const event = (id: string) => ({ id, kind: 'MessageEvent', timestamp: '2026-01-01T00:00:00.1' });
    const { client } = await answering((request, response) => {
      const page = new URL(request.url!, 'http://x').searchParams.get('page_id');
      json(
        response,
        200,
        page === 'c'
          ? { items: [event('c')], next_page_id: null }
          : { items: [event('a'), event('b')], next_page_id: 'c' },
      );
    });
    const ids: string[] = [];
    for await (const { id } of client.eventsFrom(ID)) ids.push(id);
    expect(ids).toEqual(['a', 'b', 'c']);
  });

  it('leaves out the marketplaces that the server would refuse as null', async () => {
    const bodies: unknown[] = [];
    const { client } = await answering((_, response, body) => {
      bodies.push(JSON.parse(body));
      json(response, 200, { skills: [] });
    });
    const request = {
      load_public: false,
      load_user: true,
      load_project: true,
      load_org: true,
      project_dir: '/p',
    };
    expect(await client.skills({ ...request, registered_marketplaces: null })).toEqual({
      skills: [],
      sources: {},
    });
    expect(bodies).toEqual([request]);
  });
});

const closedPort = async (): Promise<string> => `http://127.0.0.1:${await freePort()}`;
