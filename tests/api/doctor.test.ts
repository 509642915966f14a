/** `callboard doctor` and `callboard reindex` on a real database, a real Temporal server and a real directory. */
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { diagnose } from '../../cli/doctor/doctor.js';
import { createProgress } from '../../cli/progress.js';
import { runReindex } from '../../cli/reindex.js';
import { loadConfig } from '../../config/config.js';
import { sandboxWorkflowId } from '../../contract/ids.js';
import { SandboxRepository } from '../../db/sandbox-repository.js';
import { StartTaskRepository } from '../../db/start-task-repository.js';
import { createEventStore } from '../../events/event-store.js';
import { incomingEvent } from '../../events/incoming-event.js';
import { openTestDatabase } from '../support/database.js';
import { required } from '../support/environment.js';
import { insertConversation, insertSandbox, insertStartTask, newId } from '../support/rows.js';
import { connectTemporal } from '../support/temporal.js';

let connection: Awaited<ReturnType<typeof openTestDatabase>>;
let temporal: TestWorkflowEnvironment;
let directory: string;

beforeAll(async () => {
  [connection, temporal, directory] = await Promise.all([
    openTestDatabase(),
    connectTemporal(),
    mkdtemp(join(tmpdir(), 'callboard-doctor-')),
  ]);
});
afterAll(async () => {
  await temporal.teardown();
  await connection.close();
  await rm(directory, { recursive: true, force: true });
});

const configOf = (change: Record<string, string> = {}) =>
  loadConfig({
    env: {
      OH_PERSISTENCE_DIR: directory,
      DATABASE_URL: connection.url,
      TEMPORAL_ADDRESS: required('TEST_TEMPORAL_ADDRESS'),
      TEMPORAL_NAMESPACE: temporal.namespace ?? 'default',
      AGENT_SERVER_COMMAND: '/bin/true',
      JWT_SECRET: 'a master key of these tests, long enough',
      ...change,
    },
  });

/** Findings as texts, problems and repairs marked. */
async function findings(repair: boolean, change: Record<string, string> = {}, env: NodeJS.ProcessEnv = {}) {
  const diagnosis = await diagnose({
    config: configOf(change),
    env,
    repair,
    report: () => undefined,
  });
  return {
    ...diagnosis,
    said: diagnosis.findings.map(
      ({ level, about, text, repaired }) => `${level}${repaired ? '/repaired' : ''} ${about}: ${text}`,
    ),
    problems: diagnosis.findings
      .filter(({ level, repaired }) => level === 'problem' && !repaired)
      .map(({ about }) => about),
  };
}

describe('doctor', () => {
  it('has nothing to say against a sound installation but that no worker runs', async () => {
    const { said, problems, healthy } = await findings(false);
    expect(problems).toEqual(['worker']);
    expect(healthy).toBe(false);
    expect(said.join('\n')).toMatch(/^ok PostgreSQL: version \d/m);
    expect(said.join('\n')).toMatch(/^ok Temporal: version \d/m);
    expect(said.join('\n')).toMatch(/^ok schema: is that of this version/m);
    expect(said.join('\n')).toMatch(/^ok data directory: /m);
  });

  it('says whether the agent-server can be run, or has to be installed first', async () => {
    expect((await findings(false)).said).toContain('ok agent-server: /bin/true can be run');
    const missing = await findings(false, { AGENT_SERVER_COMMAND: '/bin/no-such-program' });
    expect(missing.problems).toContain('agent-server');
    const own = { AGENT_SERVER_COMMAND: '' };
    const cache = await mkdtemp(join(directory, 'cache-'));
    const { version } = configOf(own).agentServer;
    const before = await findings(false, own, { XDG_CACHE_HOME: cache });
    expect(before.findings).toContainEqual({
      level: 'note',
      about: 'agent-server',
      text: `version ${version} is not installed for this user yet`,
      todo: expect.stringContaining('./callboard setup') as string,
    });
    await mkdir(join(cache, 'callboard', 'agent-server', version), { recursive: true });
    await writeFile(join(cache, 'callboard', 'agent-server', version, 'complete'), 'venv\n');
    const after = await findings(false, own, { XDG_CACHE_HOME: cache });
    expect(after.said).toContain(`ok agent-server: version ${version}, installed by Callboard`);
  });

  it('says so when services are down, and shows no secret', async () => {
    const diagnosis = await findings(true, {
      DATABASE_URL: 'postgres://callboard:hidden-password@127.0.0.1:9/callboard',
      TEMPORAL_ADDRESS: '127.0.0.1:9',
    });
    expect(diagnosis.problems).toEqual(['PostgreSQL', 'Temporal']);
    const everything = JSON.stringify(diagnosis);
    expect(everything).toContain('does not answer');
    expect(everything).not.toMatch(/hidden-password|master key of these tests/);
    expect(diagnosis.configuration.find(({ name }) => name === 'database.url')?.origin).toBe('DATABASE_URL');
  });

  it('finds what does not fit together, repairs what can be repaired, and finds it no more', async () => {
    const { database } = connection;
    const old = new Date(Date.now() - 3_600_000);
    const abandoned = await insertSandbox(database, { createdAt: old, updatedAt: old });
    const ofStart = await insertSandbox(database, { createdAt: old, updatedAt: old });
    const task = await insertStartTask(database, {
      status: 'PREPARING_REPOSITORY',
      sandboxId: ofStart,
      ownsSandbox: true,
      createdAt: old,
      updatedAt: old,
    });
    const conversation = await insertConversation(database, { sandboxId: abandoned });
    const homeless = await insertConversation(database, { sandboxId: newId() });
    const store = createEventStore({ directory, database });
    await store.ingest(
      conversation,
      ['a', 'b'].map((id) => incomingEvent({ id, kind: 'ActionEvent' })),
    );
    const files = join(directory, 'v1', 'events', conversation);
    const [torn = ''] = await readdir(files);
    await writeFile(join(files, torn), '{"id":');

    const before = await findings(false);
    expect(before.said).toEqual(
      expect.arrayContaining([
        expect.stringMatching(/2 have no actor, so that no order reaches them: /) as string,
        expect.stringContaining(`1 have not ended and nobody works on them: ${task}`) as string,
        expect.stringContaining(homeless) as string,
        expect.stringMatching(/keys: \d+ of \d+ encrypted texts cannot be opened/) as string,
        'problem events: 1 × a file that is empty or cut off',
      ]),
    );
    expect(await store.count({ conversationId: conversation, users: null })).toBe(2);

    const repair = await findings(true);
    expect(repair.said.filter((text) => text.startsWith('problem/repaired'))).toHaveLength(3);
    expect(await store.count({ conversationId: conversation, users: null })).toBe(1);
    expect(await new StartTaskRepository(database).read(task)).toMatchObject({
      status: 'ERROR',
      detail: expect.stringContaining('Try the start again') as string,
    });
    const { deletedAt } = (await new SandboxRepository(database).read(ofStart))!;
    expect(deletedAt).not.toBeNull();
    const told = (await temporal.client.workflow.getHandle(sandboxWorkflowId(ofStart)).fetchHistory()).events;
    expect(told?.map(({ workflowExecutionSignaledEventAttributes: signal }) => signal?.signalName)).toContain(
      'delete',
    );
    const actor = temporal.client.workflow.getHandle(sandboxWorkflowId(abandoned));
    expect((await actor.describe()).status.name).toBe('RUNNING');

    // What nobody can repair stays said: a lost row, a lost key, no worker.
    expect((await findings(false)).problems.sort()).toEqual(['conversations', 'keys', 'worker']);
    await actor.terminate();
    await temporal.client.workflow.getHandle(sandboxWorkflowId(ofStart)).terminate();
  });
});

describe('reindex', () => {
  it('says what it did, only looks with --check, and refuses what is no conversation', async () => {
    const id = await insertConversation(connection.database);
    const store = createEventStore({ directory, database: connection.database });
    await store.ingest(id, [incomingEvent({ id: 'one', kind: 'ActionEvent' })]);
    await connection.pool.query('delete from event_index where conversation_id = $1', [id]);
    const lines: string[] = [];
    const run = (check: boolean, conversation: string | null = id) =>
      runReindex({
        config: configOf(),
        conversation,
        check,
        fromStart: false,
        progress: createProgress({ write: () => true }),
        print: (line) => void lines.push(line),
        signal: new AbortController().signal,
      });
    expect(await run(true)).toBe(1);
    expect(await store.count({ conversationId: id, users: null })).toBe(0);
    expect(await run(false)).toBe(0);
    expect(lines.join('\n')).toMatch(/1 × a file without index entry: indexed/);
    expect(await store.count({ conversationId: id, users: null })).toBe(1);
    expect(await run(true)).toBe(0);
    await expect(run(false, 'nonsense')).rejects.toThrow('no id of a conversation');
    expect(await run(false, null)).toBe(0);
    expect(await readdir(join(directory, 'v1'))).not.toContain('reindex.json');
  });
});
