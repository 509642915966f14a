import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import type { StartStatus, StartTask } from '../../contract/start-task.js';
import { agentServersOf } from '../support/agent-server-processes.js';
import { endOfStart, streamOf } from '../support/conversations.js';
import { startGitServer, type GitServer } from '../support/git-server.js';
import { startProduct, type Product } from '../support/product.js';

describe('a start whose processes are asked to end (SIGTERM)', () => {
  let git: GitServer;
  let product: Product;

  beforeAll(async () => {
    git = await startGitServer();
    product = await startProduct({
      env: {
        LLM_MODEL: 'openai/none',
        LLM_API_KEY: 'sk-none',
        LLM_BASE_URL: 'http://127.0.0.1:9/v1',
        CALLBOARD_SHUTDOWN_GRACE_SECONDS: '0',
      },
    });
    await product.call('POST', '/api/v1/secrets/git-providers', {
      provider_tokens: { github: { token: 'any', host: git.origin } },
    });
    await git.addRepository('acme/rocket', {
      files: {
        'README.md': '# Rocket\n',
        '.openhands/setup.sh':
          'echo begun >> setup-runs.txt; until [ -e go ]; do sleep 0.1; done; echo done >> setup-runs.txt\n',
      },
    });
  });
  afterAll(async () => {
    await product.stop();
    await git.close();
  });
  beforeEach(() => git.release());

  const projectOf = (sandboxId: string) =>
    join(product.directory, 'host', 'sandboxes', sandboxId, 'workspace', 'project', 'rocket');

  it.each<{ phase: StartStatus; order: 'relief first' | 'end first'; times: number }>([
    { phase: 'WAITING_FOR_SANDBOX', order: 'end first', times: 1 },
    { phase: 'PREPARING_REPOSITORY', order: 'relief first', times: 1 },
    { phase: 'RUNNING_SETUP_SCRIPT', order: 'relief first', times: 3 },
  ])(
    'worker in $phase, goes on at another one ($order) to READY, in the same sandbox, $times times',
    async ({ phase, order, times }) => {
      if (phase === 'PREPARING_REPOSITORY') git.hold();
      let ended: StartTask | undefined;
      for await (const task of streamOf(product, { selected_repository: 'acme/rocket' })) {
        ended = task;
        const project = projectOf(task.sandbox_id ?? '');
        const scriptRuns = () =>
          vi.waitFor(() => expect(existsSync(join(project, 'setup-runs.txt'))).toBe(true), 90_000);
        if (task.status === 'RUNNING_SETUP_SCRIPT') await scriptRuns();
        if (task.status === phase) {
          for (let time = 0; time < times; time++) {
            const before = product.worker;
            await product.relieveWorker(order);
            expect(before.child.exitCode, before.output).toBe(0);
          }
          git.release();
        }
        if (task.status === 'RUNNING_SETUP_SCRIPT') writeFileSync(join(project, 'go'), '');
      }
      expect(ended, ended?.detail ?? '').toMatchObject({ status: 'READY', detail: null });
      expect(agentServersOf(ended!.sandbox_id!)).toHaveLength(1);
      expect(readFileSync(join(projectOf(ended!.sandbox_id!), 'setup-runs.txt'), 'utf8')).toBe(
        'begun\ndone\n',
      );
      await product.call('DELETE', `/api/v1/sandboxes/${ended!.sandbox_id}`);
    },
    180_000,
  );

  it('API in the middle of its stream, leaves a list that is valid JSON, and goes on without it', async () => {
    git.hold();
    const response = await fetch(`${product.url}/api/v1/app-conversations/stream-start`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ selected_repository: 'acme/rocket' }),
    });
    let text = '';
    let asked: Promise<void> | undefined;
    for await (const piece of response.body!.pipeThrough(new TextDecoderStream())) {
      text += piece;
      if (text.includes('PREPARING_REPOSITORY')) asked ??= product.api.end('SIGTERM');
    }
    await asked;
    expect(product.api.child.exitCode, product.api.output).toBe(0);
    const tasks = JSON.parse(text) as StartTask[];
    expect(tasks.at(-1)?.status).toBe('PREPARING_REPOSITORY');
    await product.replaceApi();
    git.release();
    const { id, sandbox_id: box } = tasks.at(-1)!;
    const project = projectOf(box!);
    await vi.waitFor(() => expect(existsSync(join(project, 'setup-runs.txt'))).toBe(true), 90_000);
    writeFileSync(join(project, 'go'), '');
    expect(await endOfStart(product, id)).toMatchObject({ status: 'READY', detail: null });
  });
});
