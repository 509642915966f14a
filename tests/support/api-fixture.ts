/**
 * The API over HTTP with a real database, a real Temporal server and the product's workflows; what happens on hosts and
 * in agent-servers is faked, its traces in SQL are real.
 */
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { Context } from '@temporalio/activity';
import { ApplicationFailure } from '@temporalio/common';
import type { Worker } from '@temporalio/worker';
import { pino, type Logger } from 'pino';
import { createConversationActors } from '../../activities/messages/conversation-actors.js';
import { createMessageActivities } from '../../activities/messages/message-activities.js';
import { createSandboxActors } from '../../activities/sandbox-actors.js';
import { createMaintenanceActivities } from '../../activities/maintenance-activities.js';
import { createMaintenanceActors } from '../../activities/maintenance-actors.js';
import { createActorSweepActivities } from '../../activities/sandbox-sweep-activities.js';
import { createSandboxRowActivities } from '../../activities/sandbox-row-activities.js';
import { createPoolActors } from '../../activities/pool-actors.js';
import type { PoolSettings } from '../../activities/pool-plan.js';
import { createSandboxPoolActivities } from '../../activities/sandbox-pool-activities.js';
import { createWarmClaim } from '../../activities/start/warm-claim.js';
import type { WarmPool } from '../../cli/warm-pool.js';
import { WarmSandboxes } from '../../db/warm-sandboxes.js';
import { createSandboxSteps } from '../../activities/start-conversation-activities.js';
import { createStartTaskActivities } from '../../activities/start-task-activities.js';
import { awaitWorkflowEnd } from '../../activities/workflow-state.js';
import { createAgentServerClient } from '../../agent-server/client.js';
import { createActors, type Actors, type ActorSettings } from '../../api/actors.js';
import { createAgentServerAccess } from '../../api/agent-server-access.js';
import { appConversationRoutes } from '../../api/app-conversation-routes.js';
import { createApp } from '../../api/app.js';
import { createConversationCommands } from '../../api/conversation-commands.js';
import { createConversationViews } from '../../api/conversation-view.js';
import type { ConversationWaker } from '../../api/conversation-waker.js';
import { legacyConversationShims } from '../../api/legacy/conversation-shims.js';
import { createOpenPullRequests } from '../../api/legacy/open-pull-requests.js';
import { createLiveStatus } from '../../api/live-status.js';
import { createMessageQueue } from '../../api/message-queue.js';
import { createMessageWaker } from '../../api/message-waker.js';
import { pendingMessageRoutes } from '../../api/pending-message-routes.js';
import { createSandboxLimit } from '../../api/sandbox-limit.js';
import { createSandboxOrders } from '../../api/sandbox-orders.js';
import { sandboxRoutes } from '../../api/sandbox-routes.js';
import { createSendMessage, sendMessageRoutes } from '../../api/send-message-route.js';
import { startServer, type RunningServer } from '../../api/server.js';
import { createRetryCommand } from '../../api/retry-command.js';
import { createStartCommand } from '../../api/start-command.js';
import { startRoutes } from '../../api/start-routes.js';
import { StreamRegistry } from '../../api/start-stream.js';
import { createStartTaskFeed } from '../../api/start-task-feed.js';
import { startTaskRoutes } from '../../api/start-task-routes.js';
import { hostTaskQueue, PLACEMENT_TASK_QUEUE, startTaskWorkflowId, TASK_QUEUE } from '../../contract/ids.js';
import { CallbackRepository } from '../../db/callback-repository.js';
import type { SandboxLimitPolicy } from '../../contract/sandbox.js';
import { ConversationDeletion } from '../../db/conversation-deletion.js';
import { ConversationReadModel } from '../../db/conversation-read-model.js';
import { ConversationRepository } from '../../db/conversation-repository.js';
import type { Database } from '../../db/database.js';
import { createNotificationHub, type NotificationHub } from '../../db/notifications.js';
import { PendingMessageRepository } from '../../db/pending-message-repository.js';
import { MaintenanceRepository } from '../../db/maintenance-repository.js';
import { SandboxSlots, type SandboxSlotSettings } from '../../db/sandbox-slots.js';
import { SandboxReadModel } from '../../db/sandbox-read-model.js';
import { SandboxRequests } from '../../db/sandbox-requests.js';
import { HostSandboxes } from '../../db/host-sandboxes.js';
import { SandboxRepository } from '../../db/sandbox-repository.js';
import { SandboxRelease } from '../../db/start-release.js';
import { StartRetries } from '../../db/start-retry.js';
import { StartTaskReadModel } from '../../db/start-task-read-model.js';
import { StartTaskRepository } from '../../db/start-task-repository.js';
import { ProviderNotConnected } from '../../git-providers/provider-error.js';
import { NO_TOKENS, Unauthenticated, type AuthStrategy } from '../../identity/auth-strategy.js';
import { createSandboxRow } from '../../identity/new-sandbox.js';
import { Vault } from '../../identity/vault.js';
import { openTestDatabase } from './database.js';
import { FakeAgentServer } from './fake-agent-server.js';
import { FakeConversation } from './fake-conversation.js';
import { bundleWorkflows, connectTemporal, createTestWorker } from './temporal.js';

export const testVault = new Vault([{ id: 'test', secret: new Uint8Array(32).fill(7) }]);
const HOST = 'host-of-the-tests';
/** How long sending a message waits for its delivery, in milliseconds. */
const MESSAGE_LIMIT_MS = 8_000;
const limits = { cloneSeconds: 60, setupScriptSeconds: 60 };

/** Callers name themselves; without a name nobody is anybody. */
const auth: AuthStrategy = {
  authenticate: (headers) => {
    const userId = (headers['x-test-user'] as string | undefined) ?? null;
    return Promise.resolve({ userId, authType: userId === null ? 'none' : 'bearer', tokens: NO_TOKENS });
  },
};

/** What tests do to starts and sandboxes that are under way. */
export class Conduct {
  /** Phases of starts that wait until they are taken out again. */
  readonly held = new Set<string>();
  failing: string | null = null;
  /** Starts whose conversations were taken out of their sandboxes. */
  readonly discarded: string[] = [];
  /** Sandboxes in which an agent works. */
  readonly working = new Set<string>();
  /** Users whose sessions have ended, as streams that are open learn of it. */
  readonly signedOut = new Set<string>();
  /** Fails the boots of sandboxes with this reason. */
  failBoot: string | null = null;
  /** Sandboxes in the order in which they were booted. */
  readonly booted: string[] = [];
  /** Sandboxes whose things were removed. */
  readonly destroyed: string[] = [];
  /** Memory that the pool of warm sandboxes believes to be free, in bytes. */
  freeMemory = 64 * 1024 ** 3;

  async phase(name: string): Promise<void> {
    while (this.held.has(name)) {
      Context.current().heartbeat();
      await Context.current().sleep(20);
    }
    if (this.failing === name) throw ApplicationFailure.nonRetryable(`${name} failed`, 'Failed');
  }
}

export interface ApiFixture {
  url: string;
  database: Database;
  temporal: TestWorkflowEnvironment;
  conduct: Conduct;
  pool: WarmPool;
  agentServer: FakeAgentServer;
  deletions: FakeConversation;
  streams: StreamRegistry;
  hub: NotificationHub;
  starts: StartTaskRepository;
  sandboxes: SandboxRepository;
  /** Log lines of warnings and errors. */
  logged: string[];
  /** What the API calls; tests replace a method to make it fail. */
  actors: Actors;
  call<Body = unknown>(method: string, path: string, options?: CallOptions): Promise<Answer<Body>>;
  /** Stops the worker; orders and starts wait from now on. */
  stopWorker(): Promise<void>;
  /** Starts another worker after the first was stopped. */
  startWorker(): Promise<void>;
  close(): Promise<void>;
}

export interface CallOptions {
  user?: string;
  body?: unknown;
  headers?: Record<string, string>;
}

export interface Answer<Body> {
  status: number;
  body: Body;
  headers: Headers;
}

/** Made once per test file, whatever number of APIs it opens. */
let bundle: ReturnType<typeof bundleWorkflows> | undefined;

export interface ApiSettings extends ActorSettings {
  maxSandboxesPerUser?: number;
  limitPolicy?: SandboxLimitPolicy;
  /** How many sandboxes are kept warm; the pool begins with the first start, or when it is woken. */
  warm?: Partial<PoolSettings>;
}

export async function openApi({
  maxSandboxesPerUser = 0,
  limitPolicy = 'pause-oldest-idle',
  warm = {},
  ...settings
}: ApiSettings = {}): Promise<ApiFixture> {
  const [connection, temporal, workflowBundle, agentServer] = await Promise.all([
    openTestDatabase(),
    connectTemporal(),
    (bundle ??= bundleWorkflows()),
    new FakeAgentServer().listen(),
  ]);
  const { database } = connection;
  const slots = { maxPerUser: maxSandboxesPerUser, policy: limitPolicy };
  const logged: string[] = [];
  const logger: Logger = pino({ level: 'warn' }, { write: (line: string) => void logged.push(line) });
  const hub = createNotificationHub({ url: connection.url, logger });
  const streams = new StreamRegistry();
  const conduct = new Conduct();
  const deletions = new FakeConversation();
  const starts = new StartTaskRepository(database);
  const sandboxes = new SandboxRepository(database);
  const actors = createActors(temporal.client, settings);
  const messageWaker = createMessageWaker({
    client: temporal.client,
    messages: new PendingMessageRepository(database),
    hub,
    logger,
  });
  const { app } = createApp({
    routes: routesOver({
      database,
      logger,
      hub,
      streams,
      messageWaker,
      actors,
      slots,
      conduct,
    }),
    auth,
    logger,
    server: { corsOrigins: [], instanceKey: null, publicUrl: null, bodyLimitBytes: 16_777_216 },
  });
  const work: Work = {
    temporal,
    workflowBundle,
    database,
    conduct,
    agentServer,
    deletions,
    slots,
    pool: {
      specId: 'spec',
      settings: { size: 0, max: 0, parallelBoots: 4, maxAgeMs: 3_600_000, ...warm },
      warm: new WarmSandboxes(database),
      actors: createPoolActors(temporal.client, logger),
    },
  };
  const [server, firstWorkers] = await Promise.all([
    startServer(app, { host: '127.0.0.1', port: 0 }),
    startWorkers(work),
    hub.listening(),
  ]);
  let workers = firstWorkers;

  return {
    pool: work.pool,
    url: server.url,
    database,
    temporal,
    conduct,
    agentServer,
    deletions,
    streams,
    hub,
    starts,
    sandboxes,
    logged,
    actors,
    call: (method, path, options) => call(server, method, path, options),
    stopWorker: () => workers.stop(),
    async startWorker() {
      workers = await startWorkers(work);
    },
    async close() {
      messageWaker.close();
      await server.close(1_000);
      await workers.stop();
      await Promise.all([hub.stop(), temporal.teardown(), agentServer.close()]);
      await connection.close();
    },
  };
}

interface Composition {
  database: Database;
  logger: Logger;
  hub: NotificationHub;
  streams: StreamRegistry;
  messageWaker: ConversationWaker;
  actors: Actors;
  slots: SandboxSlotSettings;
  conduct: Conduct;
}

/** As the product's composition root does it. */
function routesOver({ database, logger, hub, streams, messageWaker, actors, slots, conduct }: Composition) {
  const vault = testVault;
  const conversations = new ConversationReadModel(database);
  const rows = new ConversationRepository(database);
  const tasks = new StartTaskReadModel(database);
  const sandboxes = new SandboxRepository(database);
  const sandboxList = new SandboxReadModel(database);
  const queue = createMessageQueue({
    messages: new PendingMessageRepository(database),
    hub,
    waker: messageWaker,
    streams,
  });
  const agentServers = createAgentServerAccess({ vault, connect: createAgentServerClient, logger });
  const views = createConversationViews({
    agentServers,
    liveStatus: createLiveStatus({ agentServers, logger, limitMs: 500, freshForMs: 0 }),
  });
  const starts = new StartTaskRepository(database);
  const start = createStartCommand({
    vault,
    starts,
    tasks,
    conversations,
    conversationRows: rows,
    actors,
  });
  const commands = createConversationCommands({
    conversations,
    rows,
    deletion: new ConversationDeletion(database),
    actors,
    agentServers,
    logger,
  });
  const sendMessage = createSendMessage({ conversations, tasks, queue, limitMs: MESSAGE_LIMIT_MS });
  const limit = createSandboxLimit({ slots: new SandboxSlots(database, slots), actors, logger });
  return [
    ...appConversationRoutes({ conversations, views, commands }),
    ...legacyConversationShims({
      conversations,
      tasks,
      views,
      commands,
      start,
      sendMessage,
      orders: createSandboxOrders({ list: sandboxList, actors, limit }),
      agentServers,
      openPullRequests: createOpenPullRequests({
        providersOf: () => ({ client: () => Promise.reject(new ProviderNotConnected(null)) }),
        logger,
      }),
    }),
    ...startRoutes({ start, stream: { tasks, hub, streams, logger } }),
    ...startTaskRoutes({
      tasks,
      retry: createRetryCommand({ vault, starts, tasks, actors, retries: new StartRetries(database) }),
      stream: {
        tasks,
        feed: createStartTaskFeed({ tasks, hub, logger }),
        streams,
        auth: {
          authenticate: (headers) =>
            conduct.signedOut.has(String(headers['x-test-user']))
              ? Promise.reject(new Unauthenticated())
              : auth.authenticate(headers),
        },
        logger,
        heartbeatMs: 100,
      },
    }),
    ...sendMessageRoutes({ sendMessage }),
    ...pendingMessageRoutes({
      conversations,
      tasks,
      queue,
      messages: new PendingMessageRepository(database),
    }),
    ...sandboxRoutes({
      vault,
      sandboxes,
      requests: new SandboxRequests(database),
      list: sandboxList,
      limit,
      actors,
      agentServers,
      specs: {
        exists: (specId) => Promise.resolve(specId === 'spec' || specId === 'other spec'),
        defaultFor: () => Promise.resolve('spec'),
      },
    }),
  ];
}

interface Work {
  temporal: TestWorkflowEnvironment;
  workflowBundle: Awaited<ReturnType<typeof bundleWorkflows>>;
  database: Database;
  conduct: Conduct;
  agentServer: FakeAgentServer;
  deletions: FakeConversation;
  slots: SandboxSlotSettings;
  pool: WarmPool;
}

async function startWorkers(work: Work): Promise<{ stop(): Promise<void> }> {
  const { temporal, workflowBundle } = work;
  const host = hostActivities(work);
  const workers: Worker[] = await Promise.all([
    createTestWorker(temporal, {
      taskQueue: TASK_QUEUE,
      workflowBundle,
      activities: generalActivities(work),
    }),
    createTestWorker(temporal, { taskQueue: PLACEMENT_TASK_QUEUE, activities: host }),
    createTestWorker(temporal, { taskQueue: hostTaskQueue(HOST), activities: host }),
  ]);
  const runs = workers.map((worker) => worker.run());
  let stopped: Promise<unknown> | null = null;
  return {
    async stop() {
      if (!stopped) {
        for (const worker of workers) worker.shutdown();
        stopped = Promise.all(runs);
      }
      await stopped;
    },
  };
}

/** SQL steps are the product's; the phases that need an agent-server do nothing, or what the test says. */
function generalActivities({ temporal, database, conduct, deletions, slots, pool }: Work) {
  const startTasks = new StartTaskRepository(database);
  const sandboxes = new SandboxRepository(database);
  const conversations = new ConversationRepository(database);
  const messages = new PendingMessageRepository(database);
  const actors = createSandboxActors(temporal.client);
  const logger = pino({ level: 'silent' });
  const sandboxSteps = createSandboxSteps({
    actors,
    sandboxes,
    release: new SandboxRelease(database),
    startTasks,
    awaitStartEnd: (taskId, signal) => awaitWorkflowEnd(temporal.client, startTaskWorkflowId(taskId), signal),
    slots: new SandboxSlots(database, slots),
  });
  const agentServerUrlOf = async (taskId: string): Promise<string | undefined> => {
    const task = await startTasks.read(taskId);
    const row = task?.sandboxId ? await sandboxes.read(task.sandboxId) : null;
    return row?.agentServerUrl ?? undefined;
  };
  const phases = {
    prepareRepository: async () => {
      await conduct.phase('prepareRepository');
      return { hasSetupScript: false, hasPreCommitHook: false };
    },
    prepareSkills: () => conduct.phase('prepareSkills'),
    async createConversation(taskId: string) {
      await conduct.phase('createConversation');
      const task = await startTasks.read(taskId);
      if (!task?.sandboxId) throw new Error('the start has no sandbox');
      const { request } = task;
      await conversations.createFromStart({
        id: task.conversationId,
        createdByUserId: task.createdByUserId,
        sandboxId: task.sandboxId,
        selectedRepository: request.selected_repository,
        selectedBranch: request.selected_branch,
        gitProvider: request.git_provider,
        trigger: request.trigger,
        prNumber: request.pr_number,
        parentConversationId: request.parent_conversation_id,
        public: request.public,
        llmModel: request.llm_model,
        tags: {},
        agentKind: 'openhands',
        workingDirectory: null,
        createdAt: task.createdAt,
      });
      return { agentServerUrl: task.agentServerUrl ?? '', conversationId: task.conversationId };
    },
  };
  return {
    ...createActorSweepActivities({ sandboxes: new HostSandboxes(database), actors, logger }),
    ...createMaintenanceActivities({
      maintenance: new MaintenanceRepository(database),
      startTasks,
      callbacks: new CallbackRepository(database),
      actors: createMaintenanceActors(temporal.client),
      compensation: {
        releaseSandbox: (sandboxId) => sandboxSteps.releaseSandbox(sandboxId),
        discardConversation: async (taskId) => void conduct.discarded.push(taskId),
      },
      retryHours: 24,
      keepDays: 90,
      logger,
    }),
    ...deletions.activities,
    ...createMessageActivities({
      messages,
      conversations,
      sandboxes,
      startTasks,
      vault: testVault,
      actors: createSandboxActors(temporal.client),
      conversationActors: createConversationActors(temporal.client),
      makeRoomFor: () => Promise.resolve(),
      createClient: createAgentServerClient,
      log: { warn: () => undefined },
      arrivalTimes: { quiet: 300, look: 20 },
    }),
    ...createSandboxRowActivities({ sandboxes, idlePauseMs: 0 }),
    catchUpSandbox: () => Promise.resolve(),
    ...createStartTaskActivities({
      database,
      startTasks,
      sandboxes,
      messages,
      limits,
      keepSecretsOfFailed: true,
      defaultSpecId: 'spec',
      newSandbox: (sandbox) => createSandboxRow({ vault: testVault, sandboxes }, sandbox),
      groupingStrategy: () => Promise.resolve('NO_GROUPING'),
      ...(pool.settings.size > 0
        ? {
            takeWarm: createWarmClaim({
              specId: pool.specId,
              warm: pool.warm,
              startTasks,
              slots: new SandboxSlots(database, slots),
              actors,
              isAnswering: (baseUrl, timeoutMs) =>
                createAgentServerClient({ baseUrl, sessionApiKey: null }).alive({ timeoutMs }),
              wakePool: () => pool.actors.wakeSoon(pool.specId),
              logger,
            }),
          }
        : {}),
    }),
    ...createSandboxPoolActivities({
      ...pool,
      sandboxes,
      actors,
      newSandbox: (sandbox) => createSandboxRow({ vault: testVault, sandboxes }, sandbox),
      availableMemory: () => conduct.freeMemory,
      isAnswering: (baseUrl, timeoutMs) =>
        createAgentServerClient({ baseUrl, sessionApiKey: null }).alive({ timeoutMs }),
      logger,
    }),
    ...sandboxSteps,
    ...phases,
    async startBare(taskId: string) {
      const { status } = (await startTasks.read(taskId)) ?? { status: 'ERROR' };
      if (status === 'WAITING_FOR_SANDBOX' || status === 'PREPARING_REPOSITORY') {
        await startTasks.passThrough(taskId, ['PREPARING_REPOSITORY']);
        await phases.prepareRepository();
      }
      await startTasks.passThrough(taskId, [
        'RUNNING_SETUP_SCRIPT',
        'SETTING_UP_GIT_HOOKS',
        'SETTING_UP_SKILLS',
      ]);
      await phases.prepareSkills();
      await startTasks.passThrough(taskId, ['STARTING_CONVERSATION'], {
        agentServerUrl: await agentServerUrlOf(taskId),
      });
      const { conversationId } = await phases.createConversation(taskId);
      return { conversationId };
    },
    discardConversation: async (taskId: string) => void conduct.discarded.push(taskId),
  };
}

/** A host whose sandboxes all lead to the one fake agent-server. */
function hostActivities({ database, conduct, agentServer }: Work) {
  const sandboxes = new SandboxRepository(database);
  return {
    async boot(sandboxId: string) {
      await sandboxes.claimHost(sandboxId, HOST);
      conduct.booted.push(sandboxId);
      await conduct.phase('boot');
      if (conduct.failBoot) throw ApplicationFailure.nonRetryable(conduct.failBoot, 'SandboxExited');
      await sandboxes.setStatus(sandboxId, 'RUNNING', {
        agentServerUrl: agentServer.url,
        exposedUrls: [{ name: 'AGENT_SERVER', url: agentServer.url, port: agentServer.port }],
      });
      return { outcome: 'running' as const, hostId: HOST };
    },
    suspend: async (sandboxId: string, { mode }: { mode: string }) => {
      await conduct.phase('suspend');
      return { state: mode !== 'ordered' && conduct.working.has(sandboxId) ? 'busy' : 'paused' };
    },
    awaken: () => Promise.resolve({ state: 'running' as const }),
    async destroy(sandboxId: string) {
      await conduct.phase('destroy');
      conduct.destroyed.push(sandboxId);
    },
    sweepHost: () => Promise.resolve({ orphansRemoved: 0 }),
  };
}

async function call<Body>(
  server: RunningServer,
  method: string,
  path: string,
  { user, body, headers }: CallOptions = {},
): Promise<Answer<Body>> {
  const response = await fetch(`${server.url}${path}`, {
    method,
    headers: {
      ...(user === undefined ? {} : { 'x-test-user': user }),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...headers,
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  const json = response.headers.get('content-type')?.startsWith('application/json');
  return {
    status: response.status,
    headers: response.headers,
    body: (json ? JSON.parse(text) : text) as Body,
  };
}
