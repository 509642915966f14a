import { execFile } from 'node:child_process';
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { CancelledFailure } from '@temporalio/common';
import { MockActivityEnvironment } from '@temporalio/testing';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import type { StartPreparationActivities } from '../../activities/start/start-preparation-activities.js';
import { AgentServerError } from '../../agent-server/errors.js';
import { startGitServer, type GitServer } from '../support/git-server.js';
import {
  callTool,
  contentText,
  finish,
  runInTerminal,
  startScriptedLlm,
  type ScriptedLlm,
} from '../support/scripted-llm.js';
import {
  openStartFixture,
  SESSION_KEY,
  type StagedStart,
  type StartFixture,
} from '../support/start-fixture.js';

const run = promisify(execFile);
const TOKEN = 'ghp_a-token-that-nobody-may-see';

let fixture: StartFixture;
let llm: ScriptedLlm;
let open: GitServer;
let guarded: GitServer;

beforeAll(async () => {
  [llm, open, guarded] = await Promise.all([
    startScriptedLlm(),
    startGitServer(),
    startGitServer({ token: TOKEN }),
  ]);
  const repository = {
    files: {
      'README.md': '# Example\n',
      'AGENTS.md': 'Always be kind to the reader.\n',
      '.openhands/setup.sh': 'export WHO=setup\necho "run by $BASH in $PWD" >> setup.log\nsource ./more.sh\n',
      'more.sh': 'echo "more for $WHO" >> setup.log\n',
      '.openhands/pre-commit.sh': 'echo checked >> .git/checked\n[ ! -e forbidden ]\n',
    },
    branches: { 'feature/x': { 'feature.txt': 'feature\n' } },
    commits: 3,
  };
  await open.addRepository('owner/example', repository);
  await guarded.addRepository('owner/private', repository);
  await open.addRepository('owner/failing', {
    files: { '.openhands/setup.sh': 'echo "cannot find the compiler" >&2\nsleep 300 &\nexit 3\n' },
  });
  fixture = await openStartFixture();
}, 180_000);

afterAll(async () => {
  await fixture?.close();
  await Promise.all([llm.close(), open.close(), guarded.close()]);
});

beforeEach(() => {
  llm.setScript({ steps: [runInTerminal('echo hi > hello.txt'), finish('Wrote hello.txt')] });
  fixture.settings = {
    agent_settings: {
      llm: { model: 'openai/scripted', api_key: 'sk-scripted-key', base_url: llm.url, num_retries: 0 },
    },
  };
  fixture.providerTokens.clear();
  fixture.customSecrets.clear();
  fixture.warnings.length = 0;
  fixture.heartbeats.length = 0;
  useHost(open);
});

/** The git host of the user, with a token where it asks for one. */
function useHost(server: GitServer, token = ''): void {
  fixture.providerTokens.set('github', { token, host: server.origin, userId: null });
}

const message = (text: string) => ({ role: 'user', content: [{ type: 'text', text }], run: true });
const git = async (directory: string, ...args: string[]) =>
  (await run('git', ['-c', 'safe.directory=*', '-C', directory, ...args])).stdout.trim();
const exists = (path: string) =>
  stat(path).then(
    () => true,
    () => false,
  );

/** Everything in the sandbox that holds a text. */
async function filesWith(text: string): Promise<string[]> {
  try {
    const { stdout } = await run('grep', ['-rlF', '--', text, fixture.sandboxDirectory]);
    return stdout.trim().split('\n');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 1) return []; // none
    throw error;
  }
}

/** All phases in their order. */
async function prepare(start: StagedStart, activities: StartPreparationActivities) {
  const { taskId } = start;
  const repository = await activities.prepareRepository(taskId);
  const setup = repository.hasSetupScript ? await activities.runSetupScript(taskId) : null;
  if (repository.hasPreCommitHook) await activities.installGitHooks(taskId);
  await activities.prepareSkills(taskId);
  return { repository, setup };
}

const finished = (conversationId: string, status = 'finished') =>
  vi.waitFor(
    async () => {
      expect((await fixture.client.conversation(conversationId))?.execution_status).toBe(status);
    },
    { timeout: 40_000, interval: 100 },
  );

/** What the model was told before this user message. */
function systemPromptFor(text: string): string {
  const call = llm.calls.findLast(
    ({ body }) =>
      body.tools?.length && body.messages.some(({ content }) => contentText(content).includes(text)),
  );
  return contentText(call?.body.messages.find(({ role }) => role === 'system')?.content);
}

async function userMessages(conversationId: string): Promise<number> {
  let count = 0;
  for await (const event of fixture.client.eventsFrom(conversationId)) {
    if (event.kind === 'MessageEvent' && event.source === 'user') count += 1;
  }
  return count;
}

describe('a start without a repository', () => {
  it('leaves a new sandbox as it is before the conversation, which then runs in a git repository', async () => {
    const start = await fixture.stage({ request: { initial_message: message('Create hello.txt') } });
    const activities = fixture.activities();
    expect(await activities.prepareRepository(start.taskId)).toEqual({
      hasSetupScript: false,
      hasPreCommitHook: false,
    });
    expect(await exists(start.workingDirectory)).toBe(false);
    await activities.prepareSkills(start.taskId);
    expect(await activities.createConversation(start.taskId)).toEqual({
      agentServerUrl: fixture.handle.url,
      conversationId: start.conversationId,
    });
    await finished(start.conversationId);
    expect(await readFile(join(start.workingDirectory, 'hello.txt'), 'utf8')).toBe('hi\n');
    expect(await git(start.workingDirectory, 'rev-parse', '--is-inside-work-tree')).toBe('true');
    expect(fixture.warnings).toEqual([]);
    expect(fixture.heartbeats.map(({ phase }) => phase)).toContain('starting the conversation');

    const row = await fixture.conversations.read(start.conversationId);
    expect(row).toMatchObject({
      sandboxId: start.sandboxId,
      title: `Conversation ${start.conversationId.slice(0, 5)}`,
      llmModel: 'openai/scripted',
      workingDirectory: start.workingDirectory,
    });
    const callbacks = await fixture.callbacks.ofConversation(start.conversationId);
    expect(callbacks.map(({ processorKind }) => processorKind)).toEqual(['SetTitleCallbackProcessor']);
  });

  it('honours what is there already in a sandbox that was given', async () => {
    const start = await fixture.stage();
    await mkdir(join(start.workingDirectory, '.openhands'), { recursive: true });
    await writeFile(join(start.workingDirectory, '.openhands/setup.sh'), 'echo done > ran.txt\n');
    const given = await fixture.stage({
      request: { sandbox_id: 'given' },
      workingDirectory: start.workingDirectory,
    });
    const { repository, setup } = await prepare(given, fixture.activities());
    expect(repository).toEqual({ hasSetupScript: true, hasPreCommitHook: false });
    expect(setup).toEqual({ exitCode: 0 });
    expect(await readFile(join(start.workingDirectory, 'ran.txt'), 'utf8')).toBe('done\n');
    expect(await exists(join(start.workingDirectory, '.git'))).toBe(true);
  });

  it('has a directory of its own in a sandbox that conversations share', async () => {
    fixture.settings['sandbox_grouping_strategy'] = 'ADD_TO_ANY';
    const start = await fixture.stage();
    const activities = fixture.activities();
    await activities.prepareRepository(start.taskId);
    fixture.settings['sandbox_grouping_strategy'] = 'NO_GROUPING'; // too late for this start
    await activities.prepareSkills(start.taskId);
    await activities.createConversation(start.taskId);
    const { workspace } = (await fixture.client.conversation(start.conversationId)) ?? {};
    expect(workspace?.working_dir).toBe(join(start.workingDirectory, start.conversationId));
  });

  it('sets who commits, and takes a name for nothing but a name', async () => {
    const name = `O'Hara "$(touch ${fixture.sandboxDirectory}/injected)" ; touch ${fixture.sandboxDirectory}/injected #`;
    fixture.settings['git_user_name'] = name;
    fixture.settings['git_user_email'] = 'o`hara`@example.com';
    const start = await fixture.stage();
    await fixture.activities().prepareRepository(start.taskId);
    const { stdout } = await fixture.client.runCommand({
      command: 'git config --global user.name; git config --global user.email',
      timeoutSeconds: 10,
    });
    expect(stdout).toBe(`${name}\no\`hara\`@example.com\n`);
    expect(await exists(join(fixture.sandboxDirectory, 'injected'))).toBe(false);
  });
});

describe('a start with a repository', () => {
  it('clones it, runs its setup script, installs its hook and tells the agent its rules', async () => {
    const text = 'Commit something';
    llm.setScript({
      steps: [
        runInTerminal(
          'git -c user.name=a -c user.email=a@b.c commit --allow-empty -m first && touch forbidden',
        ),
        runInTerminal('git -c user.name=a -c user.email=a@b.c commit --allow-empty -m second'),
        finish('Committed'),
      ],
    });
    const start = await fixture.stage({
      request: { selected_repository: 'owner/example', initial_message: message(text) },
    });
    const activities = fixture.activities();
    const { repository, setup } = await prepare(start, activities);
    expect(repository).toEqual({ hasSetupScript: true, hasPreCommitHook: true });
    expect(setup).toEqual({ exitCode: 0 });
    const project = join(start.workingDirectory, 'example');
    expect(await readFile(join(project, 'setup.log'), 'utf8')).toMatch(
      new RegExp(`^run by \\S*bash in ${project}\nmore for setup\n$`),
    );
    expect(await git(project, 'rev-parse', '--abbrev-ref', 'HEAD')).toMatch(/^openhands-workspace-\w+$/);
    expect(await git(project, 'rev-list', '--count', 'HEAD')).toBe('1');

    await activities.createConversation(start.taskId);
    await finished(start.conversationId);
    expect(systemPromptFor(text)).toContain('Always be kind to the reader.');
    expect(systemPromptFor(text)).toContain('--unshallow');
    // The hook ran for both commits and refused the second one.
    expect(await readFile(join(project, '.git/checked'), 'utf8')).toBe('checked\nchecked\n');
    expect(await git(project, 'log', '-1', '--format=%s')).toBe('first');
    expect(await fixture.conversations.read(start.conversationId)).toMatchObject({
      selectedRepository: 'owner/example',
      gitProvider: 'github',
      tags: { repo_name: 'owner/example', git_provider: 'github' },
    });
  });

  it('checks out the branch, with the whole history where the user wants it', async () => {
    fixture.settings['git_full_clone'] = true;
    const start = await fixture.stage({
      request: { selected_repository: 'owner/example', selected_branch: 'feature/x' },
    });
    await fixture.activities().prepareRepository(start.taskId);
    const project = join(start.workingDirectory, 'example');
    expect(await git(project, 'rev-parse', '--abbrev-ref', 'HEAD')).toBe('feature/x');
    expect(await exists(join(project, 'feature.txt'))).toBe(true);
    expect(Number(await git(project, 'rev-list', '--count', 'HEAD'))).toBe(4);
  });

  it('uses the token and leaves it nowhere', async () => {
    useHost(guarded, TOKEN);
    const start = await fixture.stage({ request: { selected_repository: 'owner/private' } });
    await prepare(start, fixture.activities());
    const project = join(start.workingDirectory, 'private');
    expect(await git(project, 'remote', 'get-url', 'origin')).toBe(`${guarded.origin}/owner/private.git`);
    expect(guarded.requests.some(({ path }) => path.includes(TOKEN))).toBe(false);
    // Files of the clone, of the sandbox's home, and the agent-server's record of commands and its log.
    expect(await filesWith(`${guarded.origin}/owner/private.git`)).not.toEqual([]);
    expect(await filesWith(TOKEN)).toEqual([]);
    expect(JSON.stringify(fixture.heartbeats)).not.toContain(TOKEN);
  });

  it('hands the token to no host that it is sent on to', async () => {
    const elsewhere = await startGitServer({ token: 'another-token' });
    const misleading = await startGitServer({ redirectTo: elsewhere.origin });
    try {
      useHost(misleading, TOKEN);
      const start = await fixture.stage({ request: { selected_repository: 'owner/private' } });
      await expect(fixture.activities().prepareRepository(start.taskId)).rejects.toMatchObject({
        type: 'GitAuthenticationFailed',
      });
      expect(elsewhere.requests).not.toEqual([]);
      expect(elsewhere.requests.every(({ authorization }) => authorization === undefined)).toBe(true);
    } finally {
      await Promise.all([elsewhere.close(), misleading.close()]);
    }
  });

  it('tells the agent when the setup script failed, and starts all the same', async () => {
    const text = 'What about the compiler?';
    llm.setScript({ steps: [finish('No compiler')] });
    const start = await fixture.stage({
      request: { selected_repository: 'owner/failing', initial_message: message(text) },
    });
    const activities = fixture.activities();
    const { setup } = await prepare(start, activities);
    expect(setup).toEqual({ exitCode: 3 });
    expect(fixture.warnings).toMatchObject([
      {
        fields: { exitCode: 3, tail: 'cannot find the compiler' },
        message: 'the setup script of the project failed',
      },
    ]);
    await activities.createConversation(start.taskId);
    await finished(start.conversationId);
    expect(systemPromptFor(text)).toContain('cannot find the compiler');
    expect(await fixture.conversations.read(start.conversationId)).toMatchObject({
      tags: { setupexitcode: '3' },
    });
  });

  it('outlives a hiccup of the host', async () => {
    open.failWith(503, 1);
    const start = await fixture.stage({ request: { selected_repository: 'owner/example' } });
    expect(await fixture.activities().prepareRepository(start.taskId)).toMatchObject({
      hasSetupScript: true,
    });
  });
});

describe('a repository that cannot be had', () => {
  const failing = async (request: Record<string, unknown>) => {
    const start = await fixture.stage({ request });
    const failure = await fixture
      .activities()
      .prepareRepository(start.taskId)
      .then(
        () => new Error('it did not fail'),
        (error: unknown) => error as Error,
      );
    const left = await readdir(start.workingDirectory).catch(() => []);
    expect(left).toEqual([]); // neither a half clone nor anything else of the attempt
    return failure;
  };

  it('because the branch does not exist fails the start and names it', async () => {
    const failure = await failing({ selected_repository: 'owner/example', selected_branch: 'nope' });
    expect(failure).toMatchObject({ type: 'BranchNotFound', nonRetryable: true });
    expect(failure.message).toContain('The branch "nope" does not exist in owner/example');
  });

  it('because git would refuse the branch name fails before git is asked', async () => {
    const before = open.requests.length;
    const failure = await failing({
      selected_repository: 'owner/example',
      selected_branch: '--upload-pack=touch x',
    });
    expect(failure).toMatchObject({ type: 'InvalidBranchName', nonRetryable: true });
    expect(open.requests.length).toBe(before);
  });

  it('because it is not there, or not for us, says what to do', async () => {
    expect(await failing({ selected_repository: 'owner/nothing' })).toMatchObject({
      type: 'GitTokenMissing',
      message: expect.stringMatching(
        /^Missing either Git token or valid repository: owner\/nothing/,
      ) as string,
    });
    useHost(guarded);
    expect(await failing({ selected_repository: 'owner/private' })).toMatchObject({
      type: 'GitTokenMissing',
      message: expect.stringMatching(
        /^Missing either Git token or valid repository: .*Add a github token/,
      ) as string,
    });
    useHost(guarded, 'a-token-that-is-wrong');
    const refused = await failing({ selected_repository: 'owner/private' });
    expect(refused).toMatchObject({ type: 'GitAuthenticationFailed' });
    expect(refused.message).toMatch(/^Git provider authentication issue when getting remote URL/);
    expect(refused.message).not.toContain('a-token-that-is-wrong');
  });

  it('because its name is none says so before anything is run', async () => {
    expect(await failing({ selected_repository: 'owner/$(touch x)' })).toMatchObject({
      type: 'InvalidRepository',
    });
  });
});

describe('a repository that is there already', () => {
  it("is left as it is in the parent's sandbox, even without a token", async () => {
    useHost(guarded, TOKEN);
    const parent = await fixture.stage({ request: { selected_repository: 'owner/private' } });
    await fixture.activities().prepareRepository(parent.taskId);
    const project = join(parent.workingDirectory, 'private');
    await writeFile(join(project, 'README.md'), 'unsaved work\n');
    const branch = await git(project, 'rev-parse', '--abbrev-ref', 'HEAD');
    useHost(guarded);
    const child = await fixture.stage({
      request: {
        sandbox_id: 'parents',
        parent_conversation_id: parent.conversationId,
        selected_repository: 'owner/private',
        selected_branch: 'feature/x',
      },
      workingDirectory: parent.workingDirectory,
    });
    expect(await fixture.activities().prepareRepository(child.taskId)).toMatchObject({
      hasSetupScript: true,
    });
    expect(await readFile(join(project, 'README.md'), 'utf8')).toBe('unsaved work\n');
    expect(await git(project, 'rev-parse', '--abbrev-ref', 'HEAD')).toBe(branch);
  });

  it('is switched to the branch that is asked for, unless that would cost work', async () => {
    const first = await fixture.stage({ request: { selected_repository: 'owner/example' } });
    await fixture.activities().prepareRepository(first.taskId);
    const project = join(first.workingDirectory, 'example');
    const again = (selected_branch: string) =>
      fixture.stage({
        request: { sandbox_id: 'given', selected_repository: 'owner/example', selected_branch },
        workingDirectory: first.workingDirectory,
      });
    await fixture.activities().prepareRepository((await again('feature/x')).taskId);
    expect(await git(project, 'rev-parse', '--abbrev-ref', 'HEAD')).toBe('feature/x');
    await writeFile(join(project, 'feature.txt'), 'unsaved work\n');
    await expect(fixture.activities().prepareRepository((await again('main')).taskId)).rejects.toMatchObject({
      type: 'CheckoutFailed',
      message: expect.stringContaining('feature.txt') as string,
    });
    expect(await readFile(join(project, 'feature.txt'), 'utf8')).toBe('unsaved work\n');
  });

  it('of another origin is not touched', async () => {
    const start = await fixture.stage({ request: { selected_repository: 'owner/example' } });
    const project = join(start.workingDirectory, 'example');
    await mkdir(project, { recursive: true });
    await writeFile(join(project, 'mine.txt'), 'mine');
    await expect(fixture.activities().prepareRepository(start.taskId)).rejects.toMatchObject({
      type: 'ProjectDirectoryOccupied',
    });
    expect(await readdir(project)).toEqual(['mine.txt']);
  });
});

describe('a hook that is there already', () => {
  it('is kept and runs after the one of the project, however often ours is installed', async () => {
    const start = await fixture.stage({ request: { selected_repository: 'owner/example' } });
    const activities = fixture.activities();
    await activities.prepareRepository(start.taskId);
    const project = join(start.workingDirectory, 'example');
    const hook = join(project, '.git/hooks/pre-commit');
    await writeFile(hook, '#!/bin/sh\necho before >> .git/checked\n', { mode: 0o755 });
    await activities.installGitHooks(start.taskId);
    const installed = await readFile(hook, 'utf8');
    await activities.installGitHooks(start.taskId);
    expect(await readFile(hook, 'utf8')).toBe(installed);
    expect(await readFile(`${hook}.local`, 'utf8')).toContain('echo before');
    await git(project, '-c', 'user.name=a', '-c', 'user.email=a@b.c', 'commit', '--allow-empty', '-m', 'x');
    expect(await readFile(join(project, '.git/checked'), 'utf8')).toBe('checked\nbefore\n');
    expect(await git(project, 'status', '--porcelain')).toBe('');
  });
});

describe('an attempt that was interrupted', () => {
  const clonesOf = () => open.requests.filter(({ path }) => path.includes('/info/refs')).length;

  it('by the end of its worker is continued by the next one, not repeated', async () => {
    const start = await fixture.stage({ request: { selected_repository: 'owner/example' } });
    const before = clonesOf();
    open.hold();
    const worker = new AbortController();
    const first = fixture.activities({ signal: worker.signal }).prepareRepository(start.taskId);
    await vi.waitFor(() => expect(clonesOf()).toBe(before + 1), { timeout: 10_000 });
    worker.abort(new CancelledFailure('WORKER_SHUTDOWN'));
    await expect(first).rejects.toThrow('WORKER_SHUTDOWN');
    const second = fixture.activities({ attempt: 2 }).prepareRepository(start.taskId);
    open.release();
    expect(await second).toEqual({ hasSetupScript: true, hasPreCommitHook: true });
    expect(clonesOf()).toBe(before + 1);
  });

  it('by cancelling ends the clone and takes away what there is of it', async () => {
    const start = await fixture.stage({ request: { selected_repository: 'owner/example' } });
    const before = clonesOf();
    open.hold();
    const cancel = new AbortController();
    const attempt = fixture.activities({ signal: cancel.signal }).prepareRepository(start.taskId);
    await vi.waitFor(() => expect(clonesOf()).toBe(before + 1), { timeout: 10_000 });
    cancel.abort(new CancelledFailure('CANCELLED'));
    await expect(attempt).rejects.toThrow('CANCELLED');
    open.release();
    await vi.waitFor(async () => expect(await readdir(start.workingDirectory)).toEqual([]), {
      timeout: 10_000,
    });
  });

  it('by Temporal itself says what it was doing, and stops', async () => {
    const start = await fixture.stage({ request: { selected_repository: 'owner/example' } });
    const before = clonesOf();
    open.hold();
    const environment = new MockActivityEnvironment();
    const details: unknown[] = [];
    environment.on('heartbeat', (detail: unknown) => details.push(detail));
    const activities = fixture.activities({ inTemporal: true });
    const attempt = environment.run((taskId: string) => activities.prepareRepository(taskId), start.taskId);
    await vi.waitFor(() => expect(clonesOf()).toBe(before + 1), { timeout: 10_000 });
    environment.cancel('CANCELLED');
    await expect(attempt).rejects.toThrow('CANCELLED');
    expect(details).toContainEqual(expect.objectContaining({ phase: 'cloning owner/example' }));
    open.release();
    await vi.waitFor(async () => expect(await readdir(start.workingDirectory)).toEqual([]), {
      timeout: 10_000,
    });
  });

  it('after its setup script has run does not run it again', async () => {
    const start = await fixture.stage({ request: { selected_repository: 'owner/example' } });
    await fixture.activities().prepareRepository(start.taskId);
    await fixture.activities().runSetupScript(start.taskId);
    expect(await fixture.activities({ attempt: 2 }).runSetupScript(start.taskId)).toEqual({ exitCode: 0 });
    const log = await readFile(join(start.workingDirectory, 'example/setup.log'), 'utf8');
    expect(log.match(/more for setup/g)).toHaveLength(1);
  });

  it('after the conversation was created finds it, and its message is there once', async () => {
    const start = await fixture.stage({ request: { initial_message: message('Only once') } });
    const activities = fixture.activities();
    await prepare(start, activities);
    await activities.createConversation(start.taskId);
    await fixture.activities({ attempt: 2 }).createConversation(start.taskId);
    await activities.createConversation(start.taskId); // as another start of the same conversation would
    await finished(start.conversationId);
    expect(await userMessages(start.conversationId)).toBe(1);
  });

  it('between the conversation and its message delivers the message', async () => {
    const text = 'Lost and found';
    const start = await fixture.stage({ request: { initial_message: message(text) } });
    await prepare(start, fixture.activities());
    await fixture.client.startConversation({
      conversation_id: start.conversationId,
      workspace: { working_dir: start.workingDirectory },
      agent: {
        llm: { model: 'openai/scripted', api_key: 'x', base_url: llm.url, num_retries: 0 },
        tools: [{ name: 'terminal' }],
      },
    });
    await fixture.activities({ attempt: 2 }).createConversation(start.taskId);
    await finished(start.conversationId);
    expect(await userMessages(start.conversationId)).toBe(1);
  });
});

describe('a conversation that cannot be started', () => {
  it('fails with the reason of the agent-server, and leaves nothing behind there', async () => {
    fixture.settings['agent_settings'] = {
      ...(fixture.settings['agent_settings'] as object),
      tools: [{ name: 'no_such_tool' }],
    };
    const start = await fixture.stage({ request: { initial_message: message('Never') } });
    await prepare(start, fixture.activities());
    await expect(fixture.activities().createConversation(start.taskId)).rejects.toMatchObject({
      type: 'ConversationNotStarted',
      nonRetryable: false,
    });
    await expect(fixture.activities({ attempt: 2 }).createConversation(start.taskId)).rejects.toMatchObject({
      type: 'ConversationNotStarted',
      nonRetryable: true,
      message: expect.stringMatching(/^500: .*no_such_tool/) as string,
    });
    expect(await fixture.client.conversation(start.conversationId)).toBeNull();
    expect(await fixture.conversations.read(start.conversationId)).toBeNull();
  });

  it('because the model is down is one that ends in error, not a failed start', async () => {
    llm.setScript({ steps: [{ status: 401, error: 'no such key' }] });
    const start = await fixture.stage({ request: { initial_message: message('Hello?') } });
    await prepare(start, fixture.activities());
    await fixture.activities().createConversation(start.taskId);
    await finished(start.conversationId, 'error');
  });

  it('is taken out of a sandbox that stays, as often as that is asked for', async () => {
    const start = await fixture.stage({ request: {} });
    const activities = fixture.activities();
    await prepare(start, activities);
    await activities.createConversation(start.taskId);
    await activities.discardConversation(start.taskId);
    expect(await fixture.client.conversation(start.conversationId)).toBeNull();
    await activities.discardConversation(start.taskId);
  });
});

describe('what the agent is given', () => {
  it('are secrets of the request, the provider and the user, and the plan agent can plan', async () => {
    const text = 'Use the secrets';
    useHost(guarded, TOKEN);
    fixture.customSecrets.set('MINE', { value: 'value-of-mine', description: 'one of mine' });
    llm.setScript({
      steps: [
        runInTerminal('printf %s "$GITHUB_TOKEN:$MINE:$REQUESTED" | sha256sum > seen.txt'),
        finish('Done'),
      ],
      named: {
        plan: [callTool('planning_file_editor', { command: 'view', path: '/' }), finish('Planned')],
      },
    });
    const start = await fixture.stage({
      request: { initial_message: message(text) },
      secrets: { REQUESTED: 'value-of-the-request' },
    });
    await prepare(start, fixture.activities());
    await fixture.activities().createConversation(start.taskId);
    await finished(start.conversationId);
    const expected = (
      await run('bash', ['-c', `printf %s '${TOKEN}:value-of-mine:value-of-the-request' | sha256sum`])
    ).stdout;
    expect(await readFile(join(start.workingDirectory, 'seen.txt'), 'utf8')).toBe(expected);
    expect(systemPromptFor(text)).toContain('one of mine');
    expect(systemPromptFor(text)).not.toContain(TOKEN);

    const plan = await fixture.stage({
      request: { agent_type: 'plan', initial_message: message('[[script:plan]] Plan it') },
    });
    await prepare(plan, fixture.activities());
    await fixture.activities().createConversation(plan.taskId);
    await finished(plan.conversationId);
    expect(systemPromptFor('[[script:plan]]')).toContain('PLANNING_BOUNDARY');
    expect(systemPromptFor('[[script:plan]]')).toContain('TESTING AND VALIDATION');
    expect(await exists(join(plan.workingDirectory, '.agents_tmp/PLAN.md'))).toBe(true);
  });

  it('are the skills of this server, less those that the user has turned off', async () => {
    const text = 'Which skills?';
    const skillsDirectory = join(fixture.sandboxDirectory, 'server-skills');
    await mkdir(skillsDirectory, { recursive: true });
    await writeFile(join(skillsDirectory, 'house.md'), 'House rule: no running.');
    await writeFile(join(skillsDirectory, 'off.md'), 'House rule: no singing.');
    await writeFile(join(skillsDirectory, 'broken.md'), '---\nname: [\n---\nx');
    fixture.settings['disabled_skills'] = ['off'];
    llm.setScript({ steps: [finish('Done')] });
    const start = await fixture.stage({ request: { initial_message: message(text) } });
    const activities = fixture.activities({ deps: { skillsDirectory } });
    await prepare(start, activities);
    await activities.createConversation(start.taskId);
    await finished(start.conversationId);
    expect(systemPromptFor(text)).toContain('no running');
    expect(systemPromptFor(text)).not.toContain('no singing');
    expect(fixture.warnings).toMatchObject([{ fields: { file: 'broken.md' } }]);
  });

  it('are the saved models, mirrored into its sandbox', async () => {
    const profile = { model: 'openai/scripted', api_key: 'sk-profile-key', base_url: llm.url };
    fixture.settings['llm_profiles'] = { profiles: { fast: profile, smart: profile } };
    const start = await fixture.stage();
    await fixture.activities().prepareSkills(start.taskId);
    expect((await fixture.client.profiles()).map(({ name }) => name).sort()).toEqual(['fast', 'smart']);
    fixture.settings['llm_profiles'] = { profiles: { fast: profile } };
    await fixture.activities().prepareSkills((await fixture.stage()).taskId);
    expect((await fixture.client.profiles()).map(({ name }) => name)).toEqual(['fast']);
  });
});

describe('a sandbox that does not answer', () => {
  it('fails what was asked of it in a way that is tried again, and shows no key', async () => {
    const start = await fixture.stage({ request: { selected_repository: 'owner/example' } });
    const activities = fixture.activities({
      deps: {
        createClient: (target) => ({
          ...fixture.client,
          runScript: () =>
            Promise.reject(
              new AgentServerError({
                kind: 'refused',
                status: null,
                call: 'POST /api/bash/start_bash_command',
                detail: `nothing listens at ${target.baseUrl} for ${SESSION_KEY}`,
              }),
            ),
        }),
      },
    });
    const failure = await activities.prepareRepository(start.taskId).then(
      () => new Error('it did not fail'),
      (error: unknown) => error as Error,
    );
    expect(failure).toMatchObject({ type: 'AgentServerUnavailable', nonRetryable: false });
    expect(failure.message).not.toContain(SESSION_KEY);
  });
});
