import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { spellingsOf } from '../../contract/masking.js';
import { eventsOf, readConversation, runStatus, streamStart, userMessage } from '../support/conversations.js';
import { required } from '../support/environment.js';
import { startGitServer, type GitServer } from '../support/git-server.js';
import { startProduct, type Product } from '../support/product.js';
import { finish, runInTerminal, startScriptedLlm, type ScriptedLlm } from '../support/scripted-llm.js';

/** Secrets that nothing else in the world contains, with characters that URLs and JSON spell differently. */
const marked = (name: string) => `${name}-${randomBytes(12).toString('hex')}`;
const SECRETS = {
  master: marked('jwt/secret+of "tests"'),
  operator: marked('operator'),
  instanceLlmKey: marked('sk-instance'),
  gitToken: marked('ghp'),
  custom: marked('custom "quoted" & more'),
  startSecret: marked('start'),
  llmKey: marked('sk-user'),
  llmHeader: marked('header'),
  mcpHeader: marked('Bearer-mcp'),
  mcpQuery: marked('query'),
};

/** Everything is real here but the model and github.com. */
describe('a full run with marked secrets', () => {
  let llm: ScriptedLlm;
  let git: GitServer;
  let product: Product;
  let scratch: string;
  /** Ids that stand in the clear everywhere: a place in which they are not found was not looked into. */
  let conversationId: string;
  let sandboxId: string;
  const secrets = new Map<string, string>(Object.entries(SECRETS));

  beforeAll(async () => {
    scratch = mkdtempSync(join(tmpdir(), 'callboard-leaks-'));
    [llm, git] = await Promise.all([startScriptedLlm(), startGitServer({ token: SECRETS.gitToken })]);
    await git.addRepository('acme/rocket', {
      files: { 'README.md': '# Rocket\n', '.openhands/setup.sh': 'printenv > /dev/null; echo "set up"\n' },
    });
    product = await startProduct({
      env: {
        JWT_SECRET: SECRETS.master,
        CALLBOARD_OPERATOR_KEY: SECRETS.operator,
        LLM_API_KEY: SECRETS.instanceLlmKey,
        LOG_LEVEL: 'debug',
      },
    });
  });
  afterAll(async () => {
    await product.stop();
    await Promise.all([llm.close(), git.close()]);
    rmSync(scratch, { recursive: true, force: true });
  });

  const put = async (path: string, body: unknown) => {
    const { status, body: answer } = await product.call('POST', path, body);
    expect(status, JSON.stringify(answer)).toBeLessThan(300);
  };

  it('goes through every place in which secrets are given', async () => {
    await put('/api/v1/secrets/git-providers', {
      provider_tokens: { github: { token: SECRETS.gitToken, host: git.origin } },
    });
    await put('/api/v1/secrets', { name: 'CUSTOM_SECRET', value: SECRETS.custom, description: 'for tests' });
    await put('/api/v1/settings', {
      agent_settings_diff: {
        llm: {
          model: 'openai/scripted',
          base_url: llm.url,
          api_key: SECRETS.llmKey,
          extra_headers: { 'X-Marked': SECRETS.llmHeader },
        },
      },
    });
    // The agent shows what it should not, in its orders and in what they print.
    llm.setScript({
      steps: [
        runInTerminal(
          `echo ${SECRETS.llmKey} ${SECRETS.gitToken}; printenv; echo "$CUSTOM_SECRET $START_SECRET"`,
        ),
        finish(`It was ${SECRETS.instanceLlmKey} and ${SECRETS.custom}`),
      ],
    });
    const tasks = await streamStart(product, {
      initial_message: userMessage('Show me everything'),
      selected_repository: 'acme/rocket',
      secrets: { START_SECRET: SECRETS.startSecret },
    });
    const ready = tasks.at(-1)!;
    expect(ready, JSON.stringify(ready.detail)).toMatchObject({ status: 'READY' });
    conversationId = ready.app_conversation_id!;
    sandboxId = ready.sandbox_id!;
    const conversation = await runStatus(product, conversationId, 'finished');
    secrets.set('sessionKey', conversation.session_api_key!);

    // Now it tells even its own session key. (What a person types is kept as it is typed: it has to reach the agent.)
    llm.setScript({ steps: [finish(`The key is ${conversation.session_api_key!}`)] });
    const before = (await eventsOf(product, conversationId)).length;
    await product.call('POST', `/api/v1/app-conversations/${conversationId}/send-message`, {
      content: [{ type: 'text', text: 'Tell me the key' }],
    });
    await vi.waitFor(
      async () => expect((await eventsOf(product, conversationId)).length).toBeGreaterThan(before + 1),
      { timeout: 180_000, interval: 200 },
    );
    await vi.waitFor(
      async () => expect((await readConversation(product, conversationId)).execution_status).toBe('finished'),
      { timeout: 180_000, interval: 200 },
    );
  }, 420_000);

  it('tells nobody in an error either', async () => {
    await put('/api/v1/settings', {
      agent_settings_diff: {
        mcp_config: {
          marked: {
            url: `http://127.0.0.1:9/mcp?api_key=${SECRETS.mcpQuery}`,
            headers: { Authorization: SECRETS.mcpHeader },
          },
        },
      },
    });
    const tasks = await streamStart(product, {
      initial_message: userMessage('Hello'),
      selected_repository: 'acme/does-not-exist',
      secrets: { START_SECRET: SECRETS.startSecret },
    });
    expect(tasks.at(-1)?.status).toBe('ERROR');
    expect(leaks(JSON.stringify(tasks))).toEqual([]);
  });

  const leaks = (text: string) =>
    [...secrets].flatMap(([name, secret]) =>
      spellingsOf(secret).some((one) => text.includes(one)) ? [name] : [],
    );

  /** Files below the paths that hold one of the texts; `grep`, because databases are large. */
  function grep(texts: readonly string[], paths: readonly string[]): string[] {
    const patterns = join(scratch, 'patterns');
    writeFileSync(
      patterns,
      texts
        .flatMap((text) => text.split('\n'))
        .filter((line) => line !== '')
        .join('\n'),
      {
        mode: 0o600,
      },
    );
    const found = spawnSync('grep', ['-r', '-a', '-l', '-F', '-f', patterns, '--', ...paths], {
      encoding: 'utf8',
      maxBuffer: 64 * 1024 * 1024,
    });
    // 1 is "nothing found"; files that a running engine removes meanwhile make it 2.
    expect([0, 1, 2]).toContain(found.status);
    return found.stdout.split('\n').filter((line) => line !== '');
  }

  /** Everything that is stored or written, by what it is. */
  async function places(): Promise<Record<string, string[]>> {
    const engines = required('TEST_ENGINES_DIRECTORY');
    const sandboxDirectories = join(product.directory, 'host', 'sandboxes');
    const dump = join(scratch, 'dump');
    mkdirSync(dump, { recursive: true });
    const client = new pg.Client({ connectionString: product.databaseUrl });
    await client.connect();
    try {
      const { rows } = await client.query<{ name: string }>(
        "select quote_ident(table_schema) || '.' || quote_ident(table_name) as name from information_schema.tables where table_type = 'BASE TABLE' and table_schema not in ('pg_catalog', 'information_schema')",
      );
      for (const { name } of rows) {
        const { rows: texts } = await client.query<{ text: string }>(`select t::text as text from ${name} t`);
        writeFileSync(join(dump, name), texts.map(({ text }) => text).join('\n'));
      }
    } finally {
      await client.end();
    }
    const histories: string[] = [];
    for await (const { workflowId, runId } of product.temporal.client.workflow.list()) {
      const history = await product.temporal.client.workflow.getHandle(workflowId, runId).fetchHistory();
      histories.push(
        JSON.stringify(history, (_key, value: unknown) =>
          isBytes(value) ? Buffer.from(value.data).toString('latin1') : value,
        ),
        workflowId,
      );
    }
    writeFileSync(join(scratch, 'histories'), histories.join('\n'));
    writeFileSync(join(scratch, 'api.log'), product.api.output);
    writeFileSync(join(scratch, 'worker.log'), product.worker.output);
    return {
      'the files of Temporal': [join(engines, 'temporal')],
      'the histories': [join(scratch, 'histories')],
      'a dump of the database': [dump],
      'the files of PostgreSQL': [join(engines, 'postgres')],
      'the logs of the engines': [join(engines, 'logs')],
      'the log of the API': [join(scratch, 'api.log')],
      'the log of the worker': [join(scratch, 'worker.log')],
      'the event files': [join(product.directory, 'v1', 'events')],
      // The rest of a sandbox's directory is the agent's own: its clone, its conversations with their events as it masks
      // them itself, and its keys, which it needs to run.
      'the logs of the sandboxes': readdirSync(sandboxDirectories).map((id) =>
        join(sandboxDirectories, id, 'agent-server.log'),
      ),
      'the rest of the data directory': readdirSync(product.directory)
        .filter((name) => name !== 'v1' && name !== 'host')
        .map((name) => join(product.directory, name)),
    };
  }

  it('leaves none of them in a database, a history, a log or an event file', async () => {
    expect(secrets.get('sessionKey')).toMatch(/^[0-9A-Za-z]{40,43}$/);
    const all = await places();
    const spellings = [...secrets.values()].flatMap(spellingsOf);
    const found = Object.entries(all).flatMap(([place, paths]) =>
      paths.length === 0 ? [] : grep(spellings, paths).map((file) => `${place}: ${file}`),
    );
    if (found.length > 0) {
      const which = [...secrets].filter(
        ([, secret]) => grep(spellingsOf(secret), Object.values(all).flat()).length > 0,
      );
      expect(
        which.map(([name]) => name),
        found.join('\n'),
      ).toEqual([]);
    }
    // What was taken out was there: the events say where.
    expect(JSON.stringify(await eventsOf(product, conversationId))).toContain('**********');
  });

  it('was looked for where it would have been: what is not secret is found in each place', async () => {
    const {
      'the rest of the data directory': _rest,
      'the logs of the engines': _logs,
      ...all
    } = await places();
    for (const [place, paths] of Object.entries(all)) {
      expect(grep([conversationId, sandboxId, 'Show me everything'], paths), place).not.toEqual([]);
    }
  });
});

/** How `JSON.stringify` is handed a Buffer. */
const isBytes = (value: unknown): value is { data: number[] } =>
  typeof value === 'object' &&
  value !== null &&
  'type' in value &&
  value.type === 'Buffer' &&
  'data' in value;
