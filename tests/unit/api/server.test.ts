import { Agent, get, type IncomingMessage, type ServerResponse } from 'node:http';
import { once } from 'node:events';
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
