import type { Client } from '@temporalio/client';
import type { Logger } from 'pino';
import { createCallbackActivities } from '../activities/callback-activities.js';
import { createConversationActors } from '../activities/messages/conversation-actors.js';
import type { PublicSkills } from '../activities/public-skills.js';
import { createMessageActivities } from '../activities/messages/message-activities.js';
import { createMaintenanceActivities } from '../activities/maintenance-activities.js';
import { createMaintenanceActors } from '../activities/maintenance-actors.js';
import { createSandboxPoolActivities } from '../activities/sandbox-pool-activities.js';
import { createSandboxRecoveryActivities } from '../activities/sandbox-recovery-activities.js';
import type { SandboxActors } from '../activities/sandbox-actors.js';
import { createRoomMaker } from '../activities/sandbox-room.js';
import { createSandboxRowActivities } from '../activities/sandbox-row-activities.js';
import { createActorSweepActivities } from '../activities/sandbox-sweep-activities.js';
import { createSandboxSteps } from '../activities/start-conversation-activities.js';
import { awaitWorkflowEnd } from '../activities/workflow-state.js';
import { createStartTaskActivities } from '../activities/start-task-activities.js';
import { currentActivity, type ActivityScope } from '../activities/start/activity-scope.js';
import type { StartPreparationDeps } from '../activities/start/start-deps.js';
import { createWarmClaim } from '../activities/start/warm-claim.js';
import { createWholeStart } from '../activities/start/whole-start.js';
import { createStartPreparationActivities } from '../activities/start/start-preparation-activities.js';
import { createAgentServerClient } from '../agent-server/client.js';
import { signalConversation } from '../api/conversation-waker.js';
import type { Config } from '../config/config.js';
import { defaultSpecId } from '../config/sandbox-spec.js';
import { startTaskWorkflowId } from '../contract/ids.js';
import { CallbackRepository } from '../db/callback-repository.js';
import { ConversationResidence } from '../db/conversation-home.js';
import { ConversationRepository } from '../db/conversation-repository.js';
import { SandboxConversations } from '../db/sandbox-conversations.js';
import { PendingMessageRepository } from '../db/pending-message-repository.js';
import { MaintenanceRepository } from '../db/maintenance-repository.js';
import { LostEventReadModel } from '../db/lost-event-read-model.js';
import { SandboxSlots } from '../db/sandbox-slots.js';
import { SandboxRelease } from '../db/start-release.js';
import { StartTaskRepository } from '../db/start-task-repository.js';
import { AccessTokens } from '../identity/access-token.js';
import { createSandboxRow, newSandbox } from '../identity/new-sandbox.js';
import { withSealedArtifacts } from '../identity/sealed-artifacts.js';
import { callbacksQueuedSignal } from '../workflows/messages.js';
import type { Core } from './core.js';
import type { WarmPool } from './warm-pool.js';
import { USER_SKILL_DIRECTORIES } from './skill-directories.js';

export interface GeneralActivityDeps {
  config: Config;
  core: Core;
  client: Client;
  actors: SandboxActors;
  pool: WarmPool;
  publicSkills: PublicSkills;
  logger: Logger;
}

/** Activities that any machine may run. */
export function generalActivities(deps: GeneralActivityDeps) {
  const { config, core, client, actors, pool, publicSkills, logger } = deps;
  const { database } = core.connection;
  const { vault, sandboxes, settings, secrets, tokensOf } = core;
  const startTasks = new StartTaskRepository(database);
  const conversations = new ConversationRepository(database);
  const callbacks = new CallbackRepository(database);
  const messages = new PendingMessageRepository(database);
  const slots = new SandboxSlots(database, {
    maxPerUser: config.sandboxes.maxPerUser,
    policy: config.sandboxes.limitPolicy,
  });
  const limits = {
    cloneSeconds: config.sandboxes.cloneTimeoutSeconds,
    setupScriptSeconds: config.sandboxes.setupScriptTimeoutSeconds,
  };
  const sandboxSteps = createSandboxSteps({
    actors,
    sandboxes,
    slots,
    release: new SandboxRelease(database),
    startTasks,
    awaitStartEnd: (taskId, signal) => awaitWorkflowEnd(client, startTaskWorkflowId(taskId), signal),
  });
  const preparation: StartPreparationDeps = {
    startTasks: withSealedArtifacts(startTasks, vault),
    sandboxes,
    conversations,
    callbacks,
    vault,
    settings: { read: async (userId) => ({ ...(await settings.read(userId)) }) },
    secrets: {
      readCustom: (userId) => secrets.readCustom(userId),
      providerTokens: (userId) => tokensOf(userId).getAll(),
    },
    accessTokens: new AccessTokens(core.keys),
    createClient: createAgentServerClient,
    publicUrl: config.server.publicUrl,
    publicSkills,
    skillsDirectory: config.data.skillsDirectory,
    userSkillsDirectories: USER_SKILL_DIRECTORIES,
    events: core.events,
    limits,
    workspaceMayHoldFiles: false,
    log: logger,
  };
  const isAnswering = (baseUrl: string, timeoutMs: number): Promise<boolean> =>
    createAgentServerClient({ baseUrl, sessionApiKey: null }).alive({ timeoutMs });
  const inShort = createStartPreparationActivities(preparation, shortActivity);
  const callbackActivities = createCallbackActivities({
    callbacks,
    conversations,
    sandboxConversations: new SandboxConversations(database),
    sandboxes,
    vault,
    events: core.events,
    concealerOf: (sandbox) => core.eventSecrets.concealer(sandbox),
    residence: new ConversationResidence(database),
    lostEvents: new LostEventReadModel(database),
    // Twice the period: a round that was late leaves no gap.
    activeWithinSeconds: Math.max(config.maintenance.intervalMinutes, 1) * 120,
    createClient: createAgentServerClient,
    logger,
  });
  const startSteps = createStartTaskActivities({
    database,
    startTasks,
    sandboxes,
    messages,
    limits,
    keepSecretsOfFailed: config.maintenance.retryHours > 0,
    defaultSpecId: defaultSpecId(config),
    newSandbox: (sandbox) => newSandbox(vault, sandbox),
    ...(pool.settings.size > 0
      ? {
          takeWarm: createWarmClaim({
            specId: pool.specId,
            warm: pool.warm,
            startTasks,
            slots,
            actors,
            isAnswering,
            wakePool: () => pool.actors.wakeSoon(pool.specId),
            logger,
          }),
        }
      : {}),
    groupingStrategy: async (userId) => (await settings.read(userId)).sandbox_grouping_strategy,
  });
  return {
    ...createSandboxRowActivities({
      sandboxes,
      idlePauseMs: config.sandboxes.idlePauseMinutes * 60_000,
    }),
    ...createSandboxPoolActivities({
      ...pool,
      sandboxes,
      actors,
      newSandbox: (sandbox) => createSandboxRow({ vault, sandboxes }, sandbox),
      isAnswering,
      logger,
    }),
    ...createActorSweepActivities({ sandboxes: core.hostSandboxes, actors, logger }),
    ...createMaintenanceActivities({
      maintenance: new MaintenanceRepository(database),
      startTasks,
      callbacks,
      actors: createMaintenanceActors(client),
      compensation: {
        releaseSandbox: (sandboxId) => sandboxSteps.releaseSandbox(sandboxId),
        discardConversation: (taskId) => inShort.discardConversation(taskId),
      },
      retryHours: config.maintenance.retryHours,
      keepDays: config.maintenance.keepDays,
      logger,
    }),
    ...startSteps,
    ...createWholeStart({
      ...startSteps,
      awaitSandbox: (taskId, sandboxId) => sandboxSteps.awaitSandbox(taskId, sandboxId),
      startBare: (taskId, scope) =>
        createStartPreparationActivities(preparation, () => scope).startBare(taskId),
    }),
    ...sandboxSteps,
    ...createMessageActivities({
      messages,
      conversations,
      sandboxes,
      startTasks,
      vault,
      actors,
      conversationActors: createConversationActors(client),
      makeRoomFor: createRoomMaker({ actors, sandboxes, slots }),
      createClient: createAgentServerClient,
      log: logger,
    }),
    ...createStartPreparationActivities(preparation),
    ...callbackActivities,
    ...createSandboxRecoveryActivities({
      ...callbackActivities,
      wakeConversation: signalConversation(client, callbacksQueuedSignal),
    }),
  };
}

/** Of many things to set right one agent-server that hangs may hold up the others for this long, in milliseconds. */
const DISCARD_LIMIT_MS = 30_000;

const shortActivity = (): ActivityScope => {
  const scope = currentActivity();
  return { ...scope, signal: AbortSignal.any([scope.signal, AbortSignal.timeout(DISCARD_LIMIT_MS)]) };
};
