import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { SandboxBackend } from '../../../sandboxes/backend.js';
import { chooseFreePort } from '../../../sandboxes/ports.js';
import { createProcessBackend } from '../../../sandboxes/process-backend.js';
import { BOOTED_SANDBOX_BYTES, FORKED_SANDBOX_BYTES } from '../../../sandboxes/sandbox-memory.js';

const WITHIN = { timeout: 180_000, interval: 20 };
let root: string;
let end: (() => Promise<void>)[];

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'callboard-memory-'));
  end = [];
});
afterEach(async () => {
  for (const one of end) await one();
  await rm(root, { recursive: true, force: true });
});

/** A stand-in for what the installer makes, which does that where it has to make copies, and sleeps as an agent-server. */
async function installed(forkServer: string, head = '# Starts the agent-server 1.'): Promise<string> {
  const module = join(root, 'venv/lib/python3.12/site-packages/openhands/agent_server');
  await mkdir(module, { recursive: true });
  await writeFile(join(module, '__main__.py'), '"--extra-python-path" "--import-modules"');
  await mkdir(join(root, 'bin'));
  const command = join(root, 'bin/agent-server');
  const text = `case "$*" in *callboard_fork_server*) ${forkServer};; *) exec sleep 600;; esac`;
  await writeFile(command, `#!/bin/sh\n${head}\n${text}\n`);
  await chmod(command, 0o755);
  return command;
}

const open = (command: string, forkAgentServers = true): SandboxBackend =>
  createProcessBackend({
    rootDirectory: join(root, 'sandboxes'),
    command,
    address: '127.0.0.1',
    forkAgentServers,
    forksFirst: true,
    stopGraceMs: 1_000,
    logger: { info: () => undefined, warn: () => undefined },
  });

async function launch(backend: SandboxBackend): Promise<void> {
  const sandboxId = `box-${crypto.randomUUID()}`;
  end.push(() => backend.destroy(sandboxId, null));
  await backend.launch({
    sandboxId,
    specId: '1',
    port: (await chooseFreePort('127.0.0.1', [20_000 + Math.floor(Math.random() * 10_000), 0]))!,
    sessionApiKey: 'session',
    secretKey: 'secret',
    webhookBaseUrl: 'http://127.0.0.1:9/api/v1/webhooks',
    environment: {},
    isAhead: true,
  });
}

describe('what a sandbox is expected to take', () => {
  const READY = `printf '{"ready":true}\\n' >&3; read -r _`;
  it.each([
    ['copies are not wanted', READY, undefined, false],
    ['the command is somebody else’s', READY, '# Starts something', true],
    ['what was imported cannot be copied', `printf '{"unsuitable":"it keeps"}\\n' >&3`, undefined, true],
    ['the process that makes copies fails', 'exit 3', undefined, true],
  ])('is an agent-server that has booted where %s', async (_, forkServer, head, forkAgentServers) => {
    const backend = open(await installed(forkServer, head), forkAgentServers);
    expect(backend.expectedMemory()).toBe(BOOTED_SANDBOX_BYTES);
    await launch(backend);
    expect(backend.expectedMemory()).toBe(BOOTED_SANDBOX_BYTES);
  });

  it('is less for as long as the process is there of which sandboxes are copies', async () => {
    const backend = open(
      await installed(`${READY}; while [ ! -e ${join(root, 'end')} ]; do sleep 0.1; done`),
    );
    expect(backend.expectedMemory()).toBe(BOOTED_SANDBOX_BYTES);
    const launching = launch(backend);
    await vi.waitFor(() => expect(backend.expectedMemory()).toBe(FORKED_SANDBOX_BYTES), WITHIN);
    await writeFile(join(root, 'end'), '');
    await launching;
    expect(backend.expectedMemory()).toBe(BOOTED_SANDBOX_BYTES);
  });
});
