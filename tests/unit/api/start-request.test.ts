import { describe, expect, it } from 'vitest';
import { prepareStart } from '../../../api/start-request.js';
import { needsStartSecrets, readStartSecrets, secretsOfStart } from '../../../contract/start-secrets.js';
import { StartRequest } from '../../../contract/start-task.js';
import type { ListedConversation } from '../../../db/conversation-read-model.js';
import type { UserContext } from '../../../identity/user-context.js';

const PARENT = '0123456789abcdef0123456789abcdef';
const ann: UserContext = {
  userId: 'ann',
  authType: 'bearer',
  tokens: { get: () => Promise.resolve(null), getAll: () => Promise.resolve(new Map()) },
};

/** One parent, which only `ann` may see. */
const conversations = {
  read: (users: readonly string[] | null, id: string) =>
    Promise.resolve(
      id === PARENT && users?.includes('ann')
        ? ({
            conversation: {
              createdByUserId: 'ann',
              sandboxId: 'box',
              selectedRepository: 'owner/repo',
              selectedBranch: 'main',
              gitProvider: 'gitlab',
              llmModel: 'model-of-parent',
              title: 'Parent',
              trigger: 'gui',
              prNumber: [7],
              tags: { a: 'b' },
            },
          } as unknown as ListedConversation)
        : null,
    ),
};

const prepare = (body: object, user = ann) => prepareStart(StartRequest.parse(body), user, conversations);
const TASK = { git_provider: 'github', repo: 'owner/repo', issue_number: 12, title: 'Mend the login' };
const textOf = async (body: object): Promise<string> => {
  const { request } = await prepare(body);
  return request.initial_message?.content.map((block) => ('text' in block ? block.text : '')).join('|') ?? '';
};

describe('a start request', () => {
  it('that is empty asks for nothing in particular, every member present', async () => {
    const { request, secrets } = await prepare({});
    expect(request).toEqual(StartRequest.parse({}));
    expect(secrets).toBeNull();
  });

  it('keeps of a processor what may be shown', async () => {
    const processor = {
      kind: 'LoggingCallbackProcessor',
      level: 'info',
      api_key: 'hunter2',
      nested: { token: 'hunter2' },
    };
    const { request } = await prepare({ processors: [processor] });
    expect(request.processors).toEqual([
      { ...processor, api_key: '**********', nested: { token: '**********' } },
    ]);
  });

  it('inherits from its parent what it does not say itself, and nothing else', async () => {
    const { request } = await prepare({ parent_conversation_id: PARENT, llm_model: 'own' });
    expect(request).toMatchObject({
      sandbox_id: 'box',
      selected_repository: 'owner/repo',
      selected_branch: 'main',
      git_provider: 'gitlab',
      llm_model: 'own',
      title: null,
      trigger: null,
      pr_number: [],
      agent_type: 'default',
      parent_conversation_id: PARENT,
    });
  });

  it('with a parent that is missing or somebody else’s is refused with 404 (D26)', async () => {
    const id = 'f'.repeat(32);
    await expect(prepare({ parent_conversation_id: id })).rejects.toMatchObject({
      status: 404,
      detail: `Parent conversation not found: ${id}`,
    });
    await expect(
      prepare({ parent_conversation_id: PARENT }, { ...ann, userId: 'bob' }),
    ).rejects.toMatchObject({
      status: 404,
    });
  });

  it.each(['MERGE_CONFLICTS', 'FAILING_CHECKS', 'UNRESOLVED_COMMENTS', 'OPEN_ISSUE'])(
    'of the suggested task %s becomes a message that runs, in the words of the provider',
    async (task_type) => {
      for (const [git_provider, word] of [
        ['github', 'pull request'],
        ['gitlab', 'merge request'],
        ['bitbucket', 'pull request'],
        ['bitbucket_data_center', 'pull request'],
      ]) {
        const { request } = await prepare({ suggested_task: { ...TASK, git_provider, task_type } });
        const [block] = request.initial_message?.content ?? [];
        expect(block).toMatchObject({ type: 'text', text: expect.stringContaining(word!) as string });
        expect(block).toMatchObject({ text: expect.stringContaining('#12') as string });
        expect(request).toMatchObject({
          trigger: 'suggested_task',
          selected_repository: 'owner/repo',
          git_provider,
          initial_message: { role: 'user', run: true },
        });
      }
    },
  );

  it('keeps its own repository and provider beside a suggested task', async () => {
    const { request } = await prepare({
      suggested_task: { ...TASK, task_type: 'OPEN_ISSUE' },
      selected_repository: 'fork/repo',
      git_provider: 'gitlab',
    });
    expect(request).toMatchObject({ selected_repository: 'fork/repo', git_provider: 'gitlab' });
  });

  it('with a suggested task that goes with nothing is refused with 400 (D26)', async () => {
    const suggested_task = { ...TASK, task_type: 'OPEN_ISSUE' };
    for (const body of [
      { suggested_task, initial_message: { content: [] } },
      { suggested_task: { ...TASK, task_type: 'OPEN_PR' } },
      { suggested_task: { ...suggested_task, git_provider: 'forgejo' } },
    ]) {
      await expect(prepare(body)).rejects.toMatchObject({ status: 400 });
    }
  });

  it('is stored with its secrets masked and its conversation id dashed', async () => {
    const { request, secrets } = await prepare({
      secrets: { TOKEN: 'very secret' },
      conversation_id: '0123456789ABCDEF0123456789ABCDEF',
    });
    expect(request.secrets).toEqual({ TOKEN: '**********' });
    expect(JSON.stringify(request)).not.toContain('very secret');
    expect(secrets).toBe('{"TOKEN":"very secret"}');
    expect(request.conversation_id).toBe('01234567-89ab-cdef-0123-456789abcdef');
  });

  it('is stored without what its plugins are given, and without the credentials of their addresses', async () => {
    const plugins = [
      {
        source: 'https://bot:hunter2-of-the-bot@git.example/owner/one.git?access=hidden-in-the-query',
        parameters: { api_token: 'token of the plugin', depth: 3 },
      },
      { source: 'github:owner/two', ref: 'main' },
      { source: 'https://token-as-name@git.example/three' },
    ];
    const sent = {
      secrets: { A: 'b' },
      plugins,
      initial_message: { content: [{ type: 'text', text: 'go' }] },
    };
    const { request, secrets } = await prepare(sent);
    expect(request.plugins).toEqual([
      {
        source: 'https://**********@git.example/owner/one.git?access=**********',
        ref: null,
        repo_path: null,
        parameters: { api_token: '**********', depth: '**********' },
      },
      { source: 'github:owner/two', ref: 'main', repo_path: null, parameters: null },
      { source: 'https://**********@git.example/three', ref: null, repo_path: null, parameters: null },
    ]);
    expect(await textOf(sent)).toBe('go');
    expect(readStartSecrets(secrets!)).toEqual({
      secrets: { A: 'b' },
      plugins: StartRequest.parse(sent).plugins,
    });
    expect(secretsOfStart(readStartSecrets(secrets!)).sort()).toEqual([
      'b',
      'hunter2-of-the-bot',
      'token of the plugin',
      'token-as-name',
    ]);
    expect(needsStartSecrets(request)).toBe(true);
  });

  it('with plugins that hide nothing keeps nothing apart', async () => {
    const { request, secrets } = await prepare({ plugins: [{ source: 'git@git.example:owner/one.git' }] });
    expect(secrets).toBeNull();
    expect(request.plugins?.[0]?.source).toBe('git@git.example:owner/one.git');
    expect(needsStartSecrets(request)).toBe(false);
  });

  it('with characters that no database stores is refused with 400, or mended where nothing is lost', async () => {
    const message = (text: string) => ({ initial_message: { content: [{ type: 'text', text }] } });
    await expect(prepare(message('a\0b'))).rejects.toMatchObject({ status: 400 });
    expect(await textOf(message('half \ud83d pair'))).toBe('half \ufffd pair');
  });
});
