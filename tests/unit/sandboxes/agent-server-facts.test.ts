import { chmod, mkdir, mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createHandshake } from '../../../activities/agent-server-handshake.js';
import { keptFacts } from '../../../sandboxes/agent-server-facts.js';

const SPEC = '1.34.0';
const FACTS = { version: '1.34.0', usableTools: ['terminal', 'file_editor'] };
const PROGRAM = 'venv/lib/python3.13/site-packages/openhands/agent_server/__main__.py';

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'callboard-facts-'));
  await put('bin/agent-server', '#!/bin/sh\n# Starts the agent-server 1.34.0.\n');
  await put(PROGRAM, 'main()\n');
  await put('tools/git', '');
  // So that each change shows, however soon it comes.
  for (const directory of ['tools', 'venv/lib/python3.13/site-packages'])
    await utimes(join(root, directory), 1, 1);
});
afterEach(async () => {
  vi.useRealTimers();
  await rm(root, { recursive: true, force: true });
});

async function put(name: string, text: string): Promise<void> {
  await mkdir(dirname(join(root, name)), { recursive: true });
  await writeFile(join(root, name), text);
  await chmod(join(root, name), 0o755);
}

const factsOf = (environment: Record<string, string> = {}) =>
  keptFacts({
    file: join(root, 'host', 'agent-server.json'),
    command: join(root, 'bin/agent-server'),
    environment: { PATH: join(root, 'tools'), ...environment },
  });

describe('what an agent-server has told of itself', () => {
  it('is known to the next worker of the machine', async () => {
    await factsOf().keep(SPEC, FACTS);
    expect(await factsOf().read(SPEC)).toEqual(FACTS);
  });

  it.each<[string, () => Promise<void> | void]>([
    ['another agent-server is installed', () => put(PROGRAM, 'main("1.35")\n')],
    ['a package comes in', () => put('venv/lib/python3.13/site-packages/browser/__init__.py', '')],
    ['a program comes in', () => put('tools/chromium', '')],
    ['a program goes', () => rm(join(root, 'tools/git'))],
    [
      'the command is made anew',
      () => put('bin/agent-server', '#!/bin/sh\n# Starts the agent-server 1.35.0.\n'),
    ],
    ['a day is over', () => void vi.useFakeTimers({ now: Date.now() + 25 * 3_600_000, toFake: ['Date'] })],
    ['its file was cut short', () => put('host/agent-server.json', '{"key":"')],
  ])('is not believed any more when %s', async (_, change) => {
    await factsOf().keep(SPEC, FACTS);
    await change();
    expect(await factsOf().read(SPEC)).toBeNull();
  });

  it('holds for its spec and its environment only', async () => {
    await factsOf().keep(SPEC, FACTS);
    expect(await factsOf().read('1.35.0')).toBeNull();
    expect(await factsOf({ PLAYWRIGHT_BROWSERS_PATH: '/srv' }).read(SPEC)).toBeNull();
  });

  it('is not kept of a command of somebody else', async () => {
    await put('bin/agent-server', '#!/bin/sh\nexec ssh host agent-server\n');
    await factsOf().keep(SPEC, FACTS);
    expect(await readdir(root)).not.toContain('host');
    expect(await factsOf().read(SPEC)).toBeNull();
  });
});

describe('the question to an agent-server', () => {
  const WARM = { specId: SPEC, warmSince: new Date() };
  const OWN = { specId: SPEC, warmSince: null };
  const log = { warn: vi.fn() };

  function handshake(kept = factsOf(), answer: () => Promise<object> = () => Promise.resolve(SERVER_INFO)) {
    const serverInfo = vi.fn(answer);
    const ask = createHandshake({ keptFacts: kept, log, createClient: () => ({ serverInfo }) as never });
    return { ask: (row: typeof WARM | typeof OWN) => ask(row, 'http://box', 'key'), serverInfo };
  }
  const SERVER_INFO = { version: FACTS.version, usable_tools: FACTS.usableTools, uptime: 1 };

  it('is asked once by the first worker, and not by the next one for a start', async () => {
    const first = handshake();
    expect(await first.ask(OWN)).toEqual(FACTS);
    expect(await first.ask(OWN)).toEqual(FACTS);
    expect(first.serverInfo).toHaveBeenCalledTimes(1);
    const next = handshake();
    expect(await next.ask(OWN)).toEqual(FACTS);
    expect(next.serverInfo).not.toHaveBeenCalled();
  });

  it('is asked of a sandbox that is kept warm, whatever an earlier one has told', async () => {
    await factsOf().keep(SPEC, { version: '1.0.0', usableTools: [] });
    const { ask, serverInfo } = handshake();
    expect(await ask(WARM)).toEqual(FACTS);
    expect(serverInfo).toHaveBeenCalledTimes(1);
    expect(await factsOf().read(SPEC)).toEqual(FACTS);
  });

  it('is asked again after a failure, and does not need the file', async () => {
    const broken = {
      read: () => Promise.reject(new Error('EIO')),
      keep: () => Promise.reject(new Error('EIO')),
    };
    const answers = [() => Promise.reject(new Error('gone')), () => Promise.resolve(SERVER_INFO)];
    const { ask } = handshake(broken, () => answers.shift()!());
    await expect(ask(OWN)).rejects.toThrow('gone');
    expect(await ask(OWN)).toEqual(FACTS);
  });
});
