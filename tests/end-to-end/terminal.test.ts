import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { agentServersOf } from '../support/agent-server-processes.js';
import { required } from '../support/environment.js';
import { freePort } from '../support/loopback.js';
import { finish, runInTerminal, startScriptedLlm, type ScriptedLlm } from '../support/scripted-llm.js';

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const run = promisify(execFile);

/** One person, one machine, one terminal beside the one in which `callboard up` runs. */
describe('somebody at a terminal', () => {
  let llm: ScriptedLlm;
  let directory: string;
  let env: Record<string, string>;
  let up: ChildProcess;
  let output = '';

  const startUp = async (): Promise<void> => {
    output = '';
    up = spawn(process.execPath, [MAIN, 'up'], { env, stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [up.stdout, up.stderr])
      stream?.on('data', (data: Buffer) => (output += data.toString()));
    await vi.waitFor(() => expect(output).toContain('Callboard is up'), { timeout: 180_000, interval: 50 });
  };
  const stopUp = async (): Promise<void> => {
    const exit = once(up, 'exit');
    up.kill('SIGINT');
    await exit;
  };
  const callboard = async (...args: string[]): Promise<string> =>
    (await run(process.execPath, [MAIN, ...args], { env, timeout: 90_000 })).stdout;
  const temporal = async (...args: string[]): Promise<string> => {
    const published = JSON.parse(readFileSync(join(directory, 'up.json'), 'utf8')) as {
      temporalAddress: string;
    };
    const cli = required('TEST_TEMPORAL_CLI');
    return (await run(cli, [...args, '--address', published.temporalAddress], { env })).stdout;
  };
  const statusOf = async (id: string): Promise<string | undefined> => {
    const line = (await callboard('sandboxes', 'list'))
      .split('\n')
      .find((candidate) => candidate.startsWith(id));
    return line?.split(/\s+/)[1];
  };

  beforeAll(async () => {
    llm = await startScriptedLlm({ steps: [runInTerminal('echo from the sandbox'), finish('All done')] });
    directory = mkdtempSync(join(tmpdir(), 'callboard-terminal-'));
    env = {
      PATH: process.env['PATH'] ?? '',
      HOME: process.env['HOME'] ?? '',
      OH_PERSISTENCE_DIR: directory,
      PORT: String(await freePort()),
      AGENT_SERVER_COMMAND: required('AGENT_SERVER_COMMAND'),
      LLM_MODEL: 'openai/scripted',
      LLM_API_KEY: 'sk-scripted',
      LLM_BASE_URL: llm.url,
      CALLBOARD_WARM_SANDBOXES: '0',
    };
    await startUp();
  });
  afterAll(async () => {
    await stopUp();
    await llm.close();
    rmSync(directory, { recursive: true, force: true });
  });

  let sandbox = '';

  it('starts a conversation, sees its phases with times, and then what the agent does', async () => {
    const said = await callboard('start', '--message', 'Please say where you are');
    for (const status of ['WORKING', 'WAITING_FOR_SANDBOX', 'STARTING_CONVERSATION', 'READY']) {
      expect(said).toMatch(new RegExp(`\\d+\\.\\d\\d s {2}${status}\\n`));
    }
    expect(said).toContain('terminal: echo from the sandbox');
    expect(said).toContain('agent: All done');
    expect(said.trimEnd().endsWith('finished')).toBe(true);
    sandbox = /sandbox +(\S+)/.exec(said)?.[1] ?? '';
    expect(await statusOf(sandbox)).toBe('RUNNING');
  });

  it('is told why a start failed, and that in the exit status', async () => {
    const failure = await callboard('start', '--message', 'Hi', '--sandbox', 'no-such-sandbox').catch(
      (err: unknown) => err,
    );
    expect(failure).toMatchObject({ code: 1 });
    expect((failure as { stderr: string }).stderr).toContain('500: Sandbox not found: no-such-sandbox');
  });

  it('pauses and resumes sandboxes, by callboard and by temporal', async () => {
    await callboard('sandboxes', 'pause', sandbox);
    await vi.waitFor(async () => expect(await statusOf(sandbox)).toBe('PAUSED'), 90_000);
    await callboard('sandboxes', 'resume', sandbox);
    await vi.waitFor(async () => expect(await statusOf(sandbox)).toBe('RUNNING'), 90_000);
    await temporal('workflow', 'signal', '--workflow-id', `sandbox/${sandbox}`, '--name', 'pause');
    await vi.waitFor(async () => expect(await statusOf(sandbox)).toBe('PAUSED'), 90_000);
    await temporal('workflow', 'signal', '--workflow-id', `sandbox/${sandbox}`, '--name', 'resume');
    await vi.waitFor(async () => expect(await statusOf(sandbox)).toBe('RUNNING'), 90_000);
  });

  it('says which sandbox there is none of, and finds that each that there is has its actor', async () => {
    await expect(callboard('sandboxes', 'delete', 'nope')).rejects.toThrow(
      'callboard: There is no sandbox nope: ./callboard sandboxes list names those there are.',
    );
    // What Temporal lists is a moment old.
    await vi.waitFor(
      async () => expect(await callboard('doctor')).toContain('sandboxes: 1 have their actors'),
      { timeout: 180_000, interval: 500 },
    );
  });

  it('leaves no agent-server behind with Ctrl-C, and goes on with the same sandbox after the next up', async () => {
    expect(agentServersOf(sandbox)).toHaveLength(1);
    await stopUp();
    expect(agentServersOf(sandbox)).toHaveLength(0);
    await startUp();
    expect(await statusOf(sandbox)).toBe('PAUSED');
    await callboard('sandboxes', 'resume', sandbox);
    await vi.waitFor(async () => expect(await statusOf(sandbox)).toBe('RUNNING'), {
      timeout: 180_000,
      interval: 500,
    });
    expect(agentServersOf(sandbox)).toHaveLength(1);
  }, 420_000);

  it('finds its sandbox running after up was killed with -9 (D16)', async () => {
    const exit = once(up, 'exit');
    up.kill('SIGKILL');
    await exit;
    const [survivor] = agentServersOf(sandbox);
    expect(survivor).toBeDefined();
    await startUp();
    expect(await statusOf(sandbox)).toBe('RUNNING');
    expect(agentServersOf(sandbox)).toEqual([survivor]);
    await callboard('sandboxes', 'delete', sandbox);
    await vi.waitFor(() => expect(agentServersOf(sandbox)).toHaveLength(0), {
      timeout: 90_000,
      interval: 100,
    });
    expect(await callboard('sandboxes', 'list')).toContain('There are no sandboxes.');
  });
});
