import { once } from 'node:events';
import { createServer } from 'node:http';
import { connect, createServer as createTcpServer } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { LAUNCH_LINE } from '../../../sandboxes/backend.js';
import type { SandboxCondition, SandboxHandle } from '../../../sandboxes/backend.js';
import { awaitReady, SandboxNotReady } from '../../../sandboxes/readiness.js';
import type { ReadinessRequest } from '../../../sandboxes/readiness.js';
import { listen, stop } from '../../support/loopback.js';

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

/** A server that answers what `answer` says: a status, or null for a connection that is broken off. */
async function serving(
  answer: (path: string, key: string | undefined) => number | null,
): Promise<SandboxHandle> {
  const server = createServer((request, response) => {
    const status = answer(request.url!, request.headers['x-session-api-key'] as string | undefined);
    if (status === null) request.socket.destroy();
    else response.writeHead(status).end('{}');
  });
  const port = await listen(server);
  closing.push(() => stop(server));
  return handleAt(port);
}

const handleAt = (port: number): SandboxHandle => ({
  backend: 'process',
  port,
  url: `http://127.0.0.1:${port}`,
  workingDirectory: '/w',
});

/** A back-end whose sandbox is in the given condition and has the given log. */
interface FakeSandbox {
  condition?: () => SandboxCondition;
  log?: string[];
  logSize?: () => number;
  processorTime?: () => number;
}

function backend(fake: FakeSandbox = {}) {
  return {
    inspect: async () => fake.condition?.() ?? ({ state: 'running' } as const),
    logTail: async (_: string, lines: number) => (fake.log ?? []).slice(-lines),
    logSize: async () => fake.logSize?.() ?? 0,
    processorTime: async () => fake.processorTime?.() ?? 0,
  } satisfies ReadinessRequest['backend'];
}

async function failureOf(request: Omit<ReadinessRequest, 'sandboxId'>): Promise<SandboxNotReady> {
  const error: unknown = await awaitReady({ sandboxId: 'box', ...request }).catch(
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(SandboxNotReady);
  return error as SandboxNotReady;
}

describe('waiting for an agent-server', () => {
  it('takes broken connections, 404 and 503 for "not yet" and ends with the first 200', async () => {
    const answers = [null, 404, 503, 200];
    const probes: number[] = [];
    const handle = await serving(() => (answers.length > 0 ? answers.shift()! : 200));
    const onProgress = (count: number) => probes.push(count);
    await awaitReady({ backend: backend(), sandboxId: 'box', handle, startupTimeoutMs: 5_000, onProgress });
    expect(probes).toEqual([1, 2, 3, 4]);
  });

  it('ends at once when the process has ended, and tells how and what its log says', async () => {
    const failure = await failureOf({
      backend: backend({
        condition: () => ({ state: 'gone', exitCode: 3 }),
        log: ['an earlier life', `${LAUNCH_LINE} now`, 'cannot import my-secret-key'],
      }),
      handle: handleAt(9),
      startupTimeoutMs: 60_000,
      secrets: ['my-secret-key'],
    });
    expect(failure).toMatchObject({ type: 'SandboxExited', exitCode: 3 });
    expect(failure.logTail).toEqual(['cannot import **********']);
    expect(failure.message).toMatch(/exit code 3/);
    expect(failure.message).toContain(
      'GET http://127.0.0.1:9/alive was tried 1 times, last answer: connection',
    );
    expect(failure.message).not.toContain('my-secret-key');
  });

  it('fails after the time without progress, and says what it saw', async () => {
    const handle = await serving(() => 503);
    const failure = await failureOf({
      backend: backend({ log: ['importing'] }),
      handle,
      startupTimeoutMs: 150,
    });
    expect(failure.type).toBe('SandboxStartTimeout');
    expect(failure.message).toMatch(/last answer: HTTP 503\. Last lines of its log:\nimporting/);
  });

  let looks = 0;
  const workers: [string, FakeSandbox][] = [
    ['its log grows', { logSize: () => looks++ }],
    ['it computes', { processorTime: () => looks++ * 100 }],
  ];
  it.each(workers)('is patient as long as %s, but not for ever', async (_, fake) => {
    const handle = await serving(() => 503);
    const began = Date.now();
    const limits = { startupTimeoutMs: 1_500, hardLimitMs: 3_500 };
    const failure = await failureOf({ backend: backend(fake), handle, ...limits });
    expect(failure.type).toBe('SandboxStartTimeout');
    expect(Date.now() - began).toBeGreaterThan(3_000);
  });

  it('does not take the little that an idle process computes for progress', async () => {
    let time = 0;
    const handle = await serving(() => 503);
    const began = Date.now();
    await failureOf({
      backend: backend({ processorTime: () => (time += 10) }),
      handle,
      startupTimeoutMs: 400,
      hardLimitMs: 60_000,
    });
    expect(Date.now() - began).toBeLessThan(30_000);
  });

  it("does not take another program's answer for its own", async () => {
    const handle = await serving((path, key) => (path === '/alive' || key === 'theirs' ? 200 : 401));
    const request = { backend: backend(), handle, startupTimeoutMs: 5_000 };
    expect((await failureOf({ ...request, sessionApiKey: 'ours' })).type).toBe('SandboxPortTaken');
    await awaitReady({ ...request, sandboxId: 'box', sessionApiKey: 'theirs' });
    const dead = backend({ condition: () => ({ state: 'gone', exitCode: 1 }) });
    expect((await failureOf({ ...request, backend: dead })).type).toBe('SandboxPortTaken');
  });

  const LOST =
    "[Errno 98] error while attempting to bind on address ('127.0.0.1', 9): address already in use";
  const afterwards = Array.from({ length: 40 }, (_, number) => `shutting down ${number}`);
  it.each([
    ['last', [LOST]],
    ['long before it ended', [LOST, ...afterwards]],
  ])('recognises a server that ended because its port was taken, if it says so %s', async (_, log) => {
    const failure = await failureOf({
      backend: backend({ condition: () => ({ state: 'gone', exitCode: 1 }), log }),
      handle: handleAt(9),
      startupTimeoutMs: 5_000,
    });
    expect(failure.type).toBe('SandboxPortTaken');
    expect(failure.logTail).toEqual(log.slice(-15));
  });

  it('recognises a server that ended in silence because an outgoing connection has its port', async () => {
    const elsewhere = createTcpServer((socket) => socket.resume());
    closing.push(() => stop(elsewhere));
    const outgoing = connect(await listen(elsewhere), '127.0.0.1');
    await once(outgoing, 'connect');
    const handle = handleAt(outgoing.localPort!);
    const failure = await failureOf({
      backend: backend({ condition: () => ({ state: 'gone', exitCode: 1 }) }),
      handle,
      startupTimeoutMs: 5_000,
    });
    outgoing.destroy();
    expect(failure.type).toBe('SandboxPortTaken');
    expect(failure.message).toContain(`The port of ${handle.url} is in use by another program`);
  });

  it('does not look for the port of a server at an address that is not of this machine', async () => {
    const failure = await failureOf({
      backend: backend({ condition: () => ({ state: 'gone', exitCode: 1 }) }),
      handle: { ...handleAt(9), url: 'http://192.0.2.1:9' },
      startupTimeoutMs: 5_000,
    });
    expect(failure.type).toBe('SandboxExited');
  });

  it('ends with the reason of the signal when its caller gives up', async () => {
    const handle = await serving(() => 503);
    const controller = new AbortController();
    const reason = new Error('cancelled');
    const waiting = awaitReady({
      backend: backend(),
      sandboxId: 'box',
      handle,
      startupTimeoutMs: 5_000,
      signal: controller.signal,
      onProgress: (probes) => {
        if (probes === 3) controller.abort(reason);
      },
    });
    await expect(waiting).rejects.toBe(reason);
  });
});
