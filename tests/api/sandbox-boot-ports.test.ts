/** Boots whose port another program takes at the last moment: real processes, a real database. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { MockActivityEnvironment } from '@temporalio/testing';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { candidatePorts } from '../../activities/port-candidates.js';
import {
  createSandboxHostActivities,
  type SandboxHostDeps,
} from '../../activities/sandbox-host-activities.js';
import { createAgentServerClient } from '../../agent-server/client.js';
import { pickPort } from '../../cli/embedded/ports.js';
import { SandboxRepository } from '../../db/sandbox-repository.js';
import { purposes } from '../../identity/vault.js';
import { createProcessBackend } from '../../sandboxes/process-backend.js';
import { openTestDatabase } from '../support/database.js';
import { required } from '../support/environment.js';
import { buildLightAgentServer } from '../support/light-agent-server.js';
import { listen, stop } from '../support/loopback.js';
import { insertSandbox, newId } from '../support/rows.js';
import { testVault } from '../support/test-vault.js';

const ADDRESS = '127.0.0.1';
/** A program's connection to `argv[2]` that has the local port `argv[1]`, as if the system had given it that one. */
const CONNECT = `
import socket, sys
connection = socket.socket()
connection.bind(("${ADDRESS}", int(sys.argv[1])))
connection.connect(("${ADDRESS}", int(sys.argv[2])))
print("connected", flush=True)
sys.stdin.read()
`;
const logger = { info: () => undefined, warn: () => undefined };

let connection: Awaited<ReturnType<typeof openTestDatabase>>;
const elsewhere = createServer((socket) => socket.resume());
beforeAll(async () => {
  connection = await openTestDatabase();
  await listen(elsewhere);
});
afterAll(async () => {
  await stop(elsewhere);
  await connection.close();
});

describe('a boot whose port an outgoing connection takes after it was found free', () => {
  let root: string;
  let deps: SandboxHostDeps;
  let sandboxId: string;
  let outgoing: ChildProcess | undefined;

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'callboard-boot-ports-'));
    sandboxId = newId();
    // Waits before its first try until it may go on, and says nothing of a port that it cannot have.
    const command = join(root, 'agent-server');
    const light = buildLightAgentServer(root);
    await writeFile(
      command,
      `#!/bin/sh
if [ ! -e '${root}/asked' ]; then
  echo "$4" >'${root}/asking' && mv '${root}/asking' '${root}/asked'
  until [ -e '${root}/go' ]; do sleep 0.02; done
fi
exec '${light}' "$@" 2>/dev/null
`,
    );
    await chmod(command, 0o755);
    const sandboxes = new SandboxRepository(connection.database);
    deps = {
      hostId: `host-${newId()}`,
      backend: createProcessBackend({
        rootDirectory: join(root, 'sandboxes'),
        command,
        address: ADDRESS,
        logger,
        stopGraceMs: 1_000,
      }),
      sandboxes,
      vault: testVault,
      watcher: { watch: () => undefined, unwatch: () => undefined },
      agents: { answers: () => Promise.resolve(true) },
      publicSkills: { keep: () => undefined, missed: () => undefined },
      address: ADDRESS,
      ports: { first: 20_000, last: 27_999 },
      webhookBaseUrl: 'http://127.0.0.1:9/api/v1/webhooks',
      environment: {},
      startupTimeoutMs: 60_000,
      idlePauseMs: 0,
      keptFacts: { read: () => Promise.resolve(null), keep: () => Promise.resolve() },
      log: logger,
      createClient: createAgentServerClient,
    };
    await insertSandbox(connection.database, {
      id: sandboxId,
      status: 'STARTING',
      sessionApiKey: await testVault.seal(purposes.sessionKey(sandboxId), `session-${newId()}`),
      secretKey: await testVault.seal(purposes.secretKey(sandboxId), `secret-${newId()}`),
    });
  });
  afterEach(async () => {
    outgoing?.kill('SIGKILL');
    outgoing = undefined;
    await deps.backend.destroy(sandboxId, null);
    await rm(root, { recursive: true, force: true });
  });

  const boot = () =>
    new MockActivityEnvironment().run(() => createSandboxHostActivities(deps).boot(sandboxId));
  const go = () => writeFile(join(root, 'go'), '');
  const portAskedFor = async () => Number(await vi.waitFor(() => readFile(join(root, 'asked')), 90_000));

  async function takePort(port: number): Promise<void> {
    const { port: target } = elsewhere.address() as { port: number };
    const python = join(dirname(required('AGENT_SERVER_COMMAND')), '../venv/bin/python');
    outgoing = spawn(python, ['-S', '-c', CONNECT, String(port), String(target)], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    await once(outgoing.stdout!, 'data');
  }

  it('goes on with another port', async () => {
    const booted = boot();
    const lost = await portAskedFor();
    expect(await deps.sandboxes.leases(deps.hostId, sandboxId)).toMatchObject({ own: lost });
    await takePort(lost);
    await go();
    expect(await booted).toMatchObject({ outcome: 'running', hostId: deps.hostId });
    const row = await deps.sandboxes.read(sandboxId);
    const { own: port, all } = await deps.sandboxes.leases(deps.hostId, sandboxId);
    expect(port).not.toBe(lost);
    expect(row).toMatchObject({ status: 'RUNNING', agentServerUrl: `http://${ADDRESS}:${port}` });
    const alive = await fetch(`${row!.agentServerUrl}/alive`);
    expect(alive.status).toBe(200);
    // Its own again: a port that was lost is nobody's.
    expect([...all]).toEqual([port]);
  });

  it('keeps a port that it has leased from an earlier range', async () => {
    const earlier = await pickPort();
    expect(earlier).toBeGreaterThan(deps.ports.last);
    expect(await deps.sandboxes.leasePort(deps.hostId, earlier, sandboxId)).toBe(true);
    await go();
    expect(await boot()).toMatchObject({ outcome: 'running' });
    expect((await deps.sandboxes.read(sandboxId))?.agentServerUrl).toBe(`http://${ADDRESS}:${earlier}`);
  });

  it('leaves a port alone that another sandbox has leased, also while nothing listens there', async () => {
    const [wanted] = candidatePorts(deps.ports, sandboxId);
    const neighbour = newId();
    expect(await deps.sandboxes.leasePort(deps.hostId, wanted!, neighbour)).toBe(true);
    await go();
    expect(await boot()).toMatchObject({ outcome: 'running' });
    const { own, all } = await deps.sandboxes.leases(deps.hostId, sandboxId);
    expect(own).not.toBe(wanted);
    expect((await deps.sandboxes.read(sandboxId))?.agentServerUrl).toBe(`http://${ADDRESS}:${own}`);
    expect(all).toEqual(new Set([wanted, own]));
    expect((await deps.sandboxes.leases(deps.hostId, neighbour)).own).toBe(wanted);
  });

  it('gives up its earlier port when another program listens there', async () => {
    const { port: earlier } = elsewhere.address() as { port: number };
    expect(await deps.sandboxes.leasePort(deps.hostId, earlier, sandboxId)).toBe(true);
    await go();
    expect(await boot()).toMatchObject({ outcome: 'running' });
    const { own, all } = await deps.sandboxes.leases(deps.hostId, sandboxId);
    expect(own).not.toBe(earlier);
    expect((await deps.sandboxes.read(sandboxId))?.agentServerUrl).toBe(`http://${ADDRESS}:${own}`);
    expect([...all]).toEqual([own]);
  });
});
