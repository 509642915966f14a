/** Workers with the product's workflows; what happens on hosts and in agent-servers is faked, its traces in SQL are real. */
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { ApplicationFailure } from '@temporalio/common';
import type { Worker } from '@temporalio/worker';
import { pino } from 'pino';
import { createConversationActors } from '../../activities/messages/conversation-actors.js';
import { createMessageActivities } from '../../activities/messages/message-activities.js';
import { createSandboxActors } from '../../activities/sandbox-actors.js';
import { createMaintenanceActivities } from '../../activities/maintenance-activities.js';
import { createMaintenanceActors } from '../../activities/maintenance-actors.js';
import { createActorSweepActivities } from '../../activities/sandbox-sweep-activities.js';
import { createSandboxRowActivities } from '../../activities/sandbox-row-activities.js';
import { createSandboxPoolActivities } from '../../activities/sandbox-pool-activities.js';
import { createWarmClaim } from '../../activities/start/warm-claim.js';
import { beginHostBeat } from '../../cli/host-beat.js';
import type { WarmPool } from '../../cli/warm-pool.js';
import { createSandboxSteps } from '../../activities/start-conversation-activities.js';
import { createStartTaskActivities } from '../../activities/start-task-activities.js';
import { createWholeStart } from '../../activities/start/whole-start.js';
import { awaitWorkflowEnd } from '../../activities/workflow-state.js';
import { createAgentServerClient } from '../../agent-server/client.js';
import { hostTaskQueue, PLACEMENT_TASK_QUEUE, startTaskWorkflowId, TASK_QUEUE } from '../../contract/ids.js';
import { CallbackRepository } from '../../db/callback-repository.js';
import { ConversationRepository } from '../../db/conversation-repository.js';
import type { Database } from '../../db/database.js';
import { PendingMessageRepository } from '../../db/pending-message-repository.js';
import { MaintenanceRepository } from '../../db/maintenance-repository.js';
import { SandboxSlots, type SandboxSlotSettings } from '../../db/sandbox-slots.js';
import { HostSandboxes } from '../../db/host-sandboxes.js';
import { SandboxRepository } from '../../db/sandbox-repository.js';
import { SandboxRelease } from '../../db/start-release.js';
import { StartTaskRepository } from '../../db/start-task-repository.js';
import { createSandboxRow, newSandbox } from '../../identity/new-sandbox.js';
import type { FakeAgentServer } from './fake-agent-server.js';
import type { FakeConversation } from './fake-conversation.js';
import { type bundleWorkflows, createTestWorker } from './temporal.js';
import type { Conduct } from './api-conduct.js';
import { testVault } from './test-vault.js';

const limits = { cloneSeconds: 60, setupScriptSeconds: 60 };

export interface Work {
  temporal: TestWorkflowEnvironment;
  workflowBundle: Awaited<ReturnType<typeof bundleWorkflows>>;
  database: Database;
  conduct: Conduct;
  agentServer: FakeAgentServer;
  deletions: FakeConversation;
  slots: SandboxSlotSettings;
  pool: WarmPool;
  /** Ids of the machines. */
  hosts: readonly string[];
}

export async function startWorkers(work: Work): Promise<{ stop(): Promise<void> }> {
  const { temporal, workflowBundle } = work;
  const hosts = work.hosts.map((id) => ({ id, activities: hostActivities(work, id) }));
  const beats = await Promise.all(
    work.hosts.map((hostId) =>
      beginHostBeat({
        hosts: work.pool.hosts,
        hostId,
        parallelBoots: 4,
        availableMemory: () => work.conduct.freeMemory.get(hostId) ?? 64 * 1024 ** 3,
        sandboxBytes: () => 400 * 1024 ** 2,
        logger: pino({ level: 'silent' }),
      }),
    ),
  );
  const workers: Worker[] = await Promise.all([
    createTestWorker(temporal, {
      taskQueue: TASK_QUEUE,
      workflowBundle,
      activities: generalActivities(work),
    }),
    // One process has one worker per queue: the first machine takes whatever has no place yet.
    ...hosts
      .slice(0, 1)
      .map(({ activities }) => createTestWorker(temporal, { taskQueue: PLACEMENT_TASK_QUEUE, activities })),
    ...hosts.map(({ id, activities }) =>
      createTestWorker(temporal, { taskQueue: hostTaskQueue(id), activities }),
    ),
  ]);
  const runs = workers.map((worker) => worker.run());
  let stopped: Promise<unknown> | null = null;
  return {
    async stop() {
      if (!stopped) {
        for (const worker of workers) worker.shutdown();
        stopped = Promise.all([...runs, ...beats.map((beat) => beat.stop())]);
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
  const startSteps = createStartTaskActivities({
    database,
    startTasks,
    sandboxes,
    messages,
    limits,
    keepSecretsOfFailed: true,
    defaultSpecId: 'spec',
    newSandbox: (sandbox) => newSandbox(testVault, sandbox),
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
  });
  const startBare = async (taskId: string) => {
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
    ...startSteps,
    ...createSandboxPoolActivities({
      ...pool,
      sandboxes,
      actors,
      newSandbox: (sandbox) => createSandboxRow({ vault: testVault, sandboxes }, sandbox),
      isAnswering: (baseUrl, timeoutMs) =>
        createAgentServerClient({ baseUrl, sessionApiKey: null }).alive({ timeoutMs }),
      logger,
    }),
    ...sandboxSteps,
    ...phases,
    startBare,
    ...createWholeStart({
      ...startSteps,
      awaitSandbox: (taskId, sandboxId) => sandboxSteps.awaitSandbox(taskId, sandboxId),
      startBare,
    }),
    discardConversation: async (taskId: string) => void conduct.discarded.push(taskId),
  };
}

/** A host whose sandboxes all lead to the one fake agent-server. */
function hostActivities({ database, conduct, agentServer }: Work, hostId: string) {
  const sandboxes = new SandboxRepository(database);
  return {
    async boot(sandboxId: string) {
      const row = await sandboxes.claim(sandboxId, hostId);
      if (!row) throw ApplicationFailure.nonRetryable(`sandbox ${sandboxId} was deleted`, 'SandboxDeleted');
      if (row.hostId !== hostId) return { outcome: 'elsewhere' as const, hostId: row.hostId };
      conduct.booted.push(sandboxId);
      await conduct.phase('boot');
      if (conduct.failBoot) throw ApplicationFailure.nonRetryable(conduct.failBoot, 'SandboxExited');
      await sandboxes.setStatus(sandboxId, 'RUNNING', {
        agentServerUrl: agentServer.url,
        exposedUrls: [{ name: 'AGENT_SERVER', url: agentServer.url, port: agentServer.port }],
      });
      return { outcome: 'running' as const, hostId, idleness: { state: 'off' as const } };
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
