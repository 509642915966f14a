import { createServer } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isPortFree, pickPort } from '../../../cli/embedded/ports.js';
import { loadConfig } from '../../../config/config.js';
import { listen } from '../../support/loopback.js';

describe('picking a port', () => {
  const taken = createServer();
  let port: number;
  beforeAll(async () => {
    port = await listen(taken);
  });
  afterAll(() => taken.close());

  it('sees that a port is in use', async () => {
    expect(await isPortFree(port)).toBe(false);
  });

  it('gives the first wished port that is free', async () => {
    const free = await pickPort();
    expect(await pickPort([undefined, 0, port, free])).toBe(free);
  });

  it('gives a free port nobody wished for when all wished ones are in use', async () => {
    const picked = await pickPort([port]);
    expect(picked).not.toBe(port);
    // Neither a sandbox's, nor one that the system may give to an outgoing connection.
    expect(picked).toBeGreaterThan(loadConfig({ env: {} }).sandboxes.portRange.last);
    expect(picked).toBeLessThan(30_000);
    expect(await isPortFree(picked)).toBe(true);
  });
});
