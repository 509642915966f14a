import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { afterEach, describe, expect, it } from 'vitest';
import { exchange, ExchangeTimeout, Oversize, type Exchange } from '../../../agent-server/exchange.js';
import { listen, stop } from '../../support/loopback.js';

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

async function serving(
  answer: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<string> {
  const server = createServer(answer);
  const port = await listen(server);
  closing.push(() => stop(server));
  return `http://127.0.0.1:${port}/there`;
}

const ask = (url: string, more: Partial<Exchange> = {}) =>
  exchange({
    method: 'GET',
    url,
    headers: {},
    body: null,
    signal: undefined,
    timeoutMs: 60_000,
    maxBytes: Infinity,
    isNew: false,
    ...more,
  });

describe('an exchange with an agent-server', () => {
  it('sends what it is given, with its length in bytes, and brings status and bytes of the answer', async () => {
    const url = await serving((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        response.writeHead(418, { 'content-type': 'application/json' });
        response.end(
          JSON.stringify([request.method, request.url, request.headers, Buffer.concat(chunks).toString()]),
        );
      });
    });
    const { status, bytes } = await ask(`${url}?x=%C3%A4`, {
      method: 'POST',
      headers: { 'X-Key': 'k' },
      body: 'größer',
    });
    expect(status).toBe(418);
    const [method, path, headers, body] = JSON.parse(Buffer.from(bytes).toString()) as unknown[];
    expect([method, path, body]).toEqual(['POST', '/there?x=%C3%A4', 'größer']);
    expect(headers).toMatchObject({ 'x-key': 'k', 'content-length': '8' });
  });

  it('uses a connection again unless it is to be a new one, and follows no redirect', async () => {
    const ports = new Set<number | undefined>();
    const asked: (string | undefined)[] = [];
    const url = await serving((request, response) => {
      ports.add(request.socket.remotePort);
      asked.push(request.url);
      response.writeHead(307, { location: '/elsewhere' }).end();
    });
    for (const _ of [1, 2, 3]) expect((await ask(url)).status).toBe(307);
    expect(asked).toEqual(['/there', '/there', '/there']);
    expect(ports.size).toBe(1);
    await ask(url, { isNew: true });
    expect(ports.size).toBe(2);
  });

  it('gives up when its time is over, before and within the answer', async () => {
    const silent = await serving(() => undefined);
    await expect(ask(silent, { timeoutMs: 50 })).rejects.toBeInstanceOf(ExchangeTimeout);
    const slow = await serving((_, response) => void response.writeHead(200).write('begun'));
    await expect(ask(slow, { timeoutMs: 200 })).rejects.toBeInstanceOf(ExchangeTimeout);
  });

  it('ends when its caller gives up, before it began and within the answer', async () => {
    const controller = new AbortController();
    const url = await serving((_, response) => {
      response.writeHead(200).write('begun');
      controller.abort();
    });
    await expect(ask(url, { signal: controller.signal })).rejects.toThrow('aborted');
    await expect(ask(url, { signal: controller.signal })).rejects.toThrow(/abort/);
  });

  it('reads no more than it may, and fails with an answer that is cut off', async () => {
    const large = await serving((_, response) => void response.end('x'.repeat(1_000)));
    await expect(ask(large, { maxBytes: 999 })).rejects.toBeInstanceOf(Oversize);
    expect((await ask(large, { maxBytes: 1_000 })).bytes).toHaveLength(1_000);
    const broken = await serving((request, response) => {
      response.writeHead(200, { 'content-length': '10' }).write('begun', () => request.socket.destroy());
    });
    await expect(ask(broken)).rejects.toMatchObject({ code: 'ECONNRESET' });
  });
});
