import { Client, type Connection } from '@temporalio/client';
import type { Logger } from 'pino';
import { createActors } from '../api/actors.js';
import { createApp } from '../api/app.js';
import { createConversationWaker, signalConversation } from '../api/conversation-waker.js';
import { sandboxSources } from '../api/frontend/content-policy.js';
import { createFrontend } from '../api/frontend/frontend.js';
import { createGateway } from '../api/gateway/gateway.js';
import { createLostEvents } from '../api/lost-events.js';
import { createMessageQueue } from '../api/message-queue.js';
import { createMessageWaker } from '../api/message-waker.js';
import { startServer } from '../api/server.js';
import { ServerMonitor } from '../api/server-info.js';
import { StreamRegistry } from '../api/start-stream.js';
import { WrongKeys } from '../api/wrong-keys.js';
import type { Config } from '../config/config.js';
import type { SecretMasker } from '../contract/secret-masker.js';
import { CallbackRepository } from '../db/callback-repository.js';
import { ConversationReadModel } from '../db/conversation-read-model.js';
import { LostEventReadModel } from '../db/lost-event-read-model.js';
import { createNotificationHub } from '../db/notifications.js';
import { PendingMessageRepository } from '../db/pending-message-repository.js';
import { callbacksQueuedSignal } from '../workflows/messages.js';
import { encryptedData } from '../identity/data-converter.js';
import { apiRoutes } from './api-routes.js';
import { openCore } from './core.js';
import { createGitProviders } from './git-providers.js';
import { requireFrontend } from './frontend.js';
import { openIdentity } from './identity.js';
import { lazyConnection, temporalOptions } from './temporal-connection.js';

/** Streams that are told to end get this long for their last bytes, whatever the grace of requests; in milliseconds. */
const STREAM_END_MS = 2_000;

export interface ApiStart {
  config: Config;
  databaseUrl: string;
  temporalAddress: string;
  logger: Logger;
  /** Told of the secrets that the API comes to know. */
  masker: SecretMasker;
}

export interface RunningApi {
  url: string;
  port: number;
  /** Ends streams validly, lets requests under way finish, then closes everything. */
  stop(): Promise<void>;
}

/** Serves the API. It starts, and answers 503 where it must, while Temporal or the database is away. */
export async function startApi({
  config,
  databaseUrl,
  temporalAddress,
  logger,
  masker,
}: ApiStart): Promise<RunningApi> {
  const frontend = requireFrontend(config);
  const core = await openCore(config, databaseUrl, { logger, masker });
  const identity = await openIdentity({ config, core, logger });
  const connection: Connection = lazyConnection(await temporalOptions(config, temporalAddress));
  const client = new Client({
    connection,
    namespace: config.temporal.namespace,
    dataConverter: encryptedData(core.keys),
  });
  const hub = createNotificationHub({ url: databaseUrl, logger });
  const streams = new StreamRegistry();
  const callbacks = new CallbackRepository(core.connection.database);
  const waker = createConversationWaker({
    signal: signalConversation(client, callbacksQueuedSignal),
    queued: () => callbacks.conversationsWithQueuedCallbacks(),
    logger,
  });
  const actors = createActors(client);
  const lostEvents = createLostEvents({
    reconcile: (conversationId) => actors.runEnded(conversationId),
    conversations: new LostEventReadModel(core.connection.database),
    logger,
  });
  core.events.watchDamage(({ conversationId, dropped }) => {
    if (dropped) lostEvents.compare(conversationId);
  });
  const messages = new PendingMessageRepository(core.connection.database);
  const messageWaker = createMessageWaker({ client, messages, hub, logger });
  const monitor = new ServerMonitor(config.data.directory);
  const wrongKeys = new WrongKeys(config.limits.wrongSecretsPerMinute);
  const gateway = createGateway({
    server: config.server,
    gateway: config.gateway,
    sandboxes: core.sandboxes,
    conversations: new ConversationReadModel(core.connection.database),
    events: core.events,
    vault: core.vault,
    auth: identity.auth,
    hub,
    wrongKeys,
    logger,
  });
  const { app } = createApp({
    routes: apiRoutes({
      config,
      core,
      identity,
      gitProviders: createGitProviders(config),
      client,
      actors,
      hub,
      streams,
      waker,
      lostEvents,
      messageQueue: createMessageQueue({ messages, hub, waker: messageWaker, streams }),
      logger,
      monitor,
    }),
    auth: identity.auth,
    logger,
    server: config.server,
    limits: config.limits,
    wrongKeys,
    gateway: gateway.http,
    frontend:
      frontend === null ? null : createFrontend({ directory: frontend, sources: sandboxSources(config) }),
    onActivity: () => monitor.touch(),
  });
  const server = await startServer(app, config.server, (request, socket, head) => {
    monitor.touch();
    gateway.sockets.handleUpgrade(request, socket, head);
  });
  void waker.sweep();
  void lostEvents.sweep();
  logger.info({ url: server.url }, 'the API listens');
  return {
    url: server.url,
    port: server.port,
    async stop() {
      waker.close();
      lostEvents.close();
      messageWaker.close();
      streams.endAll();
      await gateway.sockets.close();
      await server.close(Math.max(config.server.shutdownGraceSeconds * 1000, STREAM_END_MS));
      await hub.stop();
      // Temporal's client is left as it is: a call of its that waits to be repeated would throw out of a timer if its
      // connection were closed, and the process ends anyway.
      await core.close();
    },
  };
}
