import { and, eq, isNull } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { startTaskWorkflowId } from '../../contract/ids.js';
import type { StartStatus, StartTask } from '../../contract/start-task.js';
import { openDatabase } from '../../db/database.js';
import { sandboxes, startTaskTransitions } from '../../db/schema/index.js';
import {
  endOfStart,
  eventsOf,
  postStart,
  runStatus,
  sandboxesOf,
  streamOf,
  userMessage,
} from '../support/conversations.js';
import { STATUSES_OF_A_START } from '../support/fake-phases.js';
import { agentServersOf } from '../support/agent-server-processes.js';
import { startGitServer, type GitServer } from '../support/git-server.js';
import { startProduct, type Product } from '../support/product.js';
import { finish, startScriptedLlm, type ScriptedLlm } from '../support/scripted-llm.js';
import { TcpProxy } from '../support/tcp-proxy.js';

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
        timeout: 90_000,
        interval: 100,
      });
    },
    180_000,
  );

  it('in the one step of a start without repository, when its conversation is there already, still ends READY with one of each', async () => {
    const boxesBefore = (await sandboxesOf(product)).length;
    const between = await betweenWorkerAndAgentServers(product);
    try {
      between.network.keepAnswerTo('POST /api/conversations HTTP');
      const { id: taskId } = await postStart(product, { initial_message: userMessage('Hello') });
      await vi.waitFor(() => expect(between.network.kept).toBeGreaterThan(0), {
        timeout: 300_000,
        interval: 50,
      });
      const { raw } = await product.temporal.client.workflow
        .getHandle(startTaskWorkflowId(taskId))
        .describe();
      expect(raw.pendingActivities?.map(({ activityType }) => activityType?.name)).toEqual([
        'startInOneStep',
      ]);
      await product.replaceWorker();

      const ended = await endOfStart(product, taskId, 150_000);
      expect(ended, ended.detail ?? '').toMatchObject({ status: 'READY', detail: null });
      expect(await between.statusesOf(taskId)).toEqual(STATUSES_OF_A_START);
      const { sandbox_id: box, app_conversation_id: id, agent_server_url: url } = ended;
      expect(await sandboxesOf(product)).toHaveLength(boxesBefore + 1);
      expect(agentServersOf(box!)).toHaveLength(1);
      const created = between.network.requests.filter((line) => line === 'POST /api/conversations');
      expect(created, 'conversations that were asked for').toHaveLength(1);
      const conversation = await runStatus(product, id!, 'finished');
      const listed = await fetch(`${url}/api/conversations/count`, {
        headers: { 'x-session-api-key': conversation.session_api_key! },
      });
      expect(await listed.json()).toBe(1);
      await vi.waitFor(
        async () => {
          const said = (await eventsOf(product, id!)).filter(({ kind }) => kind === 'MessageEvent');
          expect(said.filter(({ source }) => source === 'user')).toHaveLength(1);
        },
        { timeout: 90_000, interval: 100 },
      );
      await product.call('DELETE', `/api/v1/sandboxes/${box}`);
      await vi.waitFor(() => expect(agentServersOf(box!)).toHaveLength(0), {
        timeout: 90_000,
        interval: 100,
      });
    } finally {
      await between.close();
    }
  }, 1_200_000);
});

/** Has everything that the product says to an agent-server pass a network of the test's. */
async function betweenWorkerAndAgentServers(product: Product) {
  const connection = openDatabase({ url: product.databaseUrl, maxConnections: 2 });
  const { database } = connection;
  const network = await TcpProxy.open(async () => {
    const [row] = await database
      .select({ handle: sandboxes.handle })
      .from(sandboxes)
      .where(and(isNull(sandboxes.deletedAt), eq(sandboxes.agentServerUrl, address())));
    const { hostname, port } = new URL(String(row?.handle?.['url']));
    return { host: hostname, port: Number(port) };
  });
  const address = () => `http://127.0.0.1:${network.port}`;
  await database.execute(`
    create function through_network() returns trigger language plpgsql as $$
    begin
      if new.agent_server_url is not null then new.agent_server_url := '${address()}'; end if;
      return new;
    end $$;
    create trigger through_network before insert or update on sandboxes
      for each row execute function through_network()`);
  return {
    network,
    async statusesOf(taskId: string) {
      const rows = await database
        .select({ status: startTaskTransitions.status })
        .from(startTaskTransitions)
        .where(eq(startTaskTransitions.taskId, taskId))
        .orderBy(startTaskTransitions.sequence);
      return rows.map(({ status }) => status);
    },
    async close() {
      await database.execute('drop trigger through_network on sandboxes');
      await network.close();
      await connection.close();
    },
  };
}
