/**
 * The API over HTTP with a real database, a real Temporal server and the product's workflows; what happens on hosts and
 * in agent-servers is faked, its traces in SQL are real.
 */
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { pino, type Logger } from 'pino';
import { createPoolActors } from '../../activities/pool-actors.js';
import type { PoolSettings } from '../../activities/pool-plan.js';
import type { WarmPool } from '../../cli/warm-pool.js';
import { Hosts } from '../../db/hosts.js';
import { WarmSandboxes } from '../../db/warm-sandboxes.js';
import { createActors, type Actors, type ActorSettings } from '../../api/actors.js';
import { createApp } from '../../api/app.js';
import { createMessageWaker } from '../../api/message-waker.js';
import { startServer, type RunningServer } from '../../api/server.js';
import { StreamRegistry } from '../../api/start-stream.js';
import type { SandboxLimitPolicy } from '../../contract/sandbox.js';
import type { Database } from '../../db/database.js';
import { createNotificationHub, type NotificationHub } from '../../db/notifications.js';
import { PendingMessageRepository } from '../../db/pending-message-repository.js';
import { SandboxRepository } from '../../db/sandbox-repository.js';
import { StartTaskRepository } from '../../db/start-task-repository.js';
import { openTestDatabase } from './database.js';
import { FakeAgentServer } from './fake-agent-server.js';
import { FakeConversation } from './fake-conversation.js';
import { bundleWorkflows, connectTemporal } from './temporal.js';
import { callerAuth, routesOver } from './api-composition.js';
import { Conduct } from './api-conduct.js';
import { startWorkers, type Work } from './api-workers.js';

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
  /** Ids of the machines; one if left out. */
  hosts?: string[];
}

export async function openApi({
  maxSandboxesPerUser = 0,
  limitPolicy = 'pause-oldest-idle',
  warm = {},
  hosts = ['host-of-the-tests'],
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
  const pool: WarmPool = {
    specId: 'spec',
    settings: { size: 0, max: 0, maxAgeMs: 3_600_000, ...warm },
    warm: new WarmSandboxes(database),
    hosts: new Hosts(database),
    actors: createPoolActors(temporal.client, logger),
  };
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
      pool,
    }),
    auth: callerAuth,
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
    hosts,
    pool,
  };
  const [server, firstWorkers] = await Promise.all([
    startServer(app, { host: '127.0.0.1', port: 0 }),
    startWorkers(work),
    hub.listening(),
  ]);
  let workers = firstWorkers;

  return {
    pool,
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
