import { Agent, get, type IncomingMessage, type ServerResponse } from 'node:http';
import { once } from 'node:events';
import express from 'express';
import { expect, it } from 'vitest';
import { startServer } from '../../../api/server.js';

it('a server that closes lets a request under way end, and does not wait for its kept connection', async () => {
  let answer: ServerResponse | undefined;
  const server = await startServer((_request, response) => void (answer = response), {
    host: '127.0.0.1',
    port: 0,
  });
  const agent = new Agent({ keepAlive: true });
  const request = get(`${server.url}/slow`, { agent });
  await expect.poll(() => answer).toBeDefined();
  let closed = false;
  const closing = server.close(3_600_000).then(() => (closed = true));
  await expect(fetch(`${server.url}/another`)).rejects.toThrow('fetch failed');
  expect(closed).toBe(false);
  const response = once(request, 'response');
  answer!.end('done');
  const [message] = (await response) as [IncomingMessage];
  message.resume();
  await once(message, 'end');
  await closing;
  agent.destroy();
});

it('a server that closes cuts what has not ended in time', async () => {
  const server = await startServer(() => undefined, { host: '127.0.0.1', port: 0 });
  const hangs = fetch(`${server.url}/for-ever`).then(
    () => 'answered',
    () => 'cut',
  );
  await expect
    .poll(() => new Promise<number>((resolve) => server.server.getConnections((_, n) => resolve(n))))
    .toBe(1);
  await server.close(50);
  expect(await hangs).toBe('cut');
});

it('requests come to Express as its own, which it would otherwise make of each, at four times the price of an answer', async () => {
  const app = express();
  app.get('/hello', (request, response) => {
    response.json({ query: request.query, isOurs: request.app === app && response.app === app });
  });
  const server = await startServer(app, { host: '127.0.0.1', port: 0 });
  const changed: string[] = [];
  // Before the application has seen them.
  server.server.prependListener('request', (request: IncomingMessage, response: ServerResponse) => {
    if (Object.getPrototypeOf(request) !== app.request) changed.push('request');
    if (Object.getPrototypeOf(response) !== app.response) changed.push('response');
  });
  const answer = await fetch(`${server.url}/hello?to=you`);
  expect(await answer.json()).toEqual({ query: { to: 'you' }, isOurs: true });
  expect(changed).toEqual([]);
  await server.close();
});
