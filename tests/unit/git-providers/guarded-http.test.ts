import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { AddressPolicy } from '../../../git-providers/address-policy.js';
import { GuardedHttp } from '../../../git-providers/guarded-http.js';

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

async function serve(listener: RequestListener): Promise<string> {
  const server = createServer(listener);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const LOCAL = [{ host: '127.0.0.1', port: null, http: true }];
const client = (timeoutMs = 5_000) => new GuardedHttp(new AddressPolicy(LOCAL), timeoutMs);
const ask = (address: string, http = client(), limitBytes = 1000) =>
  http.send({ url: new URL(address), headers: { Authorization: 'Bearer hidden' }, limitBytes });

describe('an exchange with a git host', () => {
  it('goes to the address that was checked, whatever the name stands for a moment later', async () => {
    let asked = 0;
    const port = new URL(await serve((_request, response) => response.end('secret'))).port;
    const rebinding = new AddressPolicy([], (_name, _options, callback) => {
      asked++;
      callback(null, [{ address: asked === 1 ? '127.0.0.1' : '8.8.8.8', family: 4 }]);
    });
    const http = new GuardedHttp(rebinding, 5_000);
    await expect(ask(`https://rebinding.example:${port}/`, http)).rejects.toThrow(
      /is not an address of the public internet/,
    );
    expect(asked).toBe(1);
  });

  it('follows redirects on the same host, with the token', async () => {
    const seen: (string | undefined)[] = [];
    const url = await serve((request, response) => {
      seen.push(request.headers.authorization);
      if (request.url === '/old') response.writeHead(301, { Location: '/new' }).end();
      else response.end('moved');
    });
    expect((await ask(`${url}/old`)).body.toString()).toBe('moved');
    expect(seen).toEqual(['Bearer hidden', 'Bearer hidden']);
  });

  it('does not follow a redirect to another host', async () => {
    let reached = false;
    const other = await serve((_request, response) => {
      reached = true;
      response.end();
    });
    const url = await serve((_request, response) => response.writeHead(302, { Location: other }).end());
    expect((await ask(url)).status).toBe(302);
    expect(reached).toBe(false);
  });

  it('ends when redirects do not', async () => {
    const url = await serve((_request, response) => response.writeHead(302, { Location: '/' }).end());
    await expect(ask(url)).rejects.toThrow('it redirects without end');
  });

  it('reads no more than its limit', async () => {
    const url = await serve((_request, response) => response.end('x'.repeat(1001)));
    await expect(ask(url)).rejects.toThrow('it answered with more than 1000 bytes');
    expect((await ask(url, client(), 1001)).body).toHaveLength(1001);
  });

  it('does not wait longer than its limit', async () => {
    const silent = await serve(() => undefined);
    await expect(ask(silent, client(50))).rejects.toThrow('it did not answer within 0.05 seconds');
    const halting = await serve((_request, response) => void response.write('begun'));
    await expect(ask(halting, client(50))).rejects.toThrow('it did not answer within 0.05 seconds');
  });

  it('says why there is no answer', async () => {
    const url = await serve((_request, response) => response.end());
    servers.splice(0).forEach((server) => server.close());
    await expect(ask(url)).rejects.toThrow('nothing listens there');
    const cut = await serve((_request, response) => response.destroy());
    await expect(ask(cut)).rejects.toThrow('the connection failed (ECONNRESET)');
  });

  it('tries again when a kept connection turns out to be dead', async () => {
    let requests = 0;
    const url = await serve((request, response) => {
      requests++;
      if (requests === 2) request.socket.resetAndDestroy();
      else response.end('there');
    });
    const http = client();
    await ask(url, http);
    expect((await ask(url, http)).body.toString()).toBe('there');
    expect(requests).toBe(3);
    http.close();
  });
});
