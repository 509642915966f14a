import { join } from 'node:path';
import type { Logger } from 'pino';
import type { SandboxActors } from '../activities/sandbox-actors.js';
import {
  createSandboxHostActivities,
  type SandboxHostActivities,
} from '../activities/sandbox-host-activities.js';
import {
  createHostSweepActivities,
  type HostSweepActivities,
} from '../activities/sandbox-sweep-activities.js';
import { createAgentServerClient } from '../agent-server/client.js';
import type { Config } from '../config/config.js';
import type { SandboxBackend } from '../sandboxes/backend.js';
import { createHostWatcher, type HostWatcher } from '../sandboxes/host-watcher.js';
import { createProcessBackend } from '../sandboxes/process-backend.js';
import type { Core } from './core.js';

/** This machine as an owner of sandboxes. */
export interface SandboxHost {
  backend: SandboxBackend;
  watcher: HostWatcher;
  activities: SandboxHostActivities & HostSweepActivities;
}

export interface SandboxHostStart {
  config: Config;
  core: Core;
  actors: SandboxActors;
  hostId: string;
  agentServerCommand: readonly string[];
  internalUrl: string;
  logger: Logger;
}

export function openSandboxHost(start: SandboxHostStart): SandboxHost {
  const { config, core, actors, hostId, logger } = start;
  const backend = createProcessBackend({
    rootDirectory: join(config.data.hostDirectory, 'sandboxes'),
    command: start.agentServerCommand.join(' '),
    address: config.sandboxes.address,
    logger,
  });
  const watcher = createHostWatcher({
    backend,
    onChange: (sandboxId, condition) => actors.observe(sandboxId, condition),
    onError: (err, sandboxId) => logger.warn({ err, sandboxId }, 'a sandbox could not be looked at'),
  });
  const activities = createSandboxHostActivities({
    hostId,
    backend,
    watcher,
    sandboxes: core.sandboxes,
    vault: core.vault,
    address: config.sandboxes.address,
    ports: config.sandboxes.portRange,
    webhookBaseUrl: `${start.internalUrl}/api/v1/webhooks`,
    environment: Object.fromEntries(
      Object.entries(config.agentServer.environment).map(([name, value]) => [name, value.reveal()]),
    ),
    startupTimeoutMs: config.sandboxes.startupTimeoutSeconds * 1000,
    log: logger,
    createClient: createAgentServerClient,
  });
  const { sandboxes } = core;
  const sweep = createHostSweepActivities({ hostId, backend, sandboxes, watcher, actors, logger });
  return { backend, watcher, activities: { ...activities, ...sweep } };
}
