import { join } from 'node:path';
import type { Logger } from 'pino';
import type { PublicSkills } from '../activities/public-skills.js';
import type { SandboxActors } from '../activities/sandbox-actors.js';
import { createSandboxAgents } from '../activities/sandbox-agents.js';
import {
  createSandboxHostActivities,
  type SandboxHostActivities,
} from '../activities/sandbox-host-activities.js';
import {
  createHostSweepActivities,
  type HostSweepActivities,
} from '../activities/sandbox-sweep-activities.js';
import { createSandboxSleepActivities } from '../activities/sandbox-sleep-activities.js';
import { createAgentServerClient } from '../agent-server/client.js';
import type { Config } from '../config/config.js';
import { SandboxConversations } from '../db/sandbox-conversations.js';
import { thingOf, type SandboxBackend } from '../sandboxes/backend.js';
import { keptFacts } from '../sandboxes/agent-server-facts.js';
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
  publicSkills: PublicSkills;
  internalUrl: string;
  logger: Logger;
}

/** How long an answer to the liveness question may take, in milliseconds. */
const LIVENESS_MS = 10_000;
const LIVENESS_EVERY_MS = 20_000;
/** Two minutes without any answer: on a crowded machine a working agent-server may miss a few questions. */
const LIVENESS_PATIENCE = 6;

export function openSandboxHost(start: SandboxHostStart): SandboxHost {
  const { config, core, actors, hostId, logger } = start;
  const command = start.agentServerCommand.join(' ');
  const backend = createProcessBackend({
    rootDirectory: join(config.data.hostDirectory, 'sandboxes'),
    command,
    address: config.sandboxes.address,
    logger,
    forkAgentServers: config.sandboxes.forkAgentServers,
  });
  const watcher = createHostWatcher({
    backend,
    onChange: async (sandboxId, change, handle) => {
      if (change.state === 'silent')
        logger.error({ sandboxId }, 'an agent-server has not answered for minutes');
      await actors.observe(sandboxId, { ...change, thing: thingOf(handle) });
    },
    liveness: {
      isAnswering: ({ url: baseUrl }) =>
        createAgentServerClient({ baseUrl, sessionApiKey: null }).alive({ timeoutMs: LIVENESS_MS }),
      everyMs: LIVENESS_EVERY_MS,
      patience: LIVENESS_PATIENCE,
    },
    onError: (err, sandboxId) => logger.warn({ err, sandboxId }, 'a sandbox could not be looked at'),
  });
  const { sandboxes, vault } = core;
  const conversations = new SandboxConversations(core.connection.database);
  const idlePauseMs = config.sandboxes.idlePauseMinutes * 60_000;
  const createClient = createAgentServerClient;
  const agents = createSandboxAgents({ conversations, vault, createClient, logger });
  const environment = Object.fromEntries(
    Object.entries(config.agentServer.environment).map(([name, value]) => [name, value.reveal()]),
  );
  const activities = createSandboxHostActivities({
    hostId,
    backend,
    watcher,
    agents,
    publicSkills: start.publicSkills,
    sandboxes,
    vault,
    address: config.sandboxes.address,
    ports: config.sandboxes.portRange,
    webhookBaseUrl: `${start.internalUrl}/api/v1/webhooks`,
    environment,
    keptFacts: keptFacts({
      file: join(config.data.hostDirectory, 'agent-server.json'),
      command,
      environment,
    }),
    startupTimeoutMs: config.sandboxes.startupTimeoutSeconds * 1000,
    idlePauseMs,
    log: logger,
    createClient,
  });
  const sleep = createSandboxSleepActivities({
    backend,
    sandboxes,
    conversations,
    agents,
    watcher,
    idlePauseMs,
  });
  const sweep = createHostSweepActivities({
    hostId,
    backend,
    sandboxes: core.hostSandboxes,
    watcher,
    actors,
    logger,
  });
  return { backend, watcher, activities: { ...activities, ...sleep, ...sweep } };
}
