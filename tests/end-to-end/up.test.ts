import {
  existsSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Connection } from '@temporalio/client';
import pg from 'pg';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { findRunningInstance } from '../../cli/instance.js';
import { required } from '../support/environment.js';
import { UpProcess, lives } from '../support/up-process.js';
import { listen } from '../support/loopback.js';

let dir: string;
let started: UpProcess[];
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'callboard-up-'));
  started = [];
});
afterEach(async () => {
  for (const up of started) {
    const children = up.descendants();
    up.signal('SIGKILL');
    await up.end();
    for (const pid of children) if (lives(pid)) process.kill(pid, 'SIGKILL');
  }
  // What was orphaned by a test that failed half way.
  for (const pid of enginesOn(dir)) process.kill(pid, 'SIGKILL');
  await vi.waitFor(() => rmSync(dir, { recursive: true, force: true }), { timeout: 90_000 });
});

function up(env: NodeJS.ProcessEnv = {}): UpProcess {
  const process = new UpProcess(dir, env);
  started.push(process);
  return process;
}

/** Engines of the test run, by address. */
const given = () => ({
  DATABASE_URL: required('TEST_DATABASE_URL'),
  TEMPORAL_ADDRESS: required('TEST_TEMPORAL_ADDRESS'),
});

/** Processes whose command line names the data directory. */
function enginesOn(dataDir: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && lives(Number(name)))
    .map(Number)
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(`${dataDir}/`);
      } catch {
        return false; // it has just ended
      }
    });
}

async function query(url: string, sql: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client(url);
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(sql)).rows;
  } finally {
    await client.end();
  }
}

async function namespaces(address: string, register?: string): Promise<string[]> {
  const connection = await Connection.connect({ address });
  try {
    if (register) {
      const workflowExecutionRetentionPeriod = { seconds: 86_400 as unknown as Long };
      await connection.workflowService.registerNamespace({
        namespace: register,
        workflowExecutionRetentionPeriod,
      });
    }
    const { namespaces: found } = await connection.workflowService.listNamespaces({});
    return found.map(({ namespaceInfo }) => namespaceInfo?.name ?? '');
  } finally {
    await connection.close();
  }
}
type Long = NonNullable<
  NonNullable<
    Parameters<Connection['workflowService']['registerNamespace']>[0]['workflowExecutionRetentionPeriod']
  >['seconds']
>;

describe('callboard up', () => {
  it('keeps its state through kill -9, and stops cleanly on Ctrl-C', async () => {
    const first = up();
    const before = await first.ready();
    expect(first.output).toMatch(/✓ Temporal CLI \(\d+\.\d s\)/);
    expect(first.output).toMatch(
      /Callboard is up \(\d+\.\d s\)\.[^]*API +http:\/\/127\.0\.0\.1:1\n[^]*Test +a line of the service/,
    );
    expect(before.agentServerCommand).toEqual(['/bin/true']);
    expect(findRunningInstance(dir)).toEqual({
      apiUrl: 'http://127.0.0.1:1',
      temporalAddress: before.temporalAddress,
      temporalUiUrl: before.temporalUiUrl,
    });
    expect((await fetch(before.temporalUiUrl!)).status).toBe(200);
    await query(before.databaseUrl, "create table board as select 'act one' as line");
    await namespaces(before.temporalAddress, 'the-stage');

    first.signal('SIGKILL');
    expect(await first.end()).toBe('SIGKILL');
    expect(findRunningInstance(dir)).toBeUndefined();

    const second = up();
    const after = await second.ready();
    expect(second.output).toContain('an earlier run left behind');
    expect(after).toEqual(before);
    expect(await query(after.databaseUrl, 'select line from board')).toEqual([{ line: 'act one' }]);
    await vi.waitFor(
      async () => expect(await namespaces(after.temporalAddress)).toContain('the-stage'),
      30_000,
    );

    const children = second.descendants();
    expect(children.length).toBeGreaterThan(2);
    second.signal('SIGINT');
    expect(await second.end()).toBe(0);
    expect(second.output).toMatch(/SERVICE STOPPED[^]*engines stopped[^]*Stopped\./);
    expect(children.filter(lives)).toEqual([]);
    expect(enginesOn(dir)).toEqual([]);
    expect(existsSync(join(dir, 'up.lock'))).toBe(false);
  });

  it('refuses a second run on its data directory, and starts an engine that crashed again at the same address', async () => {
    const process_ = up();
    const { databaseUrl, temporalAddress } = await process_.ready();

    const second = up();
    expect(await second.end()).toBe(1);
    expect(second.output).toMatch(
      new RegExp(
        `^callboard: Callboard already runs on ${dir} \\(process ${process_.pid}, http://127\\.0\\.0\\.1:1\\): .*\\.\\n$`,
      ),
    );

    const postmaster = Number(
      readFileSync(join(dir, 'postgres/cluster/postmaster.pid'), 'utf8').split('\n')[0],
    );
    const temporal = (JSON.parse(readFileSync(join(dir, 'temporal/server.json'), 'utf8')) as { pid: number })
      .pid;
    process.kill(postmaster, 'SIGKILL');
    process.kill(temporal, 'SIGKILL');
    await process_.says(/PostgreSQL ended with SIGKILL; starting it again/);
    await process_.says(/Temporal ended with SIGKILL; starting it again/);
    await vi.waitFor(
      async () => expect(await query(databaseUrl, 'select 1 as one')).toEqual([{ one: 1 }]),
      30_000,
    );
    await vi.waitFor(async () => expect(await namespaces(temporalAddress)).toContain('default'), 90_000);
    process_.signal('SIGINT');
    expect(await process_.end()).toBe(0);
    expect(enginesOn(dir)).toEqual([]);
  });

  it('steps aside where an address is given', async () => {
    const process_ = up(given());
    const engines = await process_.ready();
    expect(engines).toMatchObject({
      databaseUrl: given().DATABASE_URL,
      temporalAddress: given().TEMPORAL_ADDRESS,
      temporalUiUrl: null,
    });
    expect(existsSync(join(dir, 'postgres'))).toBe(false);
    expect(existsSync(join(dir, 'temporal'))).toBe(false);
    process_.signal('SIGINT');
    expect(await process_.end()).toBe(0);
  });

  it('says at once, in one sentence, that its port is in use', async () => {
    const taken = createServer();
    const port = await listen(taken);
    const process_ = up({ PORT: String(port) });
    expect(await process_.end()).toBe(1);
    taken.close();
    expect(process_.output).toBe(
      `callboard: Port ${port} of 127.0.0.1 is in use: stop what listens there, or choose another with PORT.\n`,
    );
    expect(readdirSync(dir)).toEqual([]);
  });

  it('says which directory to move away when an engine’s files are damaged', async () => {
    const first = up();
    await first.ready();
    first.signal('SIGINT');
    await first.end();
    const database = join(dir, 'temporal/temporal.db');
    renameSync(database, `${database}.good`);
    writeFileSync(database, 'this is no database');

    const second = up();
    expect(await second.end()).toBe(1);
    expect(second.output).toMatch(
      /^callboard: Temporal cannot start from .*\/temporal \(temporal\.db is no SQLite database; .*move it away to begin without running workflows\.$/m,
    );

    renameSync(`${database}.good`, database);
    truncateSync(join(dir, 'postgres/cluster/global/pg_control'), 100);
    const third = up();
    expect(await third.end()).toBe(1);
    expect(third.output).toMatch(
      /^callboard: PostgreSQL cannot start from .*\/postgres\/cluster \(.+; its log is .*\/logs\/postgres\.log\).*move it away to begin with an empty database\.$/m,
    );
    expect(enginesOn(dir)).toEqual([]);
  });

  it('begins anew where a first start was interrupted while it made the database', async () => {
    const first = up();
    await vi.waitFor(() => statSync(join(dir, 'postgres/cluster.unfinished')), {
      timeout: 90_000,
      interval: 5,
    });
    first.signal('SIGKILL');
    await first.end();
    const second = up();
    const { databaseUrl } = await second.ready();
    expect(await query(databaseUrl, 'select 1 as one')).toEqual([{ one: 1 }]);
  });

  it('stops its engines when a service does not start', async () => {
    const process_ = up({ UP_TEST_SERVICE: 'fail' });
    expect(await process_.end()).toBe(1);
    expect(process_.output).toMatch(/Stopped\.\ncallboard: The test service does not start: let it\.\n$/);
    expect(enginesOn(dir)).toEqual([]);
  });

  it('ends with the reason when a service ends by itself', async () => {
    const process_ = up({ ...given(), UP_TEST_SERVICE: 'end' });
    expect(await process_.end()).toBe(1);
    expect(process_.output).toContain(
      'callboard: test service does not run any more (out of luck): start Callboard again.',
    );
    expect(enginesOn(dir)).toEqual([]);
  });

  it('ends at once at the second signal, and its engines end after it', async () => {
    const process_ = up({ UP_TEST_SERVICE: 'hang' });
    await process_.ready();
    process_.signal('SIGINT');
    await process_.says(/Stopping Callboard/);
    process_.signal('SIGINT');
    expect(await process_.end()).toBe(130);
    await vi.waitFor(() => expect(enginesOn(dir)).toEqual([]), 90_000);
  });
});
