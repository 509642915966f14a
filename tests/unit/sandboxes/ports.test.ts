import { createServer } from 'node:net';
import type { AddressInfo, Server } from 'node:net';
import { afterEach, expect, it } from 'vitest';
import { chooseFreePort, isPortFree } from '../../../sandboxes/ports.js';

const open: Server[] = [];
afterEach(async () => {
  for (const server of open.splice(0)) await new Promise((resolve) => server.close(resolve));
});

async function takenPort(host: string): Promise<number> {
  const server = createServer();
  open.push(server);
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  return (server.address() as AddressInfo).port;
}

it('a port is free exactly when something could listen on it', async () => {
  const port = await takenPort('127.0.0.1');
  expect(await isPortFree('127.0.0.1', port)).toBe(false);
  await new Promise((resolve) => open.pop()!.close(resolve));
  expect(await isPortFree('127.0.0.1', port)).toBe(true);
  expect(await isPortFree('127.0.0.1', port)).toBe(true);
});

it('a port on which somebody listens at every address is not free at one of them', async () => {
  expect(await isPortFree('127.0.0.1', await takenPort('0.0.0.0'))).toBe(false);
});

it('an address that is not of this machine is an error, not a taken port', async () => {
  await expect(isPortFree('192.0.2.1', 40_000)).rejects.toThrow('EADDRNOTAVAIL');
});

it('the first free candidate is chosen, and null when there is none', async () => {
  const [first, second] = [await takenPort('127.0.0.1'), await takenPort('127.0.0.1')];
  await new Promise((resolve) => open.pop()!.close(resolve));
  expect(await chooseFreePort('127.0.0.1', [first, second])).toBe(second);
  expect(await chooseFreePort('127.0.0.1', [first])).toBeNull();
});
