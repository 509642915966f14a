/** A real sandbox, a real database and the activities of a start over them, without Temporal. */
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PublicSkills } from '../../activities/public-skills.js';
import type { ActivityScope } from '../../activities/start/activity-scope.js';
import type { StartPreparationDeps } from '../../activities/start/start-deps.js';
import {
  createStartPreparationActivities,
  type StartPreparationActivities,
} from '../../activities/start/start-preparation-activities.js';
import { createAgentServerClient, type AgentServerClient } from '../../agent-server/client.js';
import { hexId } from '../../contract/ids.js';
import type { GitProvider } from '../../contract/primitives.js';
import { Settings } from '../../contract/settings.js';
import { StartRequest } from '../../contract/start-task.js';
import { CallbackRepository } from '../../db/callback-repository.js';
import { ConversationRepository } from '../../db/conversation-repository.js';
import { SandboxRepository } from '../../db/sandbox-repository.js';
import { StartTaskRepository } from '../../db/start-task-repository.js';
import { AccessTokens } from '../../identity/access-token.js';
import { randomSandboxId } from '../../identity/new-sandbox.js';
import { createEventStore } from '../../events/event-store.js';
import type { ProviderToken } from '../../identity/user-context.js';
import { lookupHash, purposes, Vault } from '../../identity/vault.js';
import type { SandboxHandle } from '../../sandboxes/backend.js';
import { createProcessBackend } from '../../sandboxes/process-backend.js';
import { awaitReady } from '../../sandboxes/readiness.js';
import { openTestDatabase } from './database.js';
import { required } from './environment.js';
import { freePort, listen, originOf, stop } from './loopback.js';

export const SESSION_KEY = 'session-key-of-the-test-sandbox';
const MASTER_KEYS = [{ id: 'test', secret: new Uint8Array(32).fill(7) }];

export interface NewStart {
  request?: Partial<Record<keyof StartRequest, unknown>>;
  /** Directory of the sandbox as this start sees it; one of its own if left out. */
  workingDirectory?: string;
  secrets?: Record<string, string>;
}

export interface StagedStart {
  taskId: string;
  conversationId: string;
  sandboxId: string;
  workingDirectory: string;
}

export interface RunOptions {
  attempt?: number;
  signal?: AbortSignal;
  /** The activities find out for themselves in which activity they are. */
  inTemporal?: boolean;
  /** Replaces parts of the dependencies. */
  deps?: Partial<StartPreparationDeps>;
}

/** What tests set and read. */
export interface StartFixture {
  client: AgentServerClient;
  handle: SandboxHandle;
  /** Directory of everything the sandbox has, its home and its bash events included. */
  sandboxDirectory: string;
  /** As a user stores them; defaults are filled in. */
  settings: Record<string, unknown>;
  providerTokens: Map<GitProvider, ProviderToken>;
  customSecrets: Map<string, { value: string; description: string | null }>;
  warnings: { fields: Record<string, unknown>; message: string }[];
  heartbeats: Record<string, unknown>[];
  publicSkills: PublicSkills;
  startTasks: StartTaskRepository;
  conversations: ConversationRepository;
  callbacks: CallbackRepository;
  stage(start?: NewStart): Promise<StagedStart>;
  activities(options?: RunOptions): StartPreparationActivities;
  close(): Promise<void>;
}

export async function openStartFixture(): Promise<StartFixture> {
  const root = await mkdtemp(join(tmpdir(), 'callboard-start-'));
  const connection = await openTestDatabase();
  const { database } = connection;
  const vault = new Vault(MASTER_KEYS);
  const startTasks = new StartTaskRepository(database);
  const sandboxes = new SandboxRepository(database);
  const conversations = new ConversationRepository(database);
  const callbacks = new CallbackRepository(database);
  const events = createEventStore({ directory: join(root, 'events'), database });

  // Somebody who takes the webhooks: a dead receiver would delay every conversation.
  const receiver = createServer((request, response) => {
    request.resume().once('end', () => response.writeHead(200).end('{"success":true}'));
  });
  await listen(receiver);

  const backend = createProcessBackend({
    rootDirectory: join(root, 'sandboxes'),
    command: required('AGENT_SERVER_COMMAND'),
    address: '127.0.0.1',
    logger: { info: () => undefined, warn: () => undefined },
  });
  // Processes of a sandbox are found by its id, those of another test file too.
  const sandboxId = randomSandboxId();
  const handle = await backend.launch({
    sandboxId,
    specId: 'test',
    port: await freePort(),
    sessionApiKey: SESSION_KEY,
    secretKey: 'secret-key-of-the-test-sandbox',
    webhookBaseUrl: originOf(receiver),
    environment: {},
  });
  await awaitReady({ backend, sandboxId, handle, startupTimeoutMs: 120_000 });
  const { usable_tools: usableTools } = await createAgentServerClient({
    baseUrl: handle.url,
    sessionApiKey: SESSION_KEY,
  }).serverInfo();

  const fixture: StartFixture = {
    client: createAgentServerClient({ baseUrl: handle.url, sessionApiKey: SESSION_KEY }),
    handle,
    sandboxDirectory: join(root, 'sandboxes'),
    settings: {},
    providerTokens: new Map(),
    customSecrets: new Map(),
    warnings: [],
    heartbeats: [],
    publicSkills: new PublicSkills(),
    startTasks,
    conversations,
    callbacks,

    async stage({ request = {}, workingDirectory, secrets } = {}) {
      const taskId = hexId(randomUUID());
      const conversationId = hexId(randomUUID());
      const directory = workingDirectory ?? join(handle.workingDirectory, taskId);
      // Each start sees the one sandbox under an id of its own, so that its directory can be its own too.
      const id = `sandbox${taskId}`;
      await sandboxes.create({
        id,
        createdByUserId: null,
        specId: 'test',
        sessionApiKey: await vault.seal(purposes.sessionKey(id), SESSION_KEY),
        sessionApiKeyHash: lookupHash(id),
        secretKey: 'unused',
      });
      await sandboxes.setStatus(id, 'RUNNING', {
        handle: { ...handle },
        agentServerUrl: handle.url,
        workingDirectory: directory,
        exposedUrls: [{ name: 'AGENT_SERVER', url: handle.url, port: handle.port }],
        usableTools,
      });
      await startTasks.stage({
        taskId,
        conversationId,
        createdByUserId: null,
        request: StartRequest.parse(request),
        secrets: secrets ? await vault.seal(purposes.startSecrets(taskId), JSON.stringify(secrets)) : null,
        idempotencyKey: null,
      });
      await startTasks.accept(taskId);
      await startTasks.advance(taskId, 'WAITING_FOR_SANDBOX', { sandboxId: id });
      return { taskId, conversationId, sandboxId: id, workingDirectory: directory };
    },

    activities({ attempt = 1, signal = new AbortController().signal, deps = {}, inTemporal = false } = {}) {
      const scope: ActivityScope = {
        attempt,
        signal,
        heartbeat: (details) => fixture.heartbeats.push(details),
      };
      return createStartPreparationActivities(
        {
          startTasks,
          sandboxes,
          conversations,
          callbacks,
          events,
          vault,
          settings: { read: () => Promise.resolve(Settings.parse(fixture.settings)) },
          secrets: {
            readCustom: () => Promise.resolve(fixture.customSecrets),
            providerTokens: () => Promise.resolve(fixture.providerTokens),
          },
          accessTokens: new AccessTokens(MASTER_KEYS),
          createClient: createAgentServerClient,
          publicUrl: null,
          publicSkills: fixture.publicSkills,
          skillsDirectory: join(root, 'skills'),
          userSkillsDirectories: [],
          limits: { cloneSeconds: 60, setupScriptSeconds: 60 },
          workspaceMayHoldFiles: false,
          log: { warn: (fields, message) => void fixture.warnings.push({ fields, message }) },
          ...deps,
        },
        ...(inTemporal ? [] : [() => scope]),
      );
    },

    async close() {
      await backend.destroy(sandboxId, handle);
      await stop(receiver);
      await connection.close();
      await rm(root, { recursive: true, force: true });
    },
  };
  return fixture;
}
