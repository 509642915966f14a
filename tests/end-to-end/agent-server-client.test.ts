/** The client against the real agent-server: one server for all of these. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { createAgentServerClient } from '../../agent-server/client.js';
import type { AgentServerClient } from '../../agent-server/client.js';
import { AgentServerError } from '../../agent-server/errors.js';
import { eventStream } from '../../agent-server/event-stream.js';
import type { AgentEvent } from '../../agent-server/schemas.js';
import { hexId } from '../../contract/ids.js';
import type { SandboxHandle, SandboxLaunch } from '../../sandboxes/backend.js';
import { processesOf } from '../../sandboxes/process-tree.js';
import { createSandboxBench } from '../support/real-sandbox.js';
import type { SandboxBench } from '../support/real-sandbox.js';
import { finish, startScriptedLlm } from '../support/scripted-llm.js';
import type { ScriptedLlm } from '../support/scripted-llm.js';

let bench: SandboxBench;
let llm: ScriptedLlm;
let launch: SandboxLaunch;
let handle: SandboxHandle;
let client: AgentServerClient;
let project: string;

beforeAll(async () => {
  [bench, llm] = await Promise.all([createSandboxBench(), startScriptedLlm({ steps: [finish('all done')] })]);
  launch = await bench.newLaunch();
  handle = await bench.backend.launch(launch);
  await bench.ready(launch, handle);
  client = bench.clientOf(launch, handle);
  project = handle.workingDirectory;
});

afterAll(async () => {
  await bench.close();
  await llm.close();
});

const model = (usageId = 'agent') => ({
  model: 'openai/scripted',
  api_key: 'sk-none',
  base_url: llm.url,
  num_retries: 0,
  usage_id: usageId,
});

/** Starts a conversation without tools; idle until it is told something. */
async function conversation(): Promise<string> {
  const id = crypto.randomUUID();
  const started = await client.startConversation({
    conversation_id: id,
    agent: { llm: model(), tools: [] },
    workspace: { working_dir: project },
    autotitle: false,
  });
  expect(started.created).toBe(true);
  return id;
}

const say = (text: string, run: boolean) => ({
  role: 'user' as const,
  content: [{ type: 'text', text }],
  run,
});

async function failureOf(promise: Promise<unknown>): Promise<AgentServerError> {
  const error: unknown = await promise.catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(AgentServerError);
  return error as AgentServerError;
}

describe('the server', () => {
  it('is alive, names its version and the tools that work here', async () => {
    expect(await client.alive()).toBe(true);
    const info = await client.serverInfo();
    expect(info).toMatchObject({ version: '1.34.0', sdk_version: '1.34.0' });
    expect(info.usable_tools).toContain('terminal');
  });

  it('refuses a wrong key, and the refusal does not show it', async () => {
    const stranger = createAgentServerClient({ baseUrl: handle.url, sessionApiKey: 'a-wrong-session-key' });
    const error = await failureOf(stranger.conversation(crypto.randomUUID()));
    expect(error).toMatchObject({ kind: 'http', status: 401, detail: 'HTTP 401 Unauthorized' });
    expect(error.message).not.toContain('a-wrong-session-key');
  });
});

describe('conversations', () => {
  it('are started once, however often that is asked', async () => {
    const id = await conversation();
    const again = await client.startConversation({
      conversation_id: hexId(id),
      agent: { llm: model(), tools: [] },
      workspace: { working_dir: project },
    });
    expect(again.created).toBe(false);
    expect(again.conversation).toMatchObject({ id, execution_status: 'idle' });
  });

  it('are refused with the reason, in words', async () => {
    const error = await failureOf(
      client.startConversation({
        conversation_id: crypto.randomUUID(),
        agent: { llm: model(), tools: [{ name: 'no_such_tool' }] },
        workspace: { working_dir: project },
        initial_message: say('hi', true),
      }),
    );
    expect(error).toMatchObject({ kind: 'http', status: 500 });
    expect(error.detail).toContain("ToolDefinition 'no_such_tool' is not registered");
    const invalid = await failureOf(
      client.startConversation({ conversation_id: crypto.randomUUID(), workspace: { working_dir: project } }),
    );
    expect(invalid.status).toBe(422);
    expect(invalid.detail).toContain('must be provided');
  });

  it('are read, renamed and removed; unknown ones are told apart', async () => {
    const [id, unknown] = [await conversation(), crypto.randomUUID()];
    expect(await client.patchConversation(id, { title: 'A title', tags: { team: 'x' } })).toBe(true);
    expect(await client.conversation(id)).toMatchObject({ title: 'A title', tags: { team: 'x' } });
    expect(await client.conversations([unknown, id])).toEqual([null, expect.objectContaining({ id })]);
    expect(await client.deleteConversation(id)).toBe(true);
    expect(await client.conversation(id)).toBeNull();
    for (const call of [client.deleteConversation, client.pause, client.interrupt]) {
      expect(await call(unknown)).toBe(false);
    }
    expect(await client.patchConversation(unknown, { title: 'x' })).toBe(false);
  });

  it('run when told to, change their model, and keep a log that is read page by page', async () => {
    const id = await conversation();
    await client.sendMessage(id, say('begin', false));
    expect((await client.conversation(id))?.execution_status).toBe('idle');
    await client.switchLlm(id, model('another'));
    expect(await client.run(id)).toBe('started');
    await vi.waitFor(async () => {
      expect((await client.conversation(id))?.execution_status).toBe('finished');
    }, 90_000);

    const count = await client.countEvents(id);
    const events: AgentEvent[] = [];
    for await (const event of client.eventsFrom(id)) events.push(event);
    expect(events).toHaveLength(count);
    expect(events.map(({ kind }) => kind)).toEqual(
      expect.arrayContaining(['SystemPromptEvent', 'MessageEvent', 'ActionEvent', 'ObservationEvent']),
    );
    const newest = await client.searchEvents(id, { limit: 2, sortOrder: 'TIMESTAMP_DESC' });
    expect(newest.items.map((event) => event.id)).toEqual([events.at(-1)!.id, events.at(-2)!.id]);
    const rest: string[] = [];
    for await (const event of client.eventsFrom(id, events[3]!.id)) rest.push(event.id);
    expect(rest).toEqual(events.slice(3).map((event) => event.id));
    expect(await client.countEvents(id, { source: 'user' })).toBe(1);
  });
});

describe('commands', () => {
  it('end with their code and both of their outputs', async () => {
    const command = 'pwd; echo problem >&2; exit 3';
    expect(await client.runCommand({ command, cwd: project, timeoutSeconds: 10 })).toEqual({
      exitCode: 3,
      stdout: `${project}\n`,
      stderr: 'problem\n',
      timedOut: false,
      truncated: false,
    });
  });

  it('that cannot be started say so', async () => {
    const result = await client.runCommand({ command: 'true', cwd: '/no/such/place', timeoutSeconds: 10 });
    expect(result).toMatchObject({ exitCode: -1, timedOut: false });
    expect(result.stderr).toContain('No such file or directory');
  });

  it('are ended by the server when their time is over, with what they had said', async () => {
    const result = await client.runCommand({ command: 'echo before; sleep 60', timeoutSeconds: 1 });
    expect(result).toMatchObject({ exitCode: -1, timedOut: true, stdout: 'before\n' });
  });

  it('may say more than fits into one answer', async () => {
    const command = 'yes 0123456789abcde | head -c 3000000; echo end';
    const whole = await client.runCommand({ command, timeoutSeconds: 60, maxOutputCharacters: 5_000_000 });
    expect(whole.stdout).toHaveLength(3_000_004);
    expect(whole.truncated).toBe(false);
    const end = await client.runCommand({ command, timeoutSeconds: 60, maxOutputCharacters: 20 });
    expect(end).toMatchObject({ stdout: '0123456789abcde\nend\n', truncated: true });
  });

  it('are ended with all their children when the caller gives up', async () => {
    const controller = new AbortController();
    const reason = new Error('cancelled');
    const running = async () => {
      const tree = await processesOf(launch.sandboxId);
      const lines = await Promise.all(
        tree.map(({ pid }) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')),
      );
      return lines.filter((line) => ['sleep 701', 'sleep 702'].includes(line.split('\0').join(' ').trim()))
        .length;
    };
    const command = 'setsid sleep 701 & sleep 702';
    const call = client.runCommand({ command, timeoutSeconds: 600, signal: controller.signal });
    const outcome = call.catch((error: unknown) => error);
    await vi.waitFor(async () => expect(await running()).toBe(2), 90_000);
    controller.abort(reason);
    expect(await outcome).toBe(reason);
    expect(await running()).toBe(0);
  });

  it('with a key are continued by a later attempt, and done once', async () => {
    const file = join(project, 'times.txt');
    const request = {
      key: `work:${crypto.randomUUID()}`,
      command: `echo once >>${file}; sleep 1; cat ${file}`,
      timeoutSeconds: 30,
    };
    const controller = new AbortController();
    const beats: number[] = [];
    const first = client.runCommand({
      ...request,
      signal: controller.signal,
      onAbort: 'leave',
      onHeartbeat: (elapsed) => {
        beats.push(elapsed);
        if (beats.length === 2) controller.abort(new Error('worker lost'));
      },
    });
    await expect(first).rejects.toThrow('worker lost');
    const [second, third] = await Promise.all([client.runCommand(request), client.runCommand(request)]);
    expect(second).toMatchObject({ exitCode: 0, stdout: 'once\n' });
    expect(third).toEqual(second);
    expect(await client.runCommand(request)).toEqual(second); // finished long ago
  });
});

describe('scripts', () => {
  it('are run by bash, whatever they contain', async () => {
    const script = `words=(a "b c" 'd'"'"'e')
[[ \${#words[@]} == 3 ]] && source /dev/stdin <<<'printf "%s|" "\${words[@]}"'
printf '%s' $'\\u00e9 \\\\ "$HOME" \`x\`'`;
    const result = await client.runScript({ script, timeoutSeconds: 10 });
    expect(result).toMatchObject({ exitCode: 0, stdout: 'a|b c|d\'e|é \\ "$HOME" `x`', stderr: '' });
  });

  it('get secret variables that nothing remembers', async () => {
    const token = "se'cret-$(id)-9d2c71ab";
    const result = await client.runScript({
      script: 'sh -c \'echo "$TOKEN" | wc -c; echo "token: $TOKEN" >&2\'; ls -A "$HOME"; exit 5',
      environment: { TOKEN: token },
      timeoutSeconds: 10,
    });
    expect(result).toMatchObject({ exitCode: 5, stderr: 'token: **********\n' });
    expect(result.stdout.split('\n')[0]!.trim()).toBe(String(token.length + 1));
    expect(result.stdout).not.toContain('.callboard-');

    const directory = join(bench.root, 'sandboxes', launch.sandboxId);
    const records = await readdir(join(directory, 'bash_events'));
    const commands = records.filter((name) => name.includes('BashCommand'));
    expect(commands.length).toBeGreaterThan(0);
    for (const name of commands) {
      expect(await readFile(join(directory, 'bash_events', name), 'utf8')).not.toContain('9d2c71ab');
    }
    expect(await readFile(join(directory, 'agent-server.log'), 'utf8')).not.toContain('9d2c71ab');
  });
});

describe('files and the workspace', () => {
  it('are written and read byte by byte', async () => {
    const bytes = Uint8Array.from({ length: 70_000 }, (_, n) => (n * 7) % 256);
    const path = join(project, 'a new directory', 'ü & b.bin');
    await client.uploadFile(path, bytes);
    expect(await client.downloadFile(path)).toEqual(bytes);
    await client.uploadFile(path, 'text\n');
    expect(Buffer.from((await client.downloadFile(path))!).toString()).toBe('text\n');
    expect(await client.downloadFile(`${path}.none`)).toBeNull();
    expect((await failureOf(client.uploadFile('relative.txt', 'x'))).detail).toContain('must be absolute');
  });

  it('show their skills and hooks', async () => {
    const directory = join(project, 'skilled');
    const request = {
      load_public: false,
      load_user: true,
      load_project: true,
      load_org: false,
      project_dir: directory,
      registered_marketplaces: null,
    };
    await client.uploadFile(join(directory, 'AGENTS.md'), '# Be kind\n');
    expect(await client.hooks(directory)).toBeNull();
    const hooks = {
      pre_tool_use: [{ matcher: 'terminal', hooks: [{ type: 'command', command: 'exit 0' }] }],
    };
    await client.uploadFile(join(directory, '.openhands/hooks.json'), JSON.stringify(hooks));
    const { skills } = await client.skills(request);
    expect(skills).toEqual([
      expect.objectContaining({ name: 'agents', type: 'repo', content: '# Be kind\n' }),
    ]);
    expect(await client.hooks(directory)).toMatchObject({
      pre_tool_use: [{ matcher: 'terminal', hooks: [{ command: 'exit 0' }] }],
    });
  });

  it('show what git sees', async () => {
    const directory = join(project, 'repository');
    const made = await client.runScript({
      script: `git init -q ${directory} && cd ${directory} && git config user.email a@b.c && git config user.name n &&
        echo old >file && git add . && git commit -qm first && echo new >file && echo more >other`,
      timeoutSeconds: 20,
    });
    expect(made.exitCode).toBe(0);
    const changes = await client.gitChanges(directory, 'HEAD');
    expect(changes).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ status: 'UPDATED', path: 'file' }),
        expect.objectContaining({ status: 'ADDED', path: 'other' }),
      ]),
    );
    const diff = await client.gitDiff(join(directory, 'file'), 'HEAD');
    expect([diff.original?.trim(), diff.modified?.trim()]).toEqual(['old', 'new']);
    expect(await client.gitChanges(bench.root)).toEqual([]);
  });

  it('keep LLM profiles', async () => {
    await client.saveProfile('fast-one', model());
    expect(await client.profiles()).toEqual([
      expect.objectContaining({ name: 'fast-one', model: 'openai/scripted', api_key_set: true }),
    ]);
    await client.deleteProfile('fast-one');
    await client.deleteProfile('fast-one');
    expect(await client.profiles()).toEqual([]);
  });
});

describe('the stream of events', () => {
  const streamOf = (conversationId: string, more: Partial<Parameters<typeof eventStream>[0]> = {}) =>
    eventStream({
      baseUrl: handle.url,
      sessionApiKey: launch.sessionApiKey,
      conversationId,
      reconnects: 0,
      ...more,
    });

  it('brings each event once, old ones first if wanted, and ends when asked to', async () => {
    const id = await conversation();
    await client.sendMessage(id, say('told before', false));
    const controller = new AbortController();
    const seen: AgentEvent[] = [];
    for await (const event of streamOf(id, { resend: 'all', signal: controller.signal })) {
      seen.push(event);
      if (event.kind === 'MessageEvent') await client.run(id);
      if (event['key'] === 'execution_status' && event['value'] === 'finished') controller.abort();
    }
    const stored: string[] = [];
    for await (const event of client.eventsFrom(id)) stored.push(event.id);
    const ids = seen.map((event) => event.id);
    expect(new Set(ids).size).toBe(ids.length);
    expect(seen.map(({ kind }) => kind)).toEqual(
      expect.arrayContaining(['SystemPromptEvent', 'MessageEvent', 'ActionEvent', 'ObservationEvent']),
    );
    const both = stored.filter((event) => ids.includes(event));
    expect(ids.filter((event) => stored.includes(event))).toEqual(both); // in the order of the log
  });

  it('is refused with a wrong key, and for an unknown conversation', async () => {
    const id = await conversation();
    const first = (stream: AsyncGenerator<AgentEvent>) => failureOf(stream.next());
    expect(await first(streamOf(id, { sessionApiKey: 'wrong' }))).toMatchObject({
      kind: 'http',
      status: 401,
    });
    expect(await first(streamOf(crypto.randomUUID()))).toMatchObject({ kind: 'http', status: 404 });
    expect(await first(streamOf(id, { baseUrl: 'http://127.0.0.1:9' }))).toMatchObject({ kind: 'refused' });
  });
});
