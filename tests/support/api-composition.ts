/** The routes of the API over a real database and a real Temporal server. */
import type { Logger } from 'pino';
import { createAgentServerClient } from '../../agent-server/client.js';
import type { Actors } from '../../api/actors.js';
import { createAgentServerAccess } from '../../api/agent-server-access.js';
import { appConversationRoutes } from '../../api/app-conversation-routes.js';
import { createConversationCommands } from '../../api/conversation-commands.js';
import { createConversationViews } from '../../api/conversation-view.js';
import type { ConversationWaker } from '../../api/conversation-waker.js';
import { legacyConversationShims } from '../../api/legacy/conversation-shims.js';
import { createOpenPullRequests } from '../../api/legacy/open-pull-requests.js';
import { createLiveStatus } from '../../api/live-status.js';
import { createMessageQueue } from '../../api/message-queue.js';
import { pendingMessageRoutes } from '../../api/pending-message-routes.js';
import { createSandboxLimit } from '../../api/sandbox-limit.js';
import { createSandboxOrders } from '../../api/sandbox-orders.js';
import { sandboxRoutes } from '../../api/sandbox-routes.js';
import { createSendMessage, sendMessageRoutes } from '../../api/send-message-route.js';
import { createRetryCommand } from '../../api/retry-command.js';
import { createStartCommand } from '../../api/start-command.js';
import { startRoutes } from '../../api/start-routes.js';
import type { StreamRegistry } from '../../api/start-stream.js';
import { createStartTaskFeed } from '../../api/start-task-feed.js';
import { startTaskRoutes } from '../../api/start-task-routes.js';
import { createWarmOffer } from '../../api/warm-offer.js';
import type { WarmPool } from '../../cli/warm-pool.js';
import { ConversationDeletion } from '../../db/conversation-deletion.js';
import { ConversationReadModel } from '../../db/conversation-read-model.js';
import { ConversationRepository } from '../../db/conversation-repository.js';
import type { Database } from '../../db/database.js';
import type { NotificationHub } from '../../db/notifications.js';
import { PendingMessageRepository } from '../../db/pending-message-repository.js';
import { SandboxSlots, type SandboxSlotSettings } from '../../db/sandbox-slots.js';
import { SandboxReadModel } from '../../db/sandbox-read-model.js';
import { SandboxRequests } from '../../db/sandbox-requests.js';
import { SandboxRepository } from '../../db/sandbox-repository.js';
import { StartRetries } from '../../db/start-retry.js';
import { StartTaskReadModel } from '../../db/start-task-read-model.js';
import { StartTaskRepository } from '../../db/start-task-repository.js';
import { ProviderNotConnected } from '../../git-providers/provider-error.js';
import { NO_TOKENS, Unauthenticated, type AuthStrategy } from '../../identity/auth-strategy.js';
import type { Conduct } from './api-conduct.js';
import { testVault } from './test-vault.js';

/** How long sending a message waits for its delivery, in milliseconds. */
const MESSAGE_LIMIT_MS = 8_000;

/** Callers name themselves; without a name nobody is anybody. */
export const callerAuth: AuthStrategy = {
  authenticate: (headers) => {
    const userId = (headers['x-test-user'] as string | undefined) ?? null;
    return Promise.resolve({ userId, authType: userId === null ? 'none' : 'bearer', tokens: NO_TOKENS });
  },
};

export interface Composition {
  database: Database;
  logger: Logger;
  hub: NotificationHub;
  streams: StreamRegistry;
  messageWaker: ConversationWaker;
  actors: Actors;
  slots: SandboxSlotSettings;
  conduct: Conduct;
  pool: Pick<WarmPool, 'warm' | 'actors'>;
}

/** As the product's composition root does it. */
export function routesOver({
  database,
  logger,
  hub,
  streams,
  messageWaker,
  actors,
  slots,
  conduct,
  pool,
}: Composition) {
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
  const sandboxSlots = new SandboxSlots(database, slots);
  const limit = createSandboxLimit({ slots: sandboxSlots, actors, logger });
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
              : callerAuth.authenticate(headers),
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
      warm: pool.warm,
      warmOffer: createWarmOffer({
        warm: pool.warm,
        slots: sandboxSlots,
        // However crowded this machine is.
        isAnswering: (baseUrl) =>
          createAgentServerClient({ baseUrl, sessionApiKey: null }).alive({ timeoutMs: 10_000 }),
        wakePool: (specId) => pool.actors.wakeSoon(specId),
      }),
      specs: {
        exists: (specId) => Promise.resolve(specId === 'spec' || specId === 'other spec'),
        defaultFor: () => Promise.resolve('spec'),
      },
    }),
  ];
}
