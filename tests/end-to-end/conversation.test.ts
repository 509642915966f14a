import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import type { AppConversation } from '../../contract/conversation.js';
import type { Page } from '../../contract/primitives.js';
import { userText } from '../../activities/callbacks/fallback-title.js';
import {
  endOfStart,
  eventsOf,
  postStart,
  readConversation,
  readTask,
  runStatus,
  sandboxesOf,
  streamStart,
  userMessage,
} from '../support/conversations.js';
import { STATUSES_OF_A_START } from '../support/fake-phases.js';
import { startGitServer, type GitServer } from '../support/git-server.js';
import { startProduct, type Product } from '../support/product.js';
import { finish, runInTerminal, startScriptedLlm, type ScriptedLlm } from '../support/scripted-llm.js';

/** Everything is real here but the model and github.com. */
describe('a conversation on the real agent-server', () => {
  let llm: ScriptedLlm;
  let git: GitServer;
  let product: Product;

  beforeAll(async () => {
    [llm, git] = await Promise.all([startScriptedLlm(), startGitServer({ token: 'git-token-1' })]);
    product = await startProduct({
      env: { LLM_MODEL: 'openai/scripted', LLM_API_KEY: 'sk-scripted', LLM_BASE_URL: llm.url },
    });
    const stored = await product.call('POST', '/api/v1/secrets/git-providers', {
      provider_tokens: { github: { token: 'git-token-1', host: git.origin } },
    });
    expect(stored.status).toBe(200);
  });
  afterAll(async () => {
    await product.stop();
    await Promise.all([llm.close(), git.close()]);
  });
  beforeEach(() => {
    llm.setScript({
      steps: [runInTerminal('echo hi > hello.txt && cat hello.txt'), finish('Wrote hello.txt')],
    });
  });

  const workspaceOf = (conversation: AppConversation, ...path: string[]) =>
    join(product.directory, 'host', 'sandboxes', conversation.sandbox_id, 'workspace', 'project', ...path);

  /** Waits until the log of a conversation holds these messages of the user, in this order, and no others. */
  const says = (id: string, texts: string[]) =>
    vi.waitFor(
      async () => {
        const said = (await eventsOf(product, id)).flatMap((event) => userText(event) ?? []);
        expect(said).toEqual(texts);
      },
      { timeout: 90_000, interval: 200 },
    );

  it('streams its phases, runs, and brings events, title and statistics home (D9)', async () => {
    const tasks = await streamStart(product, { initial_message: userMessage('Create hello.txt, please') });
    expect(tasks.map((task) => task.status)).toEqual(STATUSES_OF_A_START);
    const ready = tasks.at(-1)!;
    expect(ready.detail).toBeNull();
    const id = ready.app_conversation_id!;
    expect(ready).toEqual(await readTask(product, ready.id));

    const conversation = await runStatus(product, id, 'finished');
    expect(conversation.sandbox_status).toBe('RUNNING');
    expect(conversation.conversation_url).toBe(`${ready.agent_server_url}/api/conversations/${id}`);
    expect(readFileSync(workspaceOf(conversation, 'hello.txt'), 'utf8')).toBe('hi\n');

    // The session key works at the runtime it is for. What ends a run is told before its last events are.
    const events = await vi.waitFor(async () => {
      const own = await fetch(`${conversation.conversation_url}/events/count`, {
        headers: { 'x-session-api-key': conversation.session_api_key! },
      });
      expect(own.status).toBe(200);
      const ours = await product.call<number>('GET', `/api/v1/events/count?conversation_id__eq=${id}`);
      const stored = await eventsOf(product, id);
      expect([ours.body, stored.length]).toEqual([await own.json(), ours.body]);
      return stored;
    }, 90_000);
    const kinds = events.map((event) => event.kind);
    expect(kinds).toContain('MessageEvent');
    expect(kinds).toContain('ObservationEvent');

    await vi.waitFor(async () => {
      const { title, metrics } = await readConversation(product, id);
      expect(title).toBe('Scripted title');
      expect(metrics?.accumulated_token_usage.prompt_tokens).toBeGreaterThan(0);
    }, 90_000);
  });

  it('works on a repository: clone, branch, setup script and hook', { timeout: 420_000 }, async () => {
    await git.addRepository('acme/rocket', {
      files: {
        'README.md': '# Rocket\n',
        '.openhands/setup.sh': 'echo "set up in $PWD" > setup-ran.txt\n',
        '.openhands/pre-commit.sh': '#!/bin/bash\nexit 0\n',
        '.openhands/hooks.json': JSON.stringify({ stop: [{ matcher: '*', hooks: [{ command: 'true' }] }] }),
        'AGENTS.md': '# Be careful\n',
      },
      branches: { feature: { 'feature.txt': 'feature\n' } },
    });
    const tasks = await streamStart(product, {
      initial_message: userMessage('Look around'),
      selected_repository: 'acme/rocket',
      selected_branch: 'feature',
    });
    expect(tasks.at(-1), JSON.stringify(tasks.at(-1)?.detail)).toMatchObject({ status: 'READY' });
    const id = tasks.at(-1)!.app_conversation_id!;
    const conversation = await runStatus(product, id, 'finished');
    expect(conversation).toMatchObject({ selected_repository: 'acme/rocket', selected_branch: 'feature' });
    expect(readFileSync(workspaceOf(conversation, 'rocket', 'feature.txt'), 'utf8')).toBe('feature\n');
    expect(readFileSync(workspaceOf(conversation, 'rocket', 'setup-ran.txt'), 'utf8')).toContain('rocket');
    expect(existsSync(workspaceOf(conversation, 'rocket', '.git', 'hooks', 'pre-commit'))).toBe(true);
    expect(readFileSync(workspaceOf(conversation, 'rocket', '.git', 'config'), 'utf8')).not.toContain(
      'git-token-1',
    );
    // The repository's own instructions reached the model.
    expect(JSON.stringify(llm.calls.at(-1)?.body.messages)).toContain('Be careful');

    // What clients look at, under the path that they take every sandbox to have.
    const look = async (what: string) => {
      const { status, body } = await product.call('GET', `/api/v1/app-conversations/${id}/${what}`);
      return { status, body };
    };
    const found = (body: unknown) => ({ status: 200, body });
    expect(await look('file?file_path=/workspace/project/rocket/README.md')).toEqual(found('# Rocket\n'));
    expect(await look('file?file_path=/etc/hostname')).toEqual(found(''));
    expect(await look('git/changes?path=/workspace/project/rocket')).toEqual(
      found(expect.arrayContaining([expect.objectContaining({ status: 'ADDED', path: 'hello.txt' })])),
    );
    expect(await look('git/diff?path=hello.txt')).toMatchObject(found({ modified: 'hi' }));
    const { body: given } = await product.call<{ skills: { name: string; content: string }[] }>(
      'GET',
      `/api/v1/app-conversations/${id}/skills`,
    );
    expect(given.skills).toContainEqual(
      expect.objectContaining({ type: 'repo', content: expect.stringContaining('Be careful') as string }),
    );
    expect(await look('hooks')).toMatchObject(
      found({
        hooks: [{ event_type: 'stop', matchers: [{ hooks: [{ command: 'true', async: false }] }] }],
      }),
    );

    // Another model from the next step on.
    await product.call('POST', '/api/v1/settings', { language: 'en' });
    const saved = await product.call('POST', '/api/v1/settings/profiles/other', {
      llm: { model: 'openai/other', base_url: llm.url, api_key: 'sk-other' },
    });
    expect(saved.status).toBe(201);
    const path = `/api/v1/app-conversations/${id}`;
    const switched = await product.call('POST', `${path}/switch_profile`, { profile_name: 'other' });
    expect(switched).toMatchObject({ status: 200, body: { success: true } });
    await product.call('POST', `${path}/send-message`, { content: [{ type: 'text', text: 'Go on' }] });
    await vi.waitFor(
      () => expect(JSON.stringify(llm.calls.at(-1)?.body)).toContain('"model":"other"'),
      30_000,
    );
    await product.call('DELETE', '/api/v1/settings/profiles/other');
  });

  it('that cannot be cloned ends in ERROR with the reason, and leaves no sandbox behind (D20)', async () => {
    const before = (await sandboxesOf(product)).length;
    const tasks = await streamStart(product, {
      initial_message: userMessage('Look around'),
      selected_repository: 'acme/does-not-exist',
    });
    const last = tasks.at(-1)!;
    expect(last.status).toBe('ERROR');
    expect(tasks.at(-2)?.status).toBe('PREPARING_REPOSITORY');
    expect(last.detail).toContain('acme/does-not-exist');
    expect(last.detail).not.toContain('git-token-1');
    await vi.waitFor(async () => expect(await sandboxesOf(product)).toHaveLength(before), 90_000);
    const directories = () => readdirSync(join(product.directory, 'host', 'sandboxes'));
    await vi.waitFor(() => expect(directories()).not.toContain(last.sandbox_id), 90_000);
  });

  it('whose model is down is READY, and its run ends in error with an event that says why', async () => {
    const { body: settings } = await product.call('POST', '/api/v1/settings', {
      agent_settings_diff: {
        llm: { model: 'openai/scripted', base_url: 'http://127.0.0.1:9/v1', num_retries: 0 },
      },
    });
    expect(settings).toEqual({ message: 'Settings stored' });
    try {
      const tasks = await streamStart(product, { initial_message: userMessage('Hello?') });
      expect(tasks.at(-1)?.status).toBe('READY');
      const id = tasks.at(-1)!.app_conversation_id!;
      await runStatus(product, id, 'error');
      // The status and the reason are two events, which may come in two batches.
      await vi.waitFor(async () => {
        const events = await eventsOf(product, id);
        expect(events.map((event) => event.kind)).toContain('ConversationErrorEvent');
      }, 90_000);
      // No model, so the title is made from the first message.
      await vi.waitFor(
        async () => expect((await readConversation(product, id)).title).toBe('Hello?'),
        40_000,
      );
    } finally {
      await product.call('POST', '/api/v1/settings', {
        agent_settings_diff: { llm: { model: null, base_url: null, num_retries: null } },
      });
    }
  });

  it('lives in a sandbox that can be paused, resumed and reused, and goes with its conversation', async () => {
    const [first] = (await streamStart(product, { initial_message: userMessage('One') })).slice(-1);
    const id = first!.app_conversation_id!;
    await runStatus(product, id, 'finished');
    const box = first!.sandbox_id!;
    const statusOf = async () =>
      (
        await product.call<({ status: string; session_api_key: string | null } | null)[]>(
          'GET',
          `/api/v1/sandboxes?id=${box}`,
        )
      ).body[0];
    expect((await product.call('POST', `/api/v1/sandboxes/${box}/pause`, {})).status).toBe(200);
    await vi.waitFor(
      async () => expect(await statusOf()).toMatchObject({ status: 'PAUSED', session_api_key: null }),
      30_000,
    );
    // Messages for a paused sandbox resume it, and come in order.
    const say = (id: string, text: string) =>
      product.call<{ sandbox_status: string; message: string | null }>(
        'POST',
        `/api/v1/app-conversations/${id}/send-message`,
        { content: [{ type: 'text', text }] },
      );
    const woken = await say(id, 'Still there?');
    expect(woken).toMatchObject({ status: 200, body: { success: true, sandbox_status: 'PAUSED' } });
    await vi.waitFor(async () => expect((await statusOf())?.status).toBe('RUNNING'), 90_000);

    // A start in it, and a message for that start while it is under way.
    const second = await postStart(product, { initial_message: userMessage('Two'), sandbox_id: box });
    const queued = await product.call<{ position: number }>(
      'POST',
      `/api/v1/conversations/task-${second.id}/pending-messages`,
      { content: [{ type: 'text', text: 'Two and a half' }] },
    );
    expect(queued).toMatchObject({ status: 201, body: { position: 1 } });
    const ready = await endOfStart(product, second.id);
    expect(ready, JSON.stringify(ready.detail)).toMatchObject({ status: 'READY', sandbox_id: box });

    const sent = await say(id, 'And again');
    expect(sent.body).toEqual({ success: true, sandbox_status: 'RUNNING', message: null });
    await says(id, ['One', 'Still there?', 'And again']);
    await says(ready.app_conversation_id!, ['Two', 'Two and a half']);

    for (const conversation of [id, ready.app_conversation_id!]) {
      expect((await product.call('DELETE', `/api/v1/app-conversations/${conversation}`)).status).toBe(200);
    }
    await vi.waitFor(async () => expect((await statusOf()) ?? null).toBeNull(), {
      timeout: 90_000,
      interval: 100,
    });
    expect(await eventsOf(product, id)).toEqual([]);
    const { body: page } = await product.call<Page<AppConversation>>(
      'GET',
      '/api/v1/app-conversations/search',
    );
    expect(page.items.map((item) => item.id)).not.toContain(id);
  });
});
