/** Agent-servers that are copies of one process: each is a sandbox's own, and as durable as one that has booted. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { open, readFile, readdir } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { AgentServerClient } from '../../agent-server/client.js';
import { LAUNCH_LINE, type SandboxHandle, type SandboxLaunch } from '../../sandboxes/backend.js';
import { readStat } from '../../sandboxes/process-identity.js';
import { processesOf } from '../../sandboxes/process-tree.js';
import { FORKED_SANDBOX_BYTES } from '../../sandboxes/sandbox-memory.js';
import { sandboxPaths } from '../../sandboxes/sandbox-paths.js';
import { createSandboxBench, type SandboxBench } from '../support/real-sandbox.js';
import { finish, startScriptedLlm, type ScriptedLlm } from '../support/scripted-llm.js';

const WITHIN = { timeout: 90_000, interval: 50 };
const LONG = 420_000;

interface Running {
  launch: SandboxLaunch;
  handle: SandboxHandle;
  client: AgentServerClient;
}

let bench: SandboxBench;
let llm: ScriptedLlm;
let receiver: Server;
let one: Running;
let other: Running;
const delivered: string[] = [];

beforeAll(async () => {
  bench = await createSandboxBench(true);
  llm = await startScriptedLlm({ steps: [finish('Done')] });
  receiver = createServer((request, response) => {
    void text(request).then((body) => {
      delivered.push(body);
      response.end('{}');
    });
  });
  await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve));
  one = await run(await aLaunch());
  other = await run(await aLaunch());
}, LONG);

afterAll(async () => {
  await bench.close();
  await llm.close();
  receiver.closeAllConnections();
  receiver.close();
});

const pathsOf = ({ sandboxId }: SandboxLaunch) => sandboxPaths(join(bench.root, 'sandboxes'), sandboxId);

/** One that waits until copies can be made. */
const aLaunch = async (): Promise<SandboxLaunch> => ({
  ...(await bench.newLaunch()),
  webhookBaseUrl: `http://127.0.0.1:${(receiver.address() as AddressInfo).port}`,
  isAhead: true,
});

async function run(launch: SandboxLaunch): Promise<Running> {
  const handle = await bench.backend.launch(launch);
  await bench.ready(launch, handle);
  return { launch, handle, client: bench.clientOf(launch, handle) };
}

const parentOf = async ({ handle }: Pick<Running, 'handle'>): Promise<number> =>
  (await readStat(handle.pid!))!.parent;

const variablesOf = async (pid: number): Promise<string[]> =>
  (await readFile(`/proc/${pid}/environ`, 'utf8')).split('\0').filter((line) => line !== '');

const said = async ({ client }: Running, command: string): Promise<string> =>
  (await client.runCommand({ command, timeoutSeconds: 20 })).stdout ?? '';

async function converse({ client, handle }: Running): Promise<string> {
  const id = crypto.randomUUID();
  await client.startConversation({
    conversation_id: id,
    workspace: { working_dir: join(handle.workingDirectory, id) },
    agent: {
      kind: 'Agent',
      llm: { model: 'openai/scripted', api_key: 'sk-scripted', base_url: llm.url, num_retries: 0 },
      tools: [{ name: 'terminal', params: {} }],
    },
    initial_message: { role: 'user', content: [{ type: 'text', text: 'Hello' }], run: true },
  });
  await vi.waitFor(async () => {
    expect((await client.conversation(id))?.execution_status).toBe('finished');
    expect(delivered.join()).toContain(id);
  }, WITHIN);
  return id;
}

/** Whether a text is anywhere in what a process can write to. */
async function remembers(pid: number, wanted: string): Promise<boolean> {
  const memory = await open(`/proc/${pid}/mem`);
  try {
    for (const line of (await readFile(`/proc/${pid}/maps`, 'utf8')).split('\n')) {
      const [range = '', rights = ''] = line.split(' ');
      if (!rights.startsWith('rw')) continue;
      const [from, to] = range.split('-').map((address) => Number.parseInt(address, 16)) as [number, number];
      const { buffer, bytesRead } = await memory
        .read(Buffer.alloc(to - from), 0, to - from, from)
        .catch(() => ({ buffer: Buffer.alloc(0), bytesRead: 0 }));
      if (buffer.subarray(0, bytesRead).includes(wanted)) return true;
    }
    return false;
  } finally {
    await memory.close();
  }
}

describe('an agent-server that is a copy', () => {
  it('has one parent with the next, which knows nothing of either', async () => {
    const parent = await parentOf(one);
    expect(parent).not.toBe(process.pid);
    expect(await parentOf(other)).toBe(parent);
    expect(bench.backend.expectedMemory()).toBe(FORKED_SANDBOX_BYTES);
    expect((await variablesOf(parent)).join('\n')).not.toContain('CALLBOARD_SANDBOX_ID');
    // That the search can find it, where it is.
    expect(await remembers(one.handle.pid!, one.launch.sessionApiKey)).toBe(true);
    for (const secret of [one.launch.sessionApiKey, one.launch.secretKey, other.launch.sessionApiKey]) {
      expect(await remembers(parent, secret)).toBe(false);
    }
    for (const secret of [one.launch.sessionApiKey, one.launch.secretKey]) {
      expect(await remembers(other.handle.pid!, secret)).toBe(false);
    }
  });

  it('opens to its own key only', async () => {
    const status = async (key: string | null): Promise<number> => {
      const headers = key === null ? undefined : { 'X-Session-API-Key': key };
      const answer = await fetch(`${one.handle.url}/api/conversations/search`, headers && { headers });
      await answer.arrayBuffer();
      return answer.status;
    };
    expect(await status(one.launch.sessionApiKey)).toBe(200);
    expect(await status(other.launch.sessionApiKey)).toBe(401);
    expect(await status(null)).toBe(401);
  });

  it('is shown by the system as what it is, and runs commands in its own environment', async () => {
    for (const running of [one, other]) {
      const { launch, handle } = running;
      const paths = pathsOf(launch);
      const command = (await readFile(`/proc/${handle.pid}/cmdline`, 'utf8')).replace(/\0+$/, '').split('\0');
      expect(command.slice(-4)).toEqual(['--host', '127.0.0.1', '--port', String(launch.port)]);
      const shown = await variablesOf(handle.pid!);
      const seen = (await said(running, 'env -0')).split('\0');
      for (const variables of [shown, seen]) {
        expect(variables).toContain(`CALLBOARD_SANDBOX_ID=${launch.sandboxId}`);
        expect(variables).toContain(`HOME=${paths.home}`);
        expect(variables).toContain(`OH_PERSISTENCE_DIR=${paths.persistence}`);
        expect(variables).toContain(`TMUX_TMPDIR=${paths.terminals}`);
        expect(variables.join('\n')).not.toMatch(/CALLBOARD_(FORK|WARM)/);
        expect(variables.join('\n')).not.toContain('.fork-server');
      }
      expect(await said(running, 'pwd; echo ~')).toBe(`${paths.directory}\n${paths.home}\n`);
      expect((await processesOf(launch.sandboxId)).map(({ pid }) => pid)).toContain(handle.pid);
      const log = await readFile(paths.log, 'utf8');
      expect(log).toContain(`${LAUNCH_LINE} at`);
      expect(log).toContain(`pid ${handle.pid}`);
      const { uptime } = (await (await fetch(`${handle.url}/server_info`)).json()) as { uptime: number };
      const age = (Date.now() - (await bornAt(handle.pid!))) / 1000;
      expect(uptime).toBeLessThan(age + 1);
    }
  });

  it(
    'works, and keeps what is its own in its own directory',
    async () => {
      const [mine, theirs] = await Promise.all([converse(one), converse(other)]);
      expect(await idsOf(one)).toEqual([mine]);
      expect(await idsOf(other)).toEqual([theirs]);
      for (const [running, id] of [
        [one, mine],
        [other, theirs],
      ] as const) {
        const { conversations, home } = pathsOf(running.launch);
        expect(await readdir(conversations)).toContain(id.replaceAll('-', ''));
        // What its libraries keep for a user is below its own home.
        expect(await said(running, 'ls -A ~')).toBe((await readdir(home)).sort().join('\n') + '\n');
      }
      const left = await readdir(join(bench.root, 'sandboxes/.fork-server'), { recursive: true });
      expect(left.sort()).toEqual(['import', 'log']);
    },
    LONG,
  );

  it('sleeps and wakes as any other', async () => {
    const { launch, handle, client } = one;
    await bench.backend.pause(launch.sandboxId, handle);
    expect(await bench.backend.inspect(launch.sandboxId, handle)).toEqual({ state: 'paused' });
    await bench.backend.resume(launch.sandboxId, handle);
    expect(await client.alive()).toBe(true);
  });

  it(
    'is there once, however often it is launched, and again with its data after its end, which is told',
    async () => {
      const launch = await aLaunch();
      const handles = await Promise.all([1, 2, 3].map(() => bench.backend.launch(launch)));
      expect(new Set(handles.map(({ pid }) => pid)).size).toBe(1);
      // Nothing secret is left lying, once those that came second have read it, too.
      await vi.waitFor(async () => {
        const files = await readdir(pathsOf(launch).directory);
        expect(files.filter((name) => name.startsWith('.'))).toEqual([]);
      }, WITHIN);
      const first = await run(launch);
      await said(
        first,
        "setsid -f sleep 604 >/dev/null 2>&1; setsid -f tmux -L openhands new -d 'sleep 605'",
      );
      const id = await converse(first);
      const left = (await processesOf(launch.sandboxId)).filter(({ pid }) => pid !== first.handle.pid);
      process.kill(first.handle.pid!, 'SIGKILL');
      await vi.waitFor(
        async () =>
          expect(await bench.backend.inspect(launch.sandboxId, first.handle)).toEqual({
            state: 'gone',
            exitCode: 137,
          }),
        WITHIN,
      );
      const second = await run(launch);
      expect(second.handle.pid).not.toBe(first.handle.pid);
      expect(await idsOf(second)).toEqual([id]);
      const living = (await processesOf(launch.sandboxId)).map(({ pid }) => pid);
      for (const { pid } of left) expect(living).not.toContain(pid);
      await bench.backend.destroy(launch.sandboxId, second.handle);
      expect(await processesOf(launch.sandboxId)).toEqual([]);
    },
    LONG,
  );

  it(
    'outlives the worker that had it made, and is found by the next one',
    async () => {
      const launch = await aLaunch();
      const { root, command } = bench;
      const settings = JSON.stringify({ root, command, launch, forkAgentServers: true });
      const worker = spawn(
        process.execPath,
        ['--import', 'tsx', 'tests/support/launch-sandbox.ts', settings],
        {
          stdio: ['ignore', 'pipe', 'inherit'],
        },
      );
      const lines = createInterface({ input: worker.stdout })[Symbol.asyncIterator]();
      expect((await lines.next()).value).toBe('launching');
      const handle = JSON.parse((await lines.next()).value as string) as SandboxHandle;
      const parent = await parentOf({ handle });
      expect(parent).not.toBe(worker.pid);
      worker.kill('SIGKILL');
      await once(worker, 'exit');
      await vi.waitFor(async () => expect(await readStat(parent)).toBeNull(), WITHIN);
      await bench.ready(launch, handle);
      expect(await bench.backend.launch(launch)).toEqual(handle);
      await bench.backend.halt(launch.sandboxId, handle);
      expect((await bench.backend.inspect(launch.sandboxId, handle)).state).toBe('gone');
    },
    LONG,
  );

  it(
    'goes on without the process it is a copy of, and so does the next sandbox',
    async () => {
      const parent = await parentOf(one);
      process.kill(parent, 'SIGKILL');
      await vi.waitFor(async () => expect((await readStat(parent))?.state ?? 'Z').toBe('Z'), WITHIN);
      expect(await one.client.alive()).toBe(true);
      expect(await other.client.alive()).toBe(true);
      const third = await run(await aLaunch());
      expect(await parentOf(third)).not.toBe(parent);
      await converse(third);
    },
    LONG,
  );
});

async function idsOf({ client }: Running): Promise<string[]> {
  const ids: string[] = [];
  for await (const { id } of client.allConversations()) ids.push(id);
  return ids;
}

/** Milliseconds since 1970. */
async function bornAt(pid: number): Promise<number> {
  const { startTime } = (await readStat(pid))!;
  const [uptime = ''] = (await readFile('/proc/uptime', 'utf8')).split(' ');
  return Date.now() - (Number(uptime) - Number(startTime) / 100) * 1000;
}
