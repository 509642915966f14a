/** What goes wrong between a worker and the process that makes agent-servers by fork(2): no sandbox is lost, or there twice. */
import { spawn, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { access, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { FORK_SERVER_MODULE, startupArguments } from '../../sandboxes/agent-server-startup.js';
import type { SandboxBackend, SandboxHandle, SandboxLaunch } from '../../sandboxes/backend.js';
import { ForkServer } from '../../sandboxes/fork-server.js';
import { chooseFreePort } from '../../sandboxes/ports.js';
import { createProcessBackend } from '../../sandboxes/process-backend.js';
import { currentBootId, readStat } from '../../sandboxes/process-identity.js';
import { LOCK_HELD } from '../../sandboxes/process-launch.js';
import { processesOf, SANDBOX_MARK } from '../../sandboxes/process-tree.js';
import { makeDirectories } from '../../sandboxes/sandbox-directories.js';
import { sandboxPaths } from '../../sandboxes/sandbox-paths.js';
import { IMPORTS_WHILE, installStandIn, NO_FORKS_WHILE } from '../support/stand-in-installation.js';

const WITHIN = { timeout: 90_000, interval: 20 };

let root: string;
let command: string;
let backend: SandboxBackend;
let launched: SandboxLaunch[];
/** What was warned of, as text. */
let warnings: string[];

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'callboard-faulty-'));
  command = await installStandIn(root);
});
afterAll(() => rm(root, { recursive: true, force: true }));

beforeEach(() => {
  launched = [];
  warnings = [];
  backend = create(true);
});
afterEach(async () => {
  for (const { sandboxId } of launched) await backend.destroy(sandboxId, null);
});

const create = (forkAgentServers: boolean, forksFirst = true): SandboxBackend =>
  createProcessBackend({
    rootDirectory: join(root, 'sandboxes'),
    command,
    address: '127.0.0.1',
    forkAgentServers,
    forksFirst,
    stopGraceMs: 1_000,
    logger: {
      info: () => undefined,
      warn: ({ reason, err }: { reason?: string; err?: Error }, message) =>
        warnings.push([message, reason ?? err?.message].join(': ')),
    },
  });

/** @param isAhead whether it waits until copies can be made */
async function aLaunch(isAhead = true, environment: Record<string, string> = {}): Promise<SandboxLaunch> {
  const candidates = Array.from({ length: 50 }, () => 20_000 + Math.floor(Math.random() * 12_000));
  const launch: SandboxLaunch = {
    sandboxId: `box-${randomUUID()}`,
    specId: '1.34.0',
    port: (await chooseFreePort('127.0.0.1', candidates))!,
    sessionApiKey: `session-${randomUUID()}`,
    secretKey: `secret-${randomUUID()}`,
    webhookBaseUrl: 'http://127.0.0.1:9/api/v1/webhooks',
    environment,
    isAhead,
  };
  launched.push(launch);
  return launch;
}

const pathsOf = ({ sandboxId }: SandboxLaunch) => sandboxPaths(join(root, 'sandboxes'), sandboxId);

const parentOf = async ({ pid }: SandboxHandle): Promise<number> => (await readStat(pid!))!.parent;

const pidsOf = async ({ sandboxId }: SandboxLaunch): Promise<number[]> =>
  (await processesOf(sandboxId)).map(({ pid }) => pid);

const hiddenIn = async (launch: SandboxLaunch): Promise<string[]> =>
  (await readdir(pathsOf(launch).directory)).filter((name) => name.startsWith('.'));

/** That it is there once, serves, and has left no request. */
async function expectOne(launch: SandboxLaunch, handle: SandboxHandle): Promise<void> {
  expect((await backend.inspect(launch.sandboxId, handle)).state).toBe('running');
  await vi.waitFor(async () => {
    expect(await readFile(pathsOf(launch).log, 'utf8')).toContain(
      `serving --host 127.0.0.1 --port ${launch.port}`,
    );
    expect(await pidsOf(launch)).toEqual([handle.pid]);
    expect(await hiddenIn(launch)).toEqual([]);
  }, WITHIN);
}

const awaitStopped = (pid: number) =>
  vi.waitFor(async () => expect((await readStat(pid))?.state).toBe('T'), WITHIN);

const awaitEnd = (pid: number) =>
  vi.waitFor(async () => expect((await readStat(pid))?.state ?? 'Z').toBe('Z'), WITHIN);

describe('a fork server that is not there yet', () => {
  it('is not waited for by the first sandbox of a worker, and makes the next one that nobody waits for', async () => {
    const fresh = create(true, false);
    const launches = [await aLaunch(), await aLaunch()];
    const parents: number[] = [];
    for (const launch of launches) {
      const handle = await fresh.launch(launch);
      await expectOne(launch, handle);
      parents.push(await parentOf(handle));
    }
    expect(parents[0]).toBe(process.pid);
    expect(parents[1]).not.toBe(process.pid);
    process.kill(parents[1]!, 'SIGKILL');
  });

  it('is made once the first one has answered, and not put off by further ones', async () => {
    const directory = join(root, randomUUID());
    const logger = { info: () => undefined, warn: () => undefined };
    const forks = new ForkServer({ directory, logger, afterAnswerMs: 300 });
    const launch = await aLaunch(false);
    const paths = pathsOf(launch);
    await makeDirectories(paths);
    const { port } = launch;
    const args = ['--host', '127.0.0.1', '--port', String(port)];
    const rest = { port, bootId: await currentBootId(), url: '', workingDirectory: paths.project };
    forks.hasAnswered(); // of a sandbox that was there before: there is nothing to make yet
    expect(await forks.launch({ launch, paths, argv: [command], args, rest })).toBeNull();
    expect(forks.isReady).toBe(false);
    const answers = setInterval(() => forks.hasAnswered(), 50);
    try {
      await vi.waitFor(() => expect(forks.isReady).toBe(true), WITHIN);
    } finally {
      clearInterval(answers);
    }
    const copy = await forks.launch({ launch, paths, argv: [command], args, rest });
    await vi.waitFor(async () => expect(await pidsOf(launch)).toEqual([copy?.pid]), WITHIN);
  });
});

describe('a fork server that is stopped', () => {
  it('is given up by the launches that wait for it, which boot, and not waited for again', async () => {
    const first = await aLaunch();
    const copy = await backend.launch(first);
    const server = await parentOf(copy);
    expect(server).not.toBe(process.pid);
    process.kill(server, 'SIGSTOP');
    await awaitStopped(server);
    const waiting = await Promise.all([1, 2, 3, 4].map(() => aLaunch(false)));
    const handles = await Promise.all(waiting.map((launch) => backend.launch(launch)));
    for (const [n, launch] of waiting.entries()) {
      expect(await parentOf(handles[n]!)).toBe(process.pid);
      await expectOne(launch, handles[n]!);
    }
    await awaitEnd(server);
    const later = await aLaunch(false);
    const handle = await backend.launch(later);
    expect(await parentOf(handle)).toBe(process.pid);
    await expectOne(later, handle);
    await expectOne(first, copy);
    expect(warnings).toEqual(['an agent-server could not be forked: it made no copy within 10 s']);
  });

  it('ends with its worker all the same; what that asked for last is launched by the next one', async () => {
    const [launch, next] = [await aLaunch(), await aLaunch()];
    const settings = JSON.stringify({ root, command, launch, next, forkAgentServers: true });
    const worker = spawn(process.execPath, ['--import', 'tsx', 'tests/support/launch-sandbox.ts', settings], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const lines = createInterface({ input: worker.stdout })[Symbol.asyncIterator]();
    expect((await lines.next()).value).toBe('launching');
    const handle = JSON.parse((await lines.next()).value as string) as SandboxHandle;
    const server = await parentOf(handle);
    expect(server).not.toBe(worker.pid);
    process.kill(server, 'SIGSTOP');
    await awaitStopped(server);
    worker.kill('SIGUSR2');
    const { directory } = pathsOf(next);
    const request = await vi.waitFor(async () => {
      const [name] = await hiddenIn(next);
      const path = join(directory, name!);
      expect(await readFile(path, 'utf8')).toContain(next.secretKey);
      return path;
    }, WITHIN);
    expect((await stat(request)).mode & 0o777).toBe(0o600);
    expect((await stat(directory)).mode & 0o777).toBe(0o700);
    worker.kill('SIGKILL');
    await awaitEnd(server);
    await access(request);
    expect(await pidsOf(next)).toEqual([]);
    const own = await backend.launch(next);
    expect(await parentOf(own)).not.toBe(process.pid);
    await expectOne(next, own);
    await expectOne(launch, handle);
  });
});

describe('a fork server that imports for long', () => {
  it('is waited for by what nobody waits for, and by others for a while', async () => {
    const flag = join(root, 'imports');
    await writeFile(flag, '');
    const directory = join(root, randomUUID());
    const logger = { info: () => undefined, warn: () => undefined };
    const forks = new ForkServer({ directory, logger, awaitedMs: 100, forksFirst: true });
    const launchOf = async (isAhead: boolean) => {
      const launch = await aLaunch(isAhead, { [IMPORTS_WHILE]: flag });
      const paths = pathsOf(launch);
      await makeDirectories(paths);
      const { port } = launch;
      const args = ['--host', '127.0.0.1', '--port', String(port)];
      const rest = { port, bootId: await currentBootId(), url: '', workingDirectory: paths.project };
      return { launch, copy: forks.launch({ launch, paths, argv: [command], args, rest }) };
    };
    const ahead = await launchOf(true);
    await vi.waitFor(() => access(join(directory, '.fork-server/log')), WITHIN);
    const awaited = await launchOf(false);
    expect(await awaited.copy).toBeNull();
    expect(await hiddenIn(awaited.launch)).toEqual([]);
    await rm(flag);
    const copy = await ahead.copy;
    await vi.waitFor(async () => expect(await pidsOf(ahead.launch)).toEqual([copy?.pid]), WITHIN);
  });
});

describe('a request that is carried out late', () => {
  let server: ChildProcess;
  let answers: AsyncIterator<string>;

  beforeEach(async () => {
    const directory = join(root, randomUUID());
    const home = join(directory, 'import/callboard-1f2e3d/home');
    await mkdir(home, { recursive: true });
    const flags = await startupArguments([command], { module: FORK_SERVER_MODULE });
    server = spawn(command, flags, {
      cwd: directory,
      stdio: ['pipe', 'ignore', 'ignore', 'pipe'],
      env: {
        HOME: home,
        CALLBOARD_WARM_UP: '1',
        CALLBOARD_FORK_SERVER: JSON.stringify({ tracer: 'callboard-1f2e3d', home, log_limit: 1_000 }),
        CALLBOARD_FORK_SERVER_ROOM: '.'.repeat(16_000),
      },
    });
    answers = createInterface({ input: server.stdio[3] as Readable })[Symbol.asyncIterator]();
    expect(await heard()).toEqual({ ready: true });
  });
  afterEach(() => server.kill('SIGKILL'));

  const heard = async (): Promise<unknown> => JSON.parse((await answers.next()).value as string);
  const now = (): number => Number(process.hrtime.bigint()) / 1e9;

  /** Asks the server, which is stopped, and returns the file of the request. */
  async function ask(launch: SandboxLaunch, until: number): Promise<string> {
    process.kill(server.pid!, 'SIGSTOP');
    await awaitStopped(server.pid!);
    const { directory } = pathsOf(launch);
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const file = join(root, `request-${randomUUID()}.json`);
    const request = {
      arguments: ['--port', 'stale'],
      environment: { HOME: directory, [SANDBOX_MARK]: launch.sandboxId },
      mark: `${SANDBOX_MARK}=${launch.sandboxId}`,
      configuration: { session_api_keys: [launch.sessionApiKey], secret_key: launch.secretKey },
      line: 'launched',
      rest: { bootId: 'of another', port: 1, url: 'http://stale' },
    };
    await writeFile(file, JSON.stringify(request), { mode: 0o600 });
    server.stdin!.write(`${JSON.stringify({ id: 1, directory, file, until })}\n`);
    return file;
  }

  /** How the copy has ended that it makes after all. */
  async function carriedOut(): Promise<unknown> {
    server.kill('SIGCONT');
    const made = (await heard()) as { id: number; pid: number };
    expect(made).toEqual({ id: 1, pid: expect.any(Number) as number });
    const { status, pid } = (await heard()) as { pid: number; status: number };
    expect(pid).toBe(made.pid);
    return status;
  }

  const isLost = (path: string) =>
    access(path).then(
      () => false,
      () => true,
    );

  it('makes an agent-server when it is still in time', async () => {
    const launch = await aLaunch();
    await ask(launch, now() + 600);
    server.kill('SIGCONT');
    const { pid } = (await heard()) as { pid: number };
    await vi.waitFor(async () => {
      expect(await readFile(pathsOf(launch).log, 'utf8')).toContain('serving --port stale');
      expect(await pidsOf(launch)).toEqual([pid]);
    }, WITHIN);
  });

  it.each([
    ['in time', 600],
    ['too late', 0],
  ])('neither makes a second agent-server nor ends the first one (%s)', async (_, seconds) => {
    const launch = await aLaunch(false);
    const file = await ask(launch, now() + seconds);
    const handle = await create(false).launch(launch);
    await expectOne(launch, handle);
    expect(await carriedOut()).toBe(LOCK_HELD);
    await expectOne(launch, handle);
    expect(await backend.find(launch.sandboxId)).toEqual(handle);
    expect(await isLost(file)).toBe(true);
  });

  it('does not bring back a sandbox that has been ended since', async () => {
    const launch = await aLaunch(false);
    const file = await ask(launch, now());
    const handle = await create(false).launch(launch);
    await expectOne(launch, handle);
    await backend.halt(launch.sandboxId, handle);
    const record = await readFile(pathsOf(launch).record, 'utf8');
    expect(await carriedOut()).toBe(LOCK_HELD);
    expect(await pidsOf(launch)).toEqual([]);
    expect(await readFile(pathsOf(launch).record, 'utf8')).toBe(record);
    expect(await isLost(file)).toBe(true);
  });

  it('does nothing once it was withdrawn', async () => {
    const launch = await aLaunch(false);
    const file = await ask(launch, now() + 600);
    await rm(file);
    expect(await carriedOut()).toBe(LOCK_HELD);
    expect(await pidsOf(launch)).toEqual([]);
  });
});

describe('a system that lets no more processes be made', () => {
  it('makes a launch boot, is told of in the log, and is asked again by the next', async () => {
    const flag = join(root, 'no-forks');
    const environment = { [NO_FORKS_WHILE]: flag };
    const first = await aLaunch(true, environment);
    const server = await parentOf(await backend.launch(first));
    await writeFile(flag, '');
    for (const launch of [await aLaunch(true, environment), await aLaunch(false, environment)]) {
      const handle = await backend.launch(launch);
      expect(await parentOf(handle)).toBe(process.pid);
      await expectOne(launch, handle);
    }
    const line = expect.stringMatching(
      /^an agent-server could not be forked: .*Resource temporarily unavailable/,
    ) as string;
    expect(warnings).toEqual([line, line]);
    await rm(flag);
    const last = await aLaunch(false, environment);
    const handle = await backend.launch(last);
    expect(await parentOf(handle)).toBe(server);
    await expectOne(last, handle);
    expect(warnings).toHaveLength(2);
  });
});
