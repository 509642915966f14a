/** A start fixture with git hosts and a scripted model around it, and what tests of starts do and look at. */
import { execFile } from 'node:child_process';
import { stat } from 'node:fs/promises';
import { promisify } from 'node:util';
import { expect, vi } from 'vitest';
import { PublicSkills } from '../../activities/public-skills.js';
import type { StartPreparationActivities } from '../../activities/start/start-preparation-activities.js';
import { startGitServer, type GitServer } from './git-server.js';
import { contentText, finish, runInTerminal, startScriptedLlm, type ScriptedLlm } from './scripted-llm.js';
import { openStartFixture, type StagedStart, type StartFixture } from './start-fixture.js';

const run = promisify(execFile);

/** What the guarded git host asks for. */
export const TOKEN = 'ghp_a-token-that-nobody-may-see';

/** The repository `owner/example` of the open host, and `owner/private` of the guarded one. */
const EXAMPLE = {
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

export interface StartBench {
  fixture: StartFixture;
  llm: ScriptedLlm;
  /** Lets everybody read. */
  open: GitServer;
  /** Asks for {@link TOKEN}. */
  guarded: GitServer;
  /** Settings, secrets and script as at the beginning. */
  reset(): void;
  /** The git host of the user, with a token where it asks for one. */
  useHost(server: GitServer, token?: string): void;
  /** Waits until the run of a conversation has ended. */
  finished(conversationId: string, status?: string): Promise<void>;
  /** What the model was told before it was told this. */
  systemPromptFor(text: string): string;
  userMessages(conversationId: string): Promise<number>;
  /** Everything in the sandbox that holds a text. */
  filesWith(text: string): Promise<string[]>;
  close(): Promise<void>;
}

export async function openStartBench(): Promise<StartBench> {
  const [llm, open, guarded] = await Promise.all([
    startScriptedLlm(),
    startGitServer(),
    startGitServer({ token: TOKEN }),
  ]);
  await open.addRepository('owner/example', EXAMPLE);
  await guarded.addRepository('owner/private', EXAMPLE);
  // Its child keeps running, as a development server would.
  await open.addRepository('owner/failing', {
    files: { '.openhands/setup.sh': 'echo "cannot find the compiler" >&2\nsleep 300 &\nexit 3\n' },
  });
  const fixture = await openStartFixture();

  const bench: StartBench = {
    fixture,
    llm,
    open,
    guarded,
    reset() {
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
      fixture.publicSkills = new PublicSkills();
      bench.useHost(open);
    },
    useHost: (server, token = '') =>
      void fixture.providerTokens.set('github', { token, host: server.origin, userId: null }),
    finished: (conversationId, status = 'finished') =>
      vi.waitFor(
        async () => {
          expect((await fixture.client.conversation(conversationId))?.execution_status).toBe(status);
        },
        { timeout: 40_000, interval: 100 },
      ),
    systemPromptFor(text) {
      const call = llm.calls.findLast(
        ({ body }) =>
          body.tools?.length && body.messages.some(({ content }) => contentText(content).includes(text)),
      );
      return contentText(call?.body.messages.find(({ role }) => role === 'system')?.content);
    },
    async userMessages(conversationId) {
      let count = 0;
      for await (const event of fixture.client.eventsFrom(conversationId)) {
        if (event.kind === 'MessageEvent' && event.source === 'user') count += 1;
      }
      return count;
    },
    async filesWith(text) {
      try {
        const { stdout } = await run('grep', ['-rlF', '--', text, fixture.sandboxDirectory]);
        return stdout.trim().split('\n');
      } catch (error) {
        if (error instanceof Error && 'code' in error && error.code === 1) return []; // none
        throw error;
      }
    },
    async close() {
      await fixture.close();
      await Promise.all([llm.close(), open.close(), guarded.close()]);
    },
  };
  return bench;
}

/** All phases before the conversation, in their order. */
export async function prepare(start: StagedStart, activities: StartPreparationActivities) {
  const { taskId } = start;
  const repository = await activities.prepareRepository(taskId);
  const setup = repository.hasSetupScript ? await activities.runSetupScript(taskId) : null;
  if (repository.hasPreCommitHook) await activities.installGitHooks(taskId);
  await activities.prepareSkills(taskId);
  return { repository, setup };
}

/** A first message, as clients send it. */
export const message = (text: string) => ({ role: 'user', content: [{ type: 'text', text }], run: true });

/** What git prints in a directory. */
export const git = async (directory: string, ...args: string[]): Promise<string> =>
  (await run('git', ['-c', 'safe.directory=*', '-C', directory, ...args])).stdout.trim();

export const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );
