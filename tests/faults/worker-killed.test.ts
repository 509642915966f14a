import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import type { StartStatus, StartTask } from '../../contract/start-task.js';
import { runStatus, sandboxesOf, streamOf, userMessage } from '../support/conversations.js';
import { agentServersOf } from '../support/agent-server-processes.js';
import { startGitServer, type GitServer } from '../support/git-server.js';
import { startProduct, type Product } from '../support/product.js';
import { finish, startScriptedLlm, type ScriptedLlm } from '../support/scripted-llm.js';

describe('a start whose worker is killed with -9', () => {
  let llm: ScriptedLlm;
  let git: GitServer;
  let product: Product;

  beforeAll(async () => {
    [llm, git] = await Promise.all([startScriptedLlm({ steps: [finish('Done')] }), startGitServer()]);
    product = await startProduct({
      env: { LLM_MODEL: 'openai/scripted', LLM_API_KEY: 'sk-scripted', LLM_BASE_URL: llm.url },
    });
    await product.call('POST', '/api/v1/secrets/git-providers', {
      provider_tokens: { github: { token: 'any', host: git.origin } },
    });
    await git.addRepository('acme/rocket', {
      files: {
        'README.md': '# Rocket\n',
        '.openhands/setup.sh': 'sleep 2; echo done >> setup-runs.txt\n',
        '.openhands/pre-commit.sh': '#!/bin/bash\nexit 0\n',
      },
    });
  });
  afterAll(async () => {
    await product.stop();
    await Promise.all([llm.close(), git.close()]);
  });
  beforeEach(() => git.release());

  it.each<StartStatus>([
    'WORKING',
    'WAITING_FOR_SANDBOX',
    'PREPARING_REPOSITORY',
    'RUNNING_SETUP_SCRIPT',
    'SETTING_UP_GIT_HOOKS',
    'SETTING_UP_SKILLS',
    'STARTING_CONVERSATION',
  ])(
    'in %s still ends READY, with one sandbox and one conversation (D17)',
    async (phase) => {
      const boxesBefore = (await sandboxesOf(product)).length;
      if (phase === 'PREPARING_REPOSITORY') git.hold();
      let ended: StartTask | undefined;
      const request = { initial_message: userMessage('Hello'), selected_repository: 'acme/rocket' };
      for await (const task of streamOf(product, request)) {
        if (task.status === phase) {
          await product.replaceWorker();
          git.release();
        }
        ended = task;
      }
      expect(ended, ended?.detail ?? '').toMatchObject({ status: 'READY', detail: null });
      const { sandbox_id: box, app_conversation_id: id, agent_server_url: url } = ended!;

      expect(await sandboxesOf(product)).toHaveLength(boxesBefore + 1);
      expect(agentServersOf(box!)).toHaveLength(1);
      const conversation = await runStatus(product, id!, 'finished');
      const listed = await fetch(`${url}/api/conversations/count`, {
        headers: { 'x-session-api-key': conversation.session_api_key! },
      });
      expect(await listed.json()).toBe(1);
      await product.call('DELETE', `/api/v1/sandboxes/${box}`);
      await vi.waitFor(() => expect(agentServersOf(box!)).toHaveLength(0), {
        timeout: 30_000,
        interval: 100,
      });
    },
    180_000,
  );
});
