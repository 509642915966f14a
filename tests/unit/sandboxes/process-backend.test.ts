/** The process back-end with a stand-in for the agent-server that is there at once; the processes are real. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, chmod, mkdir, mkdtemp, readFile, readlink, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { SandboxRefusal } from '../../../sandboxes/backend.js';
import type { SandboxBackend, SandboxHandle, SandboxLaunch } from '../../../sandboxes/backend.js';
import { chooseFreePort } from '../../../sandboxes/ports.js';
import { createProcessBackend } from '../../../sandboxes/process-backend.js';
import { readStat } from '../../../sandboxes/process-identity.js';
import { startShell } from '../../../sandboxes/process-launch.js';
import { processesOf } from '../../../sandboxes/process-tree.js';
import { sandboxPaths } from '../../../sandboxes/sandbox-paths.js';
import { listen, stop } from '../../support/loopback.js';

const logger = { info: () => undefined, warn: () => undefined };
let root: string;
let command: string;
let backend: SandboxBackend;
let launched: SandboxLaunch[];

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'callboard-process-'));
  launched = [];
  // Says what it got, starts a child in a session of its own (with no descriptors of its own, as Python
  // does), and waits.
  command = await program('server', 'echo "serving $*"; setsid sleep 601 8<&- 9>&- & exec sleep 600');
  backend = create();
});

afterEach(async () => {
  for (const { sandboxId } of launched) await create().destroy(sandboxId, null);
  await rm(root, { recursive: true, force: true });
});

const create = (overrides: { command?: string; startGraceMs?: number } = {}): SandboxBackend =>
  createProcessBackend({
    rootDirectory: join(root, 'sandboxes'),
    command,
    address: '127.0.0.1',
    logger,
    stopGraceMs: 1_000,
    ...overrides,
  });

async function program(name: string, text: string): Promise<string> {
  const path = join(root, name);
  await writeFile(path, `#!/bin/sh\n${text}\n`);
  await chmod(path, 0o755);
  return path;
}

async function aLaunch(): Promise<SandboxLaunch> {
  const port = await chooseFreePort('127.0.0.1', [20_000 + Math.floor(Math.random() * 10_000), 0]);
  const launch: SandboxLaunch = {
    sandboxId: `box-${crypto.randomUUID()}`,
    specId: '1.34.0',
    port: port!,
    sessionApiKey: `session-${crypto.randomUUID()}`,
    secretKey: `secret-${crypto.randomUUID()}`,
    webhookBaseUrl: 'http://127.0.0.1:9/api/v1/webhooks',
    environment: {},
  };
  launched.push(launch);
  return launch;
}

const REST = { bootId: 'boot', port: 9, url: 'http://127.0.0.1:9', workingDirectory: '/w' };

const pathsOf = ({ sandboxId }: SandboxLaunch) => sandboxPaths(join(root, 'sandboxes'), sandboxId);

/** Pids of the stand-in servers of a sandbox: one, if all is well. */
async function servers({ sandboxId }: SandboxLaunch): Promise<number[]> {
  const tree = await processesOf(sandboxId);
  const lines = await Promise.all(tree.map(({ pid }) => readFile(`/proc/${pid}/cmdline`, 'utf8')));
  return tree.filter((_, n) => lines[n]!.includes('sleep\x00600\x00')).map(({ pid }) => pid);
}

const maskOf = async (pid: number): Promise<string | undefined> =>
  /^Umask:\s*(\d+)$/m.exec(await readFile(`/proc/${pid}/status`, 'utf8'))?.[1];

async function isLost(path: string): Promise<boolean> {
  return access(path).then(
    () => false,
    () => true,
  );
}

describe('launching', () => {
  it('makes the directories, private ones, and starts the command with address and port', async () => {
    const launch = await aLaunch();
    const handle = await backend.launch(launch);
    expect(handle).toMatchObject({
      backend: 'process',
      port: launch.port,
      url: `http://127.0.0.1:${launch.port}`,
      workingDirectory: pathsOf(launch).project,
    });
    expect(await backend.inspect(launch.sandboxId, handle)).toEqual({ state: 'running' });
    await vi.waitFor(async () => {
      const tail = await backend.logTail(launch.sandboxId, 5);
      expect(tail.at(-1)).toBe(`serving --host 127.0.0.1 --port ${launch.port}`);
    }, 90_000);
    expect(await backend.logSize(launch.sandboxId)).toBeGreaterThan(0);
    expect((await stat(pathsOf(launch).directory)).mode & 0o777).toBe(0o700);
    expect((await stat(pathsOf(launch).terminals)).mode & 0o777).toBe(0o700);
    expect(await backend.list()).toEqual([launch.sandboxId]);
  });

  it('shows what waits for work as running, whatever the system calls that (D25)', async () => {
    const launch = await aLaunch();
    const handle = await backend.launch(launch);
    await vi.waitFor(async () => expect((await readStat(handle.pid!))?.state).toBe('S'), 90_000);
    expect(await backend.inspect(launch.sandboxId, handle)).toEqual({ state: 'running' });
  });

  it('removes what a copy that never came about would have read', async () => {
    const launch = await aLaunch();
    const { directory } = pathsOf(launch);
    // The last is what versions up to 0.6.0 may have left when they were killed.
    const unread = ['.launch-1.json', '.launch-2.json', '.configuration'].map((name) =>
      join(directory, name),
    );
    await mkdir(directory, { recursive: true });
    for (const path of unread) await writeFile(path, '{}');
    await backend.launch(launch);
    expect(await Promise.all(unread.map(isLost))).toEqual([true, true, true]);
  });

  it('leaves no secret in a command line, an environment, a file or the log', async () => {
    const launch = await aLaunch();
    await backend.launch(launch);
    const [pid] = await vi.waitFor(async () => {
      const found = await servers(launch);
      expect(found).toHaveLength(1);
      return found;
    }, 90_000);
    const texts = await Promise.all(
      [`/proc/${pid!}/cmdline`, `/proc/${pid!}/environ`, pathsOf(launch).record, pathsOf(launch).log].map(
        (path) => readFile(path, 'utf8'),
      ),
    );
    for (const text of texts) expect(text).not.toMatch(/session-|secret-/);
    expect((await stat(pathsOf(launch).log)).mode & 0o777).toBe(0o600);
    expect(await maskOf(pid!)).toBe(await maskOf(process.pid));
    // The one way in: an open file without a name, as often as it is opened.
    expect(await readlink(`/proc/${pid!}/fd/8`)).toMatch(/ \(deleted\)$/);
    expect((await stat(`/proc/${pid!}/fd/8`)).mode & 0o777).toBe(0o600);
    expect(await readFile(`/proc/${pid!}/fdinfo/8`, 'utf8')).toMatch(/^pos:\t0\nflags:\t0\d*0$/m);
    for (const _ of [1, 2]) {
      expect(JSON.parse(await readFile(`/proc/${pid!}/fd/8`, 'utf8'))).toEqual({
        session_api_keys: [launch.sessionApiKey],
        secret_key: launch.secretKey,
      });
    }
  });

  it('shows no secret while it is under way either, to who looks when the lock is taken', async () => {
    const launch = await aLaunch();
    const seen = join(root, 'seen');
    const copies = `cat /proc/$PPID/environ /proc/$PPID/cmdline /proc/self/environ`;
    const { PATH = '' } = process.env;
    await program(
      'flock',
      `(${copies}; ls -a; cat ./.[!.]* ./* 2>/dev/null) >'${seen}'\nPATH='${PATH}' exec flock "$@"`,
    );
    vi.stubEnv('PATH', `${root}:${PATH}`);
    await backend.launch(launch).finally(() => vi.unstubAllEnvs());
    const text = await readFile(seen, 'utf8');
    expect(text).toContain(`CALLBOARD_SANDBOX_ID=${launch.sandboxId}`);
    expect(text.split('\n')).toContain('lock');
    expect(text).not.toMatch(/session-|secret-|\.launch-.*json$/m);
  });

  it('again, and from several places at once, leads to one process', async () => {
    const launch = await aLaunch();
    const handles = await Promise.all([1, 2, 3, 4].map(() => create().launch(launch)));
    expect(new Set(handles.map(({ pid }) => pid)).size).toBe(1);
    expect(await create().launch(launch)).toEqual(handles[0]);
    expect(await create().find(launch.sandboxId)).toEqual(handles[0]);
    await vi.waitFor(async () => expect(await servers(launch)).toEqual([handles[0]!.pid]), 90_000);
  });

  it.each([0, 1, 2, 4, 8, 16, 32, 64])(
    'is taken over when its author is killed %i ms after it began, and never doubled',
    async (delay) => {
      const launch = await aLaunch();
      const author = spawn(
        process.execPath,
        ['--import', 'tsx', 'tests/support/launch-sandbox.ts', JSON.stringify({ root, command, launch })],
        { stdio: ['ignore', 'pipe', 'inherit'] },
      );
      await once(author.stdout, 'data'); // about to launch
      const exit = once(author, 'exit');
      setTimeout(() => author.kill('SIGKILL'), delay);
      await exit;
      const handle = await backend.launch(launch);
      await vi.waitFor(async () => expect(await servers(launch)).toEqual([handle.pid]), 90_000);
      expect(await backend.inspect(launch.sandboxId, handle)).toEqual({ state: 'running' });
    },
  );

  it('starts a sandbox again whose server died, and ends what that one had left running', async () => {
    const launch = await aLaunch();
    const first = await backend.launch(launch);
    await writeFile(join(first.workingDirectory, 'work.txt'), 'kept');
    await vi.waitFor(async () => expect(await processesOf(launch.sandboxId)).toHaveLength(2), 90_000);
    process.kill(first.pid!, 'SIGKILL');
    await vi.waitFor(async () => expect(await backend.find(launch.sandboxId)).toBeNull(), 90_000);
    const left = await processesOf(launch.sandboxId);
    expect(left).toHaveLength(1);
    const second = await backend.launch(launch);
    expect(second.pid).not.toBe(first.pid);
    await vi.waitFor(async () => {
      const pids = (await processesOf(launch.sandboxId)).map(({ pid }) => pid);
      expect(pids).toHaveLength(2);
      expect(pids).not.toContain(left[0]!.pid);
    }, 90_000);
    expect(await readFile(join(second.workingDirectory, 'work.txt'), 'utf8')).toBe('kept');
    // The old handle is of the old process.
    expect(await backend.inspect(launch.sandboxId, first)).toEqual({ state: 'gone', exitCode: 137 });
  });

  it('starts a sandbox again also when a child of the dead server still holds its lock', async () => {
    const careless = create({ command: await program('careless', 'setsid sleep 601 & exec sleep 600') });
    const launch = await aLaunch();
    const first = await careless.launch(launch);
    await vi.waitFor(async () => expect(await processesOf(launch.sandboxId)).toHaveLength(2), 90_000);
    process.kill(first.pid!, 'SIGKILL');
    await vi.waitFor(async () => expect(await careless.find(launch.sandboxId)).toBeNull(), 90_000);
    const second = await careless.launch(launch);
    await vi.waitFor(async () => {
      expect(await servers(launch)).toEqual([second.pid]);
      expect(await processesOf(launch.sandboxId)).toHaveLength(2);
    }, 90_000);
  });

  it('begins a new log when the old one is long', async () => {
    const launch = await aLaunch();
    const paths = pathsOf(launch);
    await mkdir(paths.directory, { recursive: true });
    await writeFile(paths.log, Buffer.alloc(21 * 1024 * 1024, 'x\n'));
    await backend.launch(launch);
    expect(await backend.logSize(launch.sandboxId)).toBeLessThan(1000);
    expect((await stat(paths.oldLog)).size).toBe(21 * 1024 * 1024);
  });
});

describe('a launch that cannot work', () => {
  const refusalOf = async (promise: Promise<unknown>): Promise<string> => {
    const error: unknown = await promise.catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(SandboxRefusal);
    return (error as SandboxRefusal).type;
  };

  it('is refused for a command that is not there, not executable, or a directory', async () => {
    const plain = join(root, 'plain');
    await writeFile(plain, '');
    for (const wrong of ['/no/such/agent-server', 'no-such-program-anywhere', plain, root, '']) {
      const launch = await aLaunch();
      expect(await refusalOf(create({ command: wrong }).launch(launch)), wrong).toBe(
        'AgentServerCommandMissing',
      );
    }
  });

  it('is refused for a taken port', async () => {
    const server = createServer();
    const launch = { ...(await aLaunch()), port: await listen(server) };
    expect(await refusalOf(backend.launch(launch))).toBe('SandboxPortTaken');
    expect(await processesOf(launch.sandboxId)).toEqual([]);
    await stop(server);
  });

  it('is refused where the directory cannot be made', async () => {
    await writeFile(join(root, 'sandboxes'), 'a file in the way');
    expect(await refusalOf(backend.launch(await aLaunch()))).toBe('SandboxDirectoryNotWritable');
    await rm(join(root, 'sandboxes'));
  });

  it('says so where its configuration cannot be written', async () => {
    const launch = await aLaunch();
    const start = {
      argv: [command],
      environment: {},
      configuration: '{}',
      paths: pathsOf(launch),
      rest: REST,
    };
    expect(() => startShell(start)).toThrow(
      `could not be started (ENOENT): is there space, and the right to write, in ${pathsOf(launch).directory}?`,
    );
  });

  it('says so where its log cannot be written', async () => {
    const launch = await aLaunch();
    await mkdir(pathsOf(launch).log, { recursive: true });
    await expect(backend.launch(launch)).rejects.toThrow(
      /could not be started \(exit code 2\): is there space, and the right to write, in /,
    );
    expect(await processesOf(launch.sandboxId)).toEqual([]);
  });

  it('is refused for an id that leads elsewhere', async () => {
    expect(await refusalOf(backend.launch({ ...(await aLaunch()), sandboxId: '../elsewhere' }))).toBe(
      'SandboxIdInvalid',
    );
  });

  it('shows as a process that is gone, with its exit code and log', async () => {
    const broken = create({
      command: await program('broken', 'echo "no module named openhands" >&2; exit 3'),
    });
    const launch = await aLaunch();
    const handle = await broken.launch(launch);
    await vi.waitFor(async () => {
      expect(await broken.inspect(launch.sandboxId, handle)).toEqual({ state: 'gone', exitCode: 3 });
    }, 90_000);
    expect(await broken.logTail(launch.sandboxId, 1)).toEqual(['no module named openhands']);
    // Noted for those who did not start it.
    await vi.waitFor(async () => {
      expect(await create().inspect(launch.sandboxId, handle)).toEqual({ state: 'gone', exitCode: 3 });
    }, 90_000);
  });
});

describe('pausing', () => {
  const statesOf = async (launch: SandboxLaunch) =>
    new Set((await processesOf(launch.sandboxId)).map(({ state }) => state));

  it('freezes every process of the sandbox and thaws them again, also when asked twice', async () => {
    const launch = await aLaunch();
    const handle = await backend.launch(launch);
    await vi.waitFor(async () => expect(await processesOf(launch.sandboxId)).toHaveLength(2), 90_000);
    for (const _ of [1, 2]) {
      await backend.pause(launch.sandboxId, handle);
      expect(await backend.inspect(launch.sandboxId, handle)).toEqual({ state: 'paused' });
      expect(await statesOf(launch)).toEqual(new Set(['T']));
    }
    expect(await create().find(launch.sandboxId)).toEqual(handle);
    for (const _ of [1, 2]) {
      await backend.resume(launch.sandboxId, handle);
      expect(await backend.inspect(launch.sandboxId, handle)).toEqual({ state: 'running' });
      expect(await statesOf(launch)).toEqual(new Set(['S']));
    }
  });

  it('is refused when there is no process any more', async () => {
    const launch = await aLaunch();
    const handle = await backend.launch(launch);
    process.kill(handle.pid!, 'SIGKILL');
    await vi.waitFor(async () => expect(await backend.find(launch.sandboxId)).toBeNull(), 90_000);
    await expect(backend.pause(launch.sandboxId, handle)).rejects.toMatchObject({ type: 'SandboxGone' });
    await expect(backend.resume(launch.sandboxId, handle)).rejects.toMatchObject({ type: 'SandboxGone' });
  });
});

describe('destroying', () => {
  async function expectNothingLeft(launch: SandboxLaunch, handle: SandboxHandle | null): Promise<void> {
    expect(await processesOf(launch.sandboxId)).toEqual([]);
    expect(await isLost(pathsOf(launch).directory)).toBe(true);
    expect(await isLost(pathsOf(launch).terminals)).toBe(true);
    expect(await backend.list()).not.toContain(launch.sandboxId);
    expect(await backend.find(launch.sandboxId)).toBeNull();
    if (handle) expect(await backend.inspect(launch.sandboxId, handle)).toMatchObject({ state: 'gone' });
  }

  it('leaves nothing, whether the sandbox runs, is frozen, ignores SIGTERM or has died', async () => {
    command = await program('stubborn', "trap '' TERM; setsid sleep 601 & sleep 600 & wait; sleep 600");
    const cases: ((launch: SandboxLaunch, handle: SandboxHandle) => Promise<void>)[] = [
      async () => undefined,
      (launch, handle) => backend.pause(launch.sandboxId, handle),
      async (_, handle) => void process.kill(handle.pid!, 'SIGKILL'),
    ];
    backend = create();
    for (const before of cases) {
      const launch = await aLaunch();
      const handle = await backend.launch(launch);
      await vi.waitFor(async () => expect(await processesOf(launch.sandboxId)).toHaveLength(3), 90_000);
      await before(launch, handle);
      await backend.destroy(launch.sandboxId, handle);
      await expectNothingLeft(launch, handle);
    }
  });

  it('needs no handle, and is fine with what is not there', async () => {
    const launch = await aLaunch();
    const handle = await backend.launch(launch);
    await create().destroy(launch.sandboxId, null);
    await expectNothingLeft(launch, handle);
    await backend.destroy(launch.sandboxId, handle);
    await backend.destroy(`never-${crypto.randomUUID()}`, null);
  });

  it('does not touch another sandbox', async () => {
    const [one, other] = [await aLaunch(), await aLaunch()];
    const handle = await backend.launch(one);
    const kept = await backend.launch(other);
    await backend.destroy(one.sandboxId, handle);
    expect(await backend.inspect(other.sandboxId, kept)).toEqual({ state: 'running' });
  });
});
