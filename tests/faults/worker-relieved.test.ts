import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import type { StartStatus, StartTask } from '../../contract/start-task.js';
import { agentServersOf } from '../support/agent-server-processes.js';
import { streamOf } from '../support/conversations.js';
import { startGitServer, type GitServer } from '../support/git-server.js';
import { startProduct, type Product } from '../support/product.js';

describe('a start whose worker is asked to end (SIGTERM)', () => {
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
  }, 180_000);
  afterAll(async () => {
    await product.stop();
    await git.close();
  }, 120_000);
  beforeEach(() => git.release());

  const projectOf = (sandboxId: string) =>
    join(product.directory, 'host', 'sandboxes', sandboxId, 'workspace', 'project', 'rocket');

  it.each<{ phase: StartStatus; order: 'relief first' | 'end first'; times: number }>([
    { phase: 'WAITING_FOR_SANDBOX', order: 'end first', times: 1 },
    { phase: 'PREPARING_REPOSITORY', order: 'relief first', times: 1 },
    { phase: 'RUNNING_SETUP_SCRIPT', order: 'relief first', times: 3 },
  ])(
    'in $phase goes on at another worker ($order) to READY, in the same sandbox, $times times',
    async ({ phase, order, times }) => {
      if (phase === 'PREPARING_REPOSITORY') git.hold();
      let ended: StartTask | undefined;
      for await (const task of streamOf(product, { selected_repository: 'acme/rocket' })) {
        ended = task;
        const project = projectOf(task.sandbox_id ?? '');
        const scriptRuns = () =>
          vi.waitFor(() => expect(existsSync(join(project, 'setup-runs.txt'))).toBe(true), 20_000);
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
});
