import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import type { SandboxInfo } from '../../contract/sandbox.js';
import type { StartTask } from '../../contract/start-task.js';
import { markedProcesses } from '../chaos/agent-processes.js';
import { endOfStart, postStart, readTask, sandboxesOf } from '../support/conversations.js';
import { startGitServer, type GitServer } from '../support/git-server.js';
import { buildLightAgentServer } from '../support/light-agent-server.js';
import { startProduct, type Product } from '../support/product.js';

const PATIENCE = { timeout: 180_000, interval: 100 };

/** The product as it is, with limits of seconds and an agent-server that needs no model. */
describe('a start that runs into the time limit of', () => {
  let directory: string;
  let git: GitServer;
  let product: Product;
  /** While this file is there, agent-servers never come up. */
  let stuck: string;

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'callboard-limits-'));
    stuck = join(directory, 'stuck');
    const light = buildLightAgentServer(directory);
    const command = join(directory, 'agent-server');
    writeFileSync(command, `#!/bin/sh\n[ -e '${stuck}' ] && exec sleep 600\nexec '${light}' "$@"\n`, {
      mode: 0o755,
    });
    git = await startGitServer();
    product = await startProduct({
      env: {
        AGENT_SERVER_COMMAND: command,
        CLONE_TIMEOUT_SECONDS: '10',
        SETUP_SCRIPT_TIMEOUT_SECONDS: '3',
        SANDBOX_STARTUP_TIMEOUT_SECONDS: '8',
        SANDBOX_STARTUP_GRACE_SECONDS: '0',
      },
    });
    await product.call('POST', '/api/v1/secrets/git-providers', {
      provider_tokens: { github: { token: 'any', host: git.origin } },
    });
    await git.addRepository('acme/rocket', { files: { 'README.md': '# Rocket\n' } });
    await git.addRepository('acme/slow', { files: { '.openhands/setup.sh': 'sleep 601\n' } });
  });
  afterAll(async () => {
    git.release();
    await product.stop();
    await git.close();
    await rm(directory, { recursive: true, force: true });
  });
  beforeEach(async () => {
    git.release();
    await rm(stuck, { force: true });
  });

  const hosts = () => [join(product.directory, 'host')];
  const directoryOf = (box: string) => join(product.directory, 'host', 'sandboxes', box);
  const nothingLeftOf = (box: string) =>
    vi.waitFor(async () => {
      expect((await sandboxesOf(product)).map(({ id }) => id)).not.toContain(box);
      expect(existsSync(directoryOf(box))).toBe(false);
      expect(markedProcesses(hosts()).filter(({ sandboxId }) => sandboxId === box)).toEqual([]);
    }, PATIENCE);
  const statusOf = async (box: string) =>
    (await product.call<(SandboxInfo | null)[]>('GET', `/api/v1/sandboxes?id=${box}`)).body[0]?.status;
  const failed = async (request: object): Promise<StartTask> => {
    const task = await endOfStart(product, (await postStart(product, request)).id);
    expect(task.status).toBe('ERROR');
    return task;
  };

  it('its sandbox says so, and leaves nothing of it', async () => {
    writeFileSync(stuck, '');
    const { id } = await postStart(product, {});
    const box = await vi.waitFor(async () => {
      const { sandbox_id: chosen } = await readTask(product, id);
      expect(markedProcesses(hosts()).map(({ sandboxId }) => sandboxId)).toContain(chosen);
      return chosen!;
    }, PATIENCE);
    const task = await endOfStart(product, id);
    expect(task).toMatchObject({
      status: 'ERROR',
      detail: expect.stringContaining('SANDBOX_STARTUP_TIMEOUT_SECONDS') as string,
    });
    await nothingLeftOf(box);
  });

  it('its clone says so, and leaves nothing of the sandbox that was made for it (D39)', async () => {
    git.hold();
    const task = await failed({ selected_repository: 'acme/rocket' });
    expect(task.detail).toMatch(/did not end within 10 s: raise CLONE_TIMEOUT_SECONDS/);
    await nothingLeftOf(task.sandbox_id!);
  });

  it('its clone leaves a sandbox that was given as it was, with the conversation in it', async () => {
    const first = await endOfStart(product, (await postStart(product, {})).id);
    expect(first.status, first.detail ?? '').toBe('READY');
    const box = first.sandbox_id!;
    git.hold();
    const task = await failed({ selected_repository: 'acme/rocket', sandbox_id: box });
    expect(task).toMatchObject({ sandbox_id: box });
    expect(await statusOf(box)).toBe('RUNNING');
    const project = join(directoryOf(box), 'workspace', 'project');
    await vi.waitFor(() => {
      expect(readdirSync(project).filter((name) => /rocket|callboard-clone/.test(name))).toEqual([]);
    }, PATIENCE);
    const { status } = await product.call(
      'POST',
      `/api/v1/app-conversations/${first.app_conversation_id}/send-message`,
      { role: 'user', content: [{ type: 'text', text: 'Still there?' }] },
    );
    expect(status).toBe(200);
  });

  it('its setup script is READY all the same, and the script with all it started is ended', async () => {
    const { id } = await postStart(product, { selected_repository: 'acme/slow' });
    const task = await endOfStart(product, id);
    expect(task, task.detail ?? '').toMatchObject({ status: 'READY' });
    expect(await statusOf(task.sandbox_id!)).toBe('RUNNING');
    const left = markedProcesses(hosts()).filter(({ sandboxId }) => sandboxId === task.sandbox_id);
    expect(left).toHaveLength(1); // the agent-server
  });
});
