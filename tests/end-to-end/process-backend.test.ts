/** The process back-end with the real agent-server. One sandbox goes through its whole life, in order. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, readdir, readFile, readlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { AgentServerClient } from '../../agent-server/client.js';
import type { AgentEvent } from '../../agent-server/schemas.js';
import type { SandboxBackend, SandboxHandle, SandboxLaunch } from '../../sandboxes/backend.js';
import { createHostWatcher, type SandboxChange } from '../../sandboxes/host-watcher.js';
import { processesOf } from '../../sandboxes/process-tree.js';
import { awaitReady, SandboxNotReady } from '../../sandboxes/readiness.js';
import { sandboxPaths } from '../../sandboxes/sandbox-paths.js';
import { ADDRESS, createSandboxBench } from '../support/real-sandbox.js';
import type { SandboxBench } from '../support/real-sandbox.js';
import { finish, runInTerminal, startScriptedLlm } from '../support/scripted-llm.js';
import type { ScriptedLlm } from '../support/scripted-llm.js';

const BOOT_MS = 90_000;
let bench: SandboxBench;
let llm: ScriptedLlm;

beforeAll(async () => {
  bench = await createSandboxBench();
  llm = await startScriptedLlm();
});
afterAll(async () => {
  await bench.close();
  await llm.close();
});

const pathsOf = ({ sandboxId }: SandboxLaunch) => sandboxPaths(join(bench.root, 'sandboxes'), sandboxId);

/** Pids of the agent-servers of a sandbox. */
async function serversOf(launch: SandboxLaunch): Promise<number[]> {
  const tree = await processesOf(launch.sandboxId);
  const lines = await Promise.all(tree.map(({ pid }) => readFile(`/proc/${pid}/cmdline`, 'utf8')));
  return tree.filter((_, n) => lines[n]!.includes(`--port\0${launch.port}`)).map(({ pid }) => pid);
}

/** Pids of those processes of a sandbox that have a file open. */
async function holdersOf(launch: SandboxLaunch, path: string): Promise<number[]> {
  const holders: number[] = [];
  for (const { pid } of await processesOf(launch.sandboxId)) {
    // Commands of a terminal come and go while we look.
    const names = await readdir(`/proc/${pid}/fd`).catch(() => []);
    const files = await Promise.all(names.map((name) => readlink(`/proc/${pid}/fd/${name}`).catch(() => '')));
    if (files.includes(path)) holders.push(pid);
  }
  return holders;
}

describe('a sandbox', () => {
  let launch: SandboxLaunch;
  let handle: SandboxHandle;
  let client: AgentServerClient;
  const conversationId = crypto.randomUUID();
  const inProject = (name: string) => join(handle.workingDirectory, name);

  it(
    'outlives the worker that launched it, is adopted by others at once, and gets ready (D16)',
    async () => {
      launch = await bench.newLaunch();
      const { root, command } = bench;
      const worker = spawn(
        process.execPath,
        ['--import', 'tsx', 'tests/support/launch-sandbox.ts', JSON.stringify({ root, command, launch })],
        { stdio: ['ignore', 'pipe', 'inherit'] },
      );
      const lines = createInterface({ input: worker.stdout })[Symbol.asyncIterator]();
      expect((await lines.next()).value).toBe('launching');
      const launchedByWorker = JSON.parse((await lines.next()).value as string) as SandboxHandle;
      const exit = once(worker, 'exit');
      worker.kill('SIGKILL');
      await exit;

      const handles = await Promise.all([
        bench.backend.launch(launch),
        bench.anotherBackend().launch(launch),
      ]);
      expect(handles).toEqual([launchedByWorker, launchedByWorker]);
      handle = launchedByWorker;
      await bench.ready(launch, handle);
      client = bench.clientOf(launch, handle);
      expect(await client.alive()).toBe(true);
      expect(await bench.backend.inspect(launch.sandboxId, handle)).toEqual({ state: 'running' });
      expect(await serversOf(launch)).toEqual([handle.pid]);
    },
    BOOT_MS,
  );

  it('keeps its keys from the agent, from command lines and from the log', async () => {
    const seen = await client.runCommand({
      command: 'env; tr "\\0" "\\n" </proc/$PPID/environ; tr "\\0" " " </proc/$PPID/cmdline',
      timeoutSeconds: 10,
    });
    expect(seen.stdout).toContain(`HOME=${pathsOf(launch).home}`);
    expect(seen.stdout).toContain('openhands.agent_server');
    const log = await readFile(pathsOf(launch).log, 'utf8');
    const command = await readFile(`/proc/${handle.pid!}/cmdline`, 'utf8');
    for (const text of [seen.stdout, log, command]) {
      expect(text).not.toContain(launch.sessionApiKey);
      expect(text).not.toContain(launch.secretKey);
    }
  });

  it('has terminals that know neither its keys nor its lock', async () => {
    const waiting = 'while [ ! -e go ]; do date >>ticks; sleep 0.1; done';
    llm.setScript({ steps: [runInTerminal(`env >env.txt; ${waiting}; echo woke up`), finish('done')] });
    await client.startConversation({
      conversation_id: conversationId,
      agent: {
        llm: { model: 'openai/scripted', api_key: 'sk-none', base_url: llm.url, num_retries: 0 },
        tools: [{ name: 'terminal' }],
      },
      workspace: { working_dir: handle.workingDirectory },
      initial_message: { role: 'user', content: [{ type: 'text', text: 'wait for me' }], run: true },
      autotitle: false,
    });
    await vi.waitFor(() => access(inProject('ticks')), 90_000);
    const environment = await readFile(inProject('env.txt'), 'utf8');
    expect(environment).toContain(`TMUX_TMPDIR=${pathsOf(launch).terminals}`);
    expect(environment).not.toMatch(new RegExp(`${launch.sessionApiKey}|${launch.secretKey}`));
    expect((await processesOf(launch.sandboxId)).length).toBeGreaterThan(2);
    expect(await holdersOf(launch, pathsOf(launch).lock)).toEqual([handle.pid]);
  });

  it('sleeps with all that runs in its terminals, which does not notice', async () => {
    const { backend } = bench;
    await backend.pause(launch.sandboxId, handle);
    expect(await backend.inspect(launch.sandboxId, handle)).toEqual({ state: 'paused' });
    const tree = await processesOf(launch.sandboxId);
    expect(tree.length).toBeGreaterThan(2); // server, tmux and its shell at least
    expect(new Set(tree.map(({ state }) => state))).toEqual(new Set(['T']));
    expect(await client.alive({ timeoutMs: 300 })).toBe(false);

    const ticks = async () => (await readFile(inProject('ticks'), 'utf8')).length;
    const before = await ticks();
    await backend.resume(launch.sandboxId, handle);
    expect(await backend.inspect(launch.sandboxId, handle)).toEqual({ state: 'running' });
    expect((await client.serverInfo()).version).toBe('1.34.0');
    await vi.waitFor(async () => expect(await ticks()).toBeGreaterThan(before), 90_000);

    await writeFile(inProject('go'), '');
    await vi.waitFor(async () => {
      expect((await client.conversation(conversationId))?.execution_status).toBe('finished');
    }, 90_000);
    const events: AgentEvent[] = [];
    for await (const event of client.eventsFrom(conversationId)) events.push(event);
    const observation = JSON.stringify(
      events.find((event) => event.kind === 'ObservationEvent' && event['tool_name'] === 'terminal'),
    );
    expect(observation).toContain('woke up');
    expect(observation).toContain('"exit_code":0');
    expect(observation).not.toContain('Stopped'); // what a shell says of a job that was suspended
  });

  it(
    'is missed when it is killed, and comes back with its conversations',
    async () => {
      const unfinished = new AbortController();
      const work = { key: 'some/work', timeoutSeconds: 600 };
      const lost = client.runCommand({
        ...work,
        command: 'sleep 601',
        signal: unfinished.signal,
        onAbort: 'leave',
        onHeartbeat: () => unfinished.abort(new Error('the worker died')),
      });
      await expect(lost).rejects.toThrow('the worker died');

      const reported: SandboxChange[] = [];
      const watcher = createHostWatcher({
        backend: bench.backend,
        onChange: (_, condition) => void reported.push(condition),
        onError: (error) => {
          throw error;
        },
      });
      watcher.watch(launch.sandboxId, handle, 'running');
      process.kill(handle.pid!, 'SIGKILL');
      await vi.waitFor(() => expect(reported).toHaveLength(1), 90_000);
      await watcher.stop();
      // Its parent was the worker that was killed, so nobody knows the exit code.
      expect(reported).toEqual([{ state: 'gone', exitCode: null }]);
      expect(await bench.backend.find(launch.sandboxId)).toBeNull();
      expect((await processesOf(launch.sandboxId)).length).toBeGreaterThan(0);

      const old = handle;
      handle = await bench.backend.launch(launch);
      expect(handle.pid).not.toBe(old.pid);
      await bench.ready(launch, handle);
      expect(await processesOf(launch.sandboxId)).toHaveLength(1); // the old terminals are gone
      expect(await client.conversation(conversationId)).toMatchObject({ id: conversationId });
      const again = await client.runCommand({ ...work, command: 'echo done' });
      expect(again).toMatchObject({ exitCode: 0, stdout: 'done\n' });
    },
    BOOT_MS,
  );

  it('leaves nothing behind when it is destroyed', async () => {
    await client.runCommand({
      command: "tmux -L openhands new-session -d 'sleep 602'; setsid -f sleep 603 >/dev/null 2>&1",
      timeoutSeconds: 10,
    });
    await vi.waitFor(
      async () => expect((await processesOf(launch.sandboxId)).length).toBeGreaterThan(3),
      30_000,
    );
    const tree = await processesOf(launch.sandboxId);
    await bench.backend.destroy(launch.sandboxId, handle);
    expect(await processesOf(launch.sandboxId)).toEqual([]);
    for (const { pid } of tree) await expect(access(`/proc/${pid}/cwd`)).rejects.toThrow();
    await expect(access(pathsOf(launch).directory)).rejects.toThrow('ENOENT');
    await expect(access(pathsOf(launch).terminals)).rejects.toThrow('ENOENT');
    expect(await client.alive()).toBe(false);
    expect(await bench.backend.list()).toEqual([]);
  });
});

describe('an agent-server that does not come up', () => {
  async function failureOf(backend: SandboxBackend, launch: SandboxLaunch): Promise<SandboxNotReady> {
    const { sandboxId } = launch;
    const handle = await backend.find(sandboxId);
    const failure: unknown = await awaitReady({
      backend,
      sandboxId,
      handle: handle!,
      startupTimeoutMs: 60_000,
    }).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(SandboxNotReady);
    return failure as SandboxNotReady;
  }

  it(
    'ends the wait with its exit code and what it said',
    async () => {
      const broken = bench.anotherBackend(`${bench.command} --no-such-flag`);
      const launch = await bench.newLaunch();
      await broken.launch(launch);
      const failure = await failureOf(broken, launch);
      expect(failure).toMatchObject({ type: 'SandboxExited', exitCode: 2 });
      expect(failure.message).toMatch(/exit code 2[\s\S]*unrecognized arguments: --no-such-flag/);
    },
    BOOT_MS,
  );

  it(
    'because another program was faster on its port is told from one that is broken',
    async () => {
      const launch = await bench.newLaunch();
      const handle = await bench.backend.launch(launch);
      const rival = createServer((_, response) => response.writeHead(404).end());
      await new Promise<void>((resolve) => rival.listen(launch.port, ADDRESS, resolve));
      try {
        const failure = await failureOf(bench.backend, launch);
        expect(failure.type).toBe('SandboxPortTaken');
        expect(failure.message).toContain(handle.url);
      } finally {
        rival.closeAllConnections();
        rival.close();
      }
    },
    BOOT_MS,
  );
});
