import type { Client } from '@temporalio/client';
import type { Logger } from 'pino';
import { createPoolActors } from '../activities/pool-actors.js';
import type { Actors } from '../api/actors.js';
import { createAgentServerAccess } from '../api/agent-server-access.js';
import { apiKeyRoutes } from '../api/api-key-routes.js';
import { agentContextRoutes } from '../api/agent-context-routes.js';
import { appConversationRoutes } from '../api/app-conversation-routes.js';
import { codecRoutes } from '../api/codec-routes.js';
import { backchannelLogoutRoute } from '../api/auth/backchannel-logout-route.js';
import { sessionRoutes } from '../api/auth/session-routes.js';
import { LOGIN_PATH, signInRoutes } from '../api/auth/sign-in-routes.js';
import { createConversationCommands } from '../api/conversation-commands.js';
import { createConversationViews } from '../api/conversation-view.js';
import { choiceRoutes } from '../api/choice-routes.js';
import type { ConversationWaker } from '../api/conversation-waker.js';
import { eventRoutes } from '../api/event-routes.js';
import type { ProviderTokenDeps } from '../api/git-provider-tokens.js';
import { gitRoutes } from '../api/git-routes.js';
import { createLiveStatus } from '../api/live-status.js';
import { lookupSecretRoutes } from '../api/lookup-secret-routes.js';
import { marketplaceRoutes } from '../api/marketplace-routes.js';
import type { MessageQueue } from '../api/message-queue.js';
import { pendingMessageRoutes } from '../api/pending-message-routes.js';
import type { RouteDefinition } from '../api/route.js';
import { directAddress, gatewayAddress } from '../api/gateway/client-addresses.js';
import type { LostEvents } from '../api/lost-events.js';
import { legacyInsightRoutes } from '../api/legacy/conversation-insight-routes.js';
import { legacyConversationShims } from '../api/legacy/conversation-shims.js';
import { legacyGitRoutes } from '../api/legacy/git-routes.js';
import { createOpenPullRequests } from '../api/legacy/open-pull-requests.js';
import { retiredRoutes } from '../api/legacy/retired-routes.js';
import { legacySecretsRoutes } from '../api/legacy/secrets-routes.js';
import { legacySettingsRoutes } from '../api/legacy/settings-routes.js';
import { createSandboxLimit } from '../api/sandbox-limit.js';
import { createSandboxOrders } from '../api/sandbox-orders.js';
import { sandboxRoutes } from '../api/sandbox-routes.js';
import { sandboxSecretRoutes } from '../api/sandbox-secret-routes.js';
import { sandboxSpecRoutes } from '../api/sandbox-spec-routes.js';
import { createSandboxSpecs } from '../api/sandbox-specs.js';
import { secretsRoutes } from '../api/secrets-routes.js';
import type { ServerMonitor } from '../api/server-info.js';
import { serviceRoutes } from '../api/service-routes.js';
import { settingsRoutes } from '../api/settings-routes.js';
import { databaseCheck, statusRoutes, temporalCheck } from '../api/status-routes.js';
import { skillRoutes } from '../api/skill-routes.js';
import { createSkillShelf } from '../api/skill-shelf.js';
import { switchRoutes } from '../api/switch-routes.js';
import { trajectoryRoutes } from '../api/trajectory-routes.js';
import { userRoutes } from '../api/user-routes.js';
import { webClientRoutes } from '../api/web-client-routes.js';
import { createSendMessage, sendMessageRoutes } from '../api/send-message-route.js';
import { profileRoutes } from '../api/profile-routes.js';
import { createRetryCommand } from '../api/retry-command.js';
import { createStartCommand } from '../api/start-command.js';
import { startRoutes } from '../api/start-routes.js';
import type { StreamRegistry } from '../api/start-stream.js';
import { createStartTaskFeed } from '../api/start-task-feed.js';
import { startTaskRoutes } from '../api/start-task-routes.js';
import { createWarmOffer } from '../api/warm-offer.js';
import { WebhookAdmission } from '../api/webhook-admission.js';
import { rememberedPosters } from '../api/webhook-posters.js';
import { webhookRoutes } from '../api/webhook-routes.js';
import { workspaceRoutes } from '../api/workspace-routes.js';
import { createAgentServerClient } from '../agent-server/client.js';
import type { Config } from '../config/config.js';
import { ConversationDeletion } from '../db/conversation-deletion.js';
import { ConversationResidence } from '../db/conversation-home.js';
import { ConversationReadModel } from '../db/conversation-read-model.js';
import { ConversationRepository } from '../db/conversation-repository.js';
import type { NotificationHub } from '../db/notifications.js';
import { PendingMessageRepository } from '../db/pending-message-repository.js';
import { SandboxSlots } from '../db/sandbox-slots.js';
import { SandboxReadModel } from '../db/sandbox-read-model.js';
import { SandboxRequests } from '../db/sandbox-requests.js';
import { StartRetries } from '../db/start-retry.js';
import { StartTaskReadModel } from '../db/start-task-read-model.js';
import { StartTaskRepository } from '../db/start-task-repository.js';
import { WarmSandboxes } from '../db/warm-sandboxes.js';
import type { GitProviderClients } from '../git-providers/clients.js';
import { ProviderHandler } from '../git-providers/provider-handler.js';
import { readRepository } from '../git-providers/repository-reader.js';
import { AccessTokens } from '../identity/access-token.js';
import { OperatorAccess } from '../identity/operator-access.js';
import { PayloadEncryption } from '../identity/payload-codec.js';
import type { UserContext } from '../identity/user-context.js';
import type { Core } from './core.js';
import type { Identity } from './identity.js';
import { gitAddressPolicy } from './git-providers.js';
import { USER_SKILL_DIRECTORIES } from './skill-directories.js';

export interface ApiParts {
  config: Config;
  core: Core;
  identity: Identity;
  gitProviders: GitProviderClients;
  client: Client;
  actors: Actors;
  hub: NotificationHub;
  streams: StreamRegistry;
  waker: ConversationWaker;
  lostEvents: LostEvents;
  messageQueue: MessageQueue;
  logger: Logger;
  monitor: ServerMonitor;
}

/** When this process began to offer what it offers. */
const STARTED_AT = new Date();

/** All routes of the API, wired to what they work on. */
export function apiRoutes(parts: ApiParts): RouteDefinition[] {
  const { config, core, actors, logger } = parts;
  const { database } = core.connection;
  const { vault, sandboxes, settings, secrets, events } = core;
  const sandboxList = new SandboxReadModel(database);
  const conversations = new ConversationReadModel(database);
  const rows = new ConversationRepository(database);
  const clientAddress = config.gateway.enabled ? gatewayAddress(config.server.publicUrl) : directAddress;
  const tasks = new StartTaskReadModel(database, clientAddress);
  const starts = new StartTaskRepository(database);
  const agentServers = createAgentServerAccess({
    vault,
    connect: createAgentServerClient,
    logger,
    clientAddress,
  });
  const liveStatus = createLiveStatus({ agentServers, logger });
  const skills = createSkillShelf();
  const specs = createSandboxSpecs(config, settings, STARTED_AT);
  const views = createConversationViews({ agentServers, liveStatus });
  const commands = createConversationCommands({
    conversations,
    rows,
    deletion: new ConversationDeletion(database),
    actors,
    agentServers,
    logger,
  });
  const start = createStartCommand({ vault, starts, tasks, conversations, conversationRows: rows, actors });
  const sendMessage = createSendMessage({ conversations, tasks, queue: parts.messageQueue });
  const slots = new SandboxSlots(database, {
    maxPerUser: config.sandboxes.maxPerUser,
    policy: config.sandboxes.limitPolicy,
  });
  const limit = createSandboxLimit({ slots, actors, logger });
  const warm = new WarmSandboxes(database);
  const pools = createPoolActors(parts.client, logger);
  const { gitProviders } = parts;
  const providersOf = (user: UserContext) => new ProviderHandler(user.tokens, gitProviders, logger);
  const tokenCheck: Pick<ProviderTokenDeps, 'verifyProviderToken'> = config.git.verifyTokens
    ? { verifyProviderToken: (provider, token) => gitProviders.verify(provider, token) }
    : {};
  const agentContext = {
    conversations,
    agentServers,
    settings,
    skills,
    skillDirectories: (userId: string | null) => [
      config.data.skillsDirectory,
      ...(userId === null ? USER_SKILL_DIRECTORIES : []),
    ],
    logger,
  };
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
      openPullRequests: createOpenPullRequests({ providersOf, logger }),
    }),
    ...switchRoutes({ conversations, agentServers, settings, rows }),
    ...trajectoryRoutes({ conversations, events, maxEvents: config.server.downloadMaxEvents }),
    ...workspaceRoutes({ conversations, agentServers }),
    ...agentContextRoutes(agentContext),
    ...legacyInsightRoutes({ ...agentContext, events, maxEvents: config.server.downloadMaxEvents }),
    ...startRoutes({
      start,
      stream: { tasks, hub: parts.hub, streams: parts.streams, logger },
    }),
    ...startTaskRoutes({
      tasks,
      retry: createRetryCommand({ vault, starts, tasks, actors, retries: new StartRetries(database) }),
      stream: {
        tasks,
        feed: createStartTaskFeed({ tasks, hub: parts.hub, logger }),
        streams: parts.streams,
        auth: parts.identity.auth,
        logger,
      },
    }),
    ...sendMessageRoutes({ sendMessage }),
    ...pendingMessageRoutes({
      conversations,
      tasks,
      queue: parts.messageQueue,
      messages: new PendingMessageRepository(database),
    }),
    ...sandboxRoutes({
      vault,
      sandboxes,
      requests: new SandboxRequests(database),
      list: sandboxList,
      actors,
      agentServers,
      specs,
      limit,
      warm,
      warmOffer: createWarmOffer({
        warm,
        slots,
        isAnswering: (baseUrl, timeoutMs) =>
          createAgentServerClient({ baseUrl, sessionApiKey: null }).alive({ timeoutMs }),
        wakePool: (specId) => pools.wakeSoon(specId),
      }),
    }),
    ...sandboxSecretRoutes({
      sandboxes,
      secrets,
      tokensOf: core.tokensOf,
      requireOwner: config.auth.strategy !== 'none',
    }),
    ...sandboxSpecRoutes({ specs }),
    ...settingsRoutes({ settings, secrets }),
    ...profileRoutes({ settings }),
    ...choiceRoutes({ instanceModel: config.llm.model }),
    ...marketplaceRoutes({ read: (question) => readRepository(question, gitAddressPolicy(config)) }),
    ...skillRoutes({
      skills,
      directories: { global: [config.data.skillsDirectory], user: USER_SKILL_DIRECTORIES },
    }),
    ...legacySettingsRoutes({ settings, secrets }),
    ...secretsRoutes({ secrets, ...tokenCheck }),
    ...legacySecretsRoutes({ secrets, ...tokenCheck }),
    ...gitRoutes({ providersOf }),
    ...legacyGitRoutes({ providersOf }),
    ...retiredRoutes(),
    ...userRoutes({ settings, sandboxes }),
    ...codecRoutes({
      operator: new OperatorAccess(config.temporal.operatorKey, core.keys),
      codec: new PayloadEncryption(core.keys),
      namespace: config.temporal.namespace,
    }),
    ...webClientRoutes({
      since: STARTED_AT,
      githubClientId: config.auth.githubClientId,
      signInUrl: config.auth.strategy === 'none' ? null : `${config.server.publicUrl ?? ''}${LOGIN_PATH}`,
    }),
    ...signInRoutes({
      auth: parts.identity.auth,
      publicUrl: config.server.publicUrl,
      corsOrigins: config.server.corsOrigins,
    }),
    backchannelLogoutRoute(parts.identity),
    ...sessionRoutes(parts.identity),
    ...apiKeyRoutes(parts.identity),
    ...serviceRoutes({ ...parts.identity, serviceKey: config.server.serviceKey, logger }),
    ...statusRoutes({
      checks: [databaseCheck(core.connection.pool), temporalCheck(parts.client), ...parts.identity.checks],
      monitor: parts.monitor,
    }),
    ...eventRoutes({ events }),
    ...lookupSecretRoutes({
      accessTokens: new AccessTokens(core.keys),
      tokensOf: core.tokensOf,
      isMember: (organizationId, userId) => parts.identity.organizations.isMember(organizationId, userId),
    }),
    ...webhookRoutes({
      sandboxes: rememberedPosters(sandboxes),
      admission: new WebhookAdmission({
        bytes: config.server.webhookBytesInHand,
        requests: config.server.webhooksInHand,
      }),
      bodyLimit: config.server.webhookBodyLimitBytes,
      requireOwner: config.auth.strategy !== 'none',
      conversations: rows,
      residence: new ConversationResidence(database),
      events,
      concealerOf: (sandbox) => core.eventSecrets.concealer(sandbox),
      wakeConversation: (conversationId) => parts.waker.wake(conversationId),
      onRunEnded: (conversationId) => parts.lostEvents.compare(conversationId),
      onLost: (conversationId) => parts.lostEvents.failed(conversationId),
      logger,
    }),
  ];
}
