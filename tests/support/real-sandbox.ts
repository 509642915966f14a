/** A process back-end with the real agent-server, in a directory of its own. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createAgentServerClient } from '../../agent-server/client.js';
import type { AgentServerClient } from '../../agent-server/client.js';
import type { SandboxBackend, SandboxHandle, SandboxLaunch } from '../../sandboxes/backend.js';
import { chooseFreePort } from '../../sandboxes/ports.js';
import { createProcessBackend } from '../../sandboxes/process-backend.js';
import { awaitReady } from '../../sandboxes/readiness.js';
import { required } from './environment.js';

export const ADDRESS = '127.0.0.1';

export interface SandboxBench {
  /** Parent of the directory `sandboxes`. */
  root: string;
  command: string;
  backend: SandboxBackend;
  /** Another back-end on the same directory, as another worker of this host has it. */
  anotherBackend(command?: string): SandboxBackend;
  /** What a launch needs, with new ids, keys and a free port. */
  newLaunch(environment?: Record<string, string>): Promise<SandboxLaunch>;
  clientOf(launch: SandboxLaunch, handle: SandboxHandle): AgentServerClient;
  /** Waits for a launched server. */
  ready(launch: SandboxLaunch, handle: SandboxHandle): Promise<void>;
  /** Ends and removes everything that was launched. */
  close(): Promise<void>;
}

/** @param forkAgentServers whether they are copies of one process */
export async function createSandboxBench(forkAgentServers = false): Promise<SandboxBench> {
  const root = await mkdtemp(join(tmpdir(), 'callboard-sandboxes-'));
  const command = required('AGENT_SERVER_COMMAND');
  const launches: SandboxLaunch[] = [];
  const anotherBackend = (other = command) =>
    createProcessBackend({
      rootDirectory: join(root, 'sandboxes'),
      command: other,
      address: ADDRESS,
      forkAgentServers,
      forksFirst: forkAgentServers,
      logger: { info: () => undefined, warn: () => undefined },
    });
  const backend = anotherBackend();
  return {
    root,
    command,
    backend,
    anotherBackend,
    async newLaunch(environment = {}) {
      const candidates = Array.from({ length: 50 }, () => 20_000 + Math.floor(Math.random() * 12_000));
      const port = await chooseFreePort(ADDRESS, candidates);
      if (port === null) throw new Error('no free port');
      const launch: SandboxLaunch = {
        sandboxId: `box-${crypto.randomUUID()}`,
        specId: '1.34.0',
        port,
        sessionApiKey: `session-${crypto.randomUUID()}`,
        secretKey: `secret-${crypto.randomUUID()}`,
        // Nobody listens at the discard port; events are read from the server itself.
        webhookBaseUrl: 'http://127.0.0.1:9/api/v1/webhooks',
        environment: { OH_WEBHOOKS_0_NUM_RETRIES: '0', ...environment },
      };
      launches.push(launch);
      return launch;
    },
    clientOf: (launch, handle) =>
      createAgentServerClient({ baseUrl: handle.url, sessionApiKey: launch.sessionApiKey }),
    ready: ({ sandboxId, sessionApiKey }, handle) =>
      awaitReady({ backend, sandboxId, handle, sessionApiKey, startupTimeoutMs: 180_000 }),
    async close() {
      for (const { sandboxId } of launches) await backend.destroy(sandboxId, null);
      await rm(root, { recursive: true, force: true });
    },
  };
}
