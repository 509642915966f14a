import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { startGitServer, type GitServer } from '../support/git-server.js';
import { finish, runInTerminal, type ScriptedLlm } from '../support/scripted-llm.js';
import {
  exists,
  git,
  message,
  openStartBench,
  prepare,
  TOKEN,
  type StartBench,
} from '../support/start-bench.js';
import type { StartFixture } from '../support/start-fixture.js';

let bench: StartBench;
let fixture: StartFixture;
let llm: ScriptedLlm;
let open: GitServer;
let guarded: GitServer;
beforeAll(async () => {
  bench = await openStartBench();
  ({ fixture, llm, open, guarded } = bench);
});
afterAll(() => bench.close());
beforeEach(() => bench.reset());

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
    await bench.finished(start.conversationId);
    expect(bench.systemPromptFor(text)).toContain('Always be kind to the reader.');
    expect(bench.systemPromptFor(text)).toContain('--unshallow');
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
    bench.useHost(guarded, TOKEN);
    const start = await fixture.stage({ request: { selected_repository: 'owner/private' } });
    await prepare(start, fixture.activities());
    const project = join(start.workingDirectory, 'private');
    expect(await git(project, 'remote', 'get-url', 'origin')).toBe(`${guarded.origin}/owner/private.git`);
    expect(guarded.requests.some(({ path }) => path.includes(TOKEN))).toBe(false);
    // Files of the clone, of the sandbox's home, and the agent-server's record of commands and its log.
    expect(await bench.filesWith(`${guarded.origin}/owner/private.git`)).not.toEqual([]);
    expect(await bench.filesWith(TOKEN)).toEqual([]);
    expect(JSON.stringify(fixture.heartbeats)).not.toContain(TOKEN);
  });

  it('hands the token to no host that it is sent on to', async () => {
    const elsewhere = await startGitServer({ token: 'another-token' });
    const misleading = await startGitServer({ redirectTo: elsewhere.origin });
    try {
      bench.useHost(misleading, TOKEN);
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
    await bench.finished(start.conversationId);
    expect(bench.systemPromptFor(text)).toContain('cannot find the compiler');
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

  it('because the branch does not exist fails the start and names it (D20)', async () => {
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
    bench.useHost(guarded);
    expect(await failing({ selected_repository: 'owner/private' })).toMatchObject({
      type: 'GitTokenMissing',
      message: expect.stringMatching(
        /^Missing either Git token or valid repository: .*Add a github token/,
      ) as string,
    });
    bench.useHost(guarded, 'a-token-that-is-wrong');
    const refused = await failing({ selected_repository: 'owner/private' });
    expect(refused).toMatchObject({ type: 'GitAuthenticationFailed' });
    expect(refused.message).toMatch(/^Git provider authentication issue when getting remote URL/);
    expect(refused.message).not.toContain('a-token-that-is-wrong');
  });

  it('because its name is none says so before anything is run (D6)', async () => {
    expect(await failing({ selected_repository: 'owner/$(touch x)' })).toMatchObject({
      type: 'InvalidRepository',
    });
  });
});

describe('a repository that is there already', () => {
  it("is left as it is in the parent's sandbox, even without a token", async () => {
    bench.useHost(guarded, TOKEN);
    const parent = await fixture.stage({ request: { selected_repository: 'owner/private' } });
    await fixture.activities().prepareRepository(parent.taskId);
    const project = join(parent.workingDirectory, 'private');
    await writeFile(join(project, 'README.md'), 'unsaved work\n');
    const branch = await git(project, 'rev-parse', '--abbrev-ref', 'HEAD');
    bench.useHost(guarded);
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
