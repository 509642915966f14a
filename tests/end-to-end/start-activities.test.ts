import { execFile } from 'node:child_process';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { CancelledFailure } from '@temporalio/common';
import { MockActivityEnvironment } from '@temporalio/testing';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { SKILLS_ARTIFACT, type PreparedSkills } from '../../activities/start/skills.js';
import type { StartPreparationDeps } from '../../activities/start/start-deps.js';
import { createAgentServerClient } from '../../agent-server/client.js';
import { AgentServerError } from '../../agent-server/errors.js';
import { dashedId } from '../../contract/ids.js';
import { skillPayload } from '../../contract/skill.js';
import type { GitServer } from '../support/git-server.js';
import { callTool, finish, runInTerminal, type ScriptedLlm } from '../support/scripted-llm.js';
import {
  exists,
  git,
  message,
  openStartBench,
  prepare,
  TOKEN,
  type StartBench,
} from '../support/start-bench.js';
import { SESSION_KEY, type StagedStart, type StartFixture } from '../support/start-fixture.js';
import { TcpProxy } from '../support/tcp-proxy.js';

const run = promisify(execFile);

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

/** The skills of a start, and whether the agent-server was asked for the public ones. */
async function skillsOf({ taskId }: StagedStart, { inTime = true } = {}) {
  const asked: boolean[] = [];
  const createClient: StartPreparationDeps['createClient'] = (target) => {
    const client = createAgentServerClient(target);
    const skills: typeof client.skills = async (request, options) => {
      asked.push(request.load_public);
      return client.skills(request, request.load_public && !inTime ? { ...options, timeoutMs: 1 } : options);
    };
    return { ...client, skills };
  };
  await fixture.activities({ deps: { createClient } }).prepareSkills(taskId);
  const { skills } = (await fixture.startTasks.artifact(taskId, SKILLS_ARTIFACT)) as PreparedSkills;
  return { names: skills.map(({ name }) => name), asked, skills };
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
    await bench.finished(start.conversationId);
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

  it('passes its phases in one step, and goes on where it stands when that is tried again', async () => {
    const start = await fixture.stage({ request: { initial_message: message('Create hello.txt') } });
    const conversation = { conversationId: start.conversationId };
    expect(await fixture.activities().startBare(start.taskId)).toEqual(conversation);
    await bench.finished(start.conversationId);
    // What the agent has made since is no setup script of a project.
    await mkdir(join(start.workingDirectory, '.openhands'), { recursive: true });
    await writeFile(join(start.workingDirectory, '.openhands/setup.sh'), 'exit 1\n');
    expect(await fixture.activities({ attempt: 2 }).startBare(start.taskId)).toEqual(conversation);
    expect(await bench.userMessages(start.conversationId)).toBe(1);
    const task = await fixture.startTasks.read(start.taskId);
    expect(task).toMatchObject({ status: 'STARTING_CONVERSATION', agentServerUrl: fixture.handle.url });
    expect((await fixture.conversations.read(start.conversationId))?.sandboxId).toBe(start.sandboxId);
  });

  it('loads skills while a new directory is prepared', async () => {
    fixture.settings['git_user_name'] = 'Ada';
    const start = await fixture.stage();
    const begun = new Set<string>();
    /** Each goes on only when the other one has begun, too. */
    const meet = async (who: string): Promise<void> => {
      begun.add(who);
      await vi.waitFor(() => expect([...begun].sort()).toEqual(['directory', 'skills']), { timeout: 60_000 });
    };
    const createClient: StartPreparationDeps['createClient'] = (target) => {
      const client = createAgentServerClient(target);
      return {
        ...client,
        runScript: async (...given) => meet('directory').then(() => client.runScript(...given)),
        skills: async (...given) => meet('skills').then(() => client.skills(...given)),
      };
    };
    const activities = fixture.activities({ deps: { createClient } });
    expect(await activities.startBare(start.taskId)).toEqual({ conversationId: start.conversationId });
  });

  it('takes the public skills that its sandbox loaded while it was kept warm, and asks for the others alone', async () => {
    const loaded = skillPayload({
      name: 'greet',
      content: 'Say hello.',
      triggers: ['greet'],
      source: '/there',
    });
    const cold = await skillsOf(await fixture.stage());
    expect(cold.asked).toEqual([true]);
    expect(cold.names).not.toContain('greet');

    const start = await fixture.stage();
    fixture.publicSkills.keep(start.sandboxId, [loaded]);
    const warm = await skillsOf(start);
    expect(warm.asked).toEqual([false]);
    expect(warm.skills).toContainEqual(loaded);
    expect(new Set(warm.names)).toEqual(new Set([...cold.names, 'greet']));
    // They were for its first conversation; the next one has what there is then.
    expect(await skillsOf(start)).toMatchObject({ asked: [true], names: cold.names });

    // The marketplaces of a user stand in their place.
    const elsewhere = await fixture.stage();
    fixture.publicSkills.keep(elsewhere.sandboxId, [loaded]);
    fixture.settings['registered_marketplaces'] = [{ name: 'own', source: 'https://127.0.0.1:9/own' }];
    const own = await skillsOf(elsewhere);
    expect(own.asked).toEqual([true]);
    expect(own.names).not.toContain('greet');
  });

  it('does without public skills that do not come in time, and so do the next ones for a while', async () => {
    const whole = await skillsOf(await fixture.stage());
    const late = await skillsOf(await fixture.stage(), { inTime: false });
    expect(late).toMatchObject({ asked: [true, false], names: whole.names });
    expect(fixture.warnings.map((warning) => warning.message)).toEqual([
      'the public skills, or marketplaces, did not come in time: they are left out',
    ]);
    expect(await skillsOf(await fixture.stage())).toMatchObject({ asked: [false], names: whole.names });
    // Marketplaces are elsewhere: each start asks for them.
    fixture.settings['registered_marketplaces'] = [{ name: 'own', source: 'https://127.0.0.1:9/own' }];
    const marketplaces = await skillsOf(await fixture.stage(), { inTime: false });
    expect(marketplaces.asked).toEqual([true, false]);
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
    expect(await fixture.activities().startBare(given.taskId)).toEqual({ found: repository });
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

  it('sets who commits, and takes a name for nothing but a name (D6)', async () => {
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

describe('an attempt that was interrupted', () => {
  const clonesOf = () => open.requests.filter(({ path }) => path.includes('/info/refs')).length;

  it('by the end of its worker is continued by the next one, not repeated', async () => {
    const start = await fixture.stage({ request: { selected_repository: 'owner/example' } });
    const before = clonesOf();
    open.hold();
    const worker = new AbortController();
    const first = fixture.activities({ signal: worker.signal }).prepareRepository(start.taskId);
    await vi.waitFor(() => expect(clonesOf()).toBe(before + 1), { timeout: 90_000 });
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
    await vi.waitFor(() => expect(clonesOf()).toBe(before + 1), { timeout: 90_000 });
    cancel.abort(new CancelledFailure('CANCELLED'));
    await expect(attempt).rejects.toThrow('CANCELLED');
    open.release();
    await vi.waitFor(async () => expect(await readdir(start.workingDirectory)).toEqual([]), {
      timeout: 90_000,
    });
  });

  it('by Temporal itself says what it was doing, and stops (D39)', async () => {
    const start = await fixture.stage({ request: { selected_repository: 'owner/example' } });
    const before = clonesOf();
    open.hold();
    const environment = new MockActivityEnvironment();
    const details: unknown[] = [];
    environment.on('heartbeat', (detail: unknown) => details.push(detail));
    const activities = fixture.activities({ inTemporal: true });
    const attempt = environment.run((taskId: string) => activities.prepareRepository(taskId), start.taskId);
    await vi.waitFor(
      () => {
        expect(clonesOf()).toBe(before + 1);
        expect(details).toContainEqual(expect.objectContaining({ phase: 'cloning owner/example' }));
      },
      { timeout: 90_000 },
    );
    environment.cancel('CANCELLED');
    await expect(attempt).rejects.toThrow('CANCELLED');
    open.release();
    await vi.waitFor(async () => expect(await readdir(start.workingDirectory)).toEqual([]), {
      timeout: 90_000,
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
    await bench.finished(start.conversationId);
    expect(await bench.userMessages(start.conversationId)).toBe(1);
  });

  it('because the answer to its creation got lost asks before it tells again: it is one conversation', async () => {
    const start = await fixture.stage({ request: { initial_message: message('Tell me once') } });
    await prepare(start, fixture.activities());
    const { hostname: host, port } = new URL(fixture.handle.url);
    const network = await TcpProxy.open({ host, port: Number(port) });
    try {
      const deps: Partial<StartPreparationDeps> = {
        createClient: (target) =>
          createAgentServerClient({ ...target, baseUrl: `http://127.0.0.1:${network.port}` }),
      };
      network.loseAnswerTo('POST /api/conversations ');
      await expect(fixture.activities({ deps }).createConversation(start.taskId)).rejects.toMatchObject({
        type: 'AgentServerUnavailable',
        nonRetryable: false,
      });
      // It was carried out all the same.
      expect(await fixture.client.conversation(start.conversationId)).not.toBeNull();
      await fixture.activities({ attempt: 2, deps }).createConversation(start.taskId);
      const path = `/api/conversations/${dashedId(start.conversationId)}`;
      const told = network.requests.indexOf('POST /api/conversations');
      expect(network.requests.slice(told)).toContain(`GET ${path}`);
      expect(network.requests.filter((line) => line === 'POST /api/conversations')).toHaveLength(1);
    } finally {
      await network.close();
    }
    await bench.finished(start.conversationId);
    expect(await bench.userMessages(start.conversationId)).toBe(1);
    expect(await fixture.conversations.read(start.conversationId)).not.toBeNull();
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
    await bench.finished(start.conversationId);
    expect(await bench.userMessages(start.conversationId)).toBe(1);
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
    await bench.finished(start.conversationId, 'error');
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
    bench.useHost(guarded, TOKEN);
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
    await bench.finished(start.conversationId);
    const expected = (
      await run('bash', ['-c', `printf %s '${TOKEN}:value-of-mine:value-of-the-request' | sha256sum`])
    ).stdout;
    expect(await readFile(join(start.workingDirectory, 'seen.txt'), 'utf8')).toBe(expected);
    expect(bench.systemPromptFor(text)).toContain('one of mine');
    expect(bench.systemPromptFor(text)).not.toContain(TOKEN);

    const plan = await fixture.stage({
      request: { agent_type: 'plan', initial_message: message('[[script:plan]] Plan it') },
    });
    await prepare(plan, fixture.activities());
    await fixture.activities().createConversation(plan.taskId);
    await bench.finished(plan.conversationId);
    expect(bench.systemPromptFor('[[script:plan]]')).toContain('PLANNING_BOUNDARY');
    expect(bench.systemPromptFor('[[script:plan]]')).toContain('TESTING AND VALIDATION');
    expect(await exists(join(plan.workingDirectory, '.agents_tmp/PLAN.md'))).toBe(true);
  });

  it('are the skills of this server and of its user, less those that the user has turned off', async () => {
    const text = 'Which skills?';
    const skillsDirectory = join(fixture.sandboxDirectory, 'server-skills');
    await mkdir(skillsDirectory, { recursive: true });
    await writeFile(join(skillsDirectory, 'house.md'), 'House rule: no running.');
    const userSkills = join(fixture.sandboxDirectory, 'user-skills');
    await mkdir(userSkills, { recursive: true });
    await writeFile(join(userSkills, 'mine.md'), 'My own rule: no whistling.');
    await writeFile(join(skillsDirectory, 'off.md'), 'House rule: no singing.');
    await writeFile(join(skillsDirectory, 'broken.md'), '---\nname: [\n---\nx');
    fixture.settings['disabled_skills'] = ['off'];
    llm.setScript({ steps: [finish('Done')] });
    const start = await fixture.stage({ request: { initial_message: message(text) } });
    const activities = fixture.activities({
      deps: { skillsDirectory, userSkillsDirectories: [userSkills, '/nowhere/at/all'] },
    });
    await prepare(start, activities);
    await activities.createConversation(start.taskId);
    await bench.finished(start.conversationId);
    expect(bench.systemPromptFor(text)).toContain('no running');
    expect(bench.systemPromptFor(text)).toContain('no whistling');
    expect(bench.systemPromptFor(text)).not.toContain('no singing');
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
  it('is asked once more, then fails what was asked of it for good, and shows no key', async () => {
    const start = await fixture.stage({ request: { selected_repository: 'owner/example' } });
    let asked = 0;
    const activities = fixture.activities({
      deps: {
        createClient: (target) => ({
          ...fixture.client,
          runScript: () => {
            asked += 1;
            return Promise.reject(
              new AgentServerError({
                kind: 'refused',
                status: null,
                call: 'POST /api/bash/start_bash_command',
                detail: `nothing listens at ${target.baseUrl} for ${SESSION_KEY}`,
              }),
            );
          },
        }),
      },
    });
    const failure = await activities.prepareRepository(start.taskId).then(
      () => new Error('it did not fail'),
      (error: unknown) => error as Error,
    );
    expect(failure).toMatchObject({ type: 'AgentServerUnavailable', nonRetryable: true });
    expect(asked).toBe(2);
    expect(failure.message).not.toContain(SESSION_KEY);
  });
});
