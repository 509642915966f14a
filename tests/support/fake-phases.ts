import { Context } from '@temporalio/activity';
import { createWholeStart } from '../../activities/start/whole-start.js';
import { isTerminal, type StartStatus } from '../../contract/start-task.js';

/** What a start that ends well passes through. */
export const STATUSES_OF_A_START: StartStatus[] = [
  'WORKING',
  'WAITING_FOR_SANDBOX',
  'PREPARING_REPOSITORY',
  'RUNNING_SETUP_SCRIPT',
  'SETTING_UP_GIT_HOOKS',
  'SETTING_UP_SKILLS',
  'STARTING_CONVERSATION',
  'READY',
];

interface Step {
  status: StartStatus;
  fields?: object;
}

/** Phases that do nothing, note that they were asked, and can be told to fail. */
export class FakePhases {
  steps = new Map<string, Step[]>();
  calls: string[] = [];
  failing: Partial<Record<string, Error>> = {};
  isNew = true;
  /** No repository is selected. */
  isBare = false;
  repository = { hasSetupScript: true, hasPreCommitHook: true };
  hanging: string | null = null;

  private async phase<T>(name: string, taskId: string, result: T): Promise<T> {
    this.calls.push(`${name} ${taskId}`);
    while (this.hanging === name) {
      Context.current().heartbeat();
      await Context.current().sleep(20);
    }
    const failure = this.failing[name];
    if (failure) throw failure;
    return result;
  }

  private statusOf(taskId: string): StartStatus {
    return this.steps.get(taskId)?.at(-1)?.status ?? 'WORKING';
  }

  private readonly parts = {
    acceptStartTask: async (taskId: string) => {
      if (!this.steps.has(taskId)) this.steps.set(taskId, [{ status: 'WORKING' }]);
      const status = this.statusOf(taskId);
      const limits = { cloneSeconds: 60, setupScriptSeconds: 60 };
      return { limits, ended: isTerminal(status), status, conversationId: 'c0ffee' };
    },
    chooseSandbox: (taskId: string) => {
      this.steps.get(taskId)?.push({ status: 'WAITING_FOR_SANDBOX', fields: { sandboxId: `box-${taskId}` } });
      const { isNew, isBare } = this;
      return this.phase('chooseSandbox', taskId, { id: `box-${taskId}`, isNew, isBare });
    },
    advanceStartTask: async (taskId: string, status: StartStatus, fields?: object) => {
      const was = this.statusOf(taskId);
      if (!isTerminal(was)) this.steps.get(taskId)?.push({ status, ...(fields ? { fields } : {}) });
      return { was };
    },
    awaitSandbox: (taskId: string) =>
      this.phase('awaitSandbox', taskId, { agentServerUrl: 'http://127.0.0.1:1' }),
    prepareRepository: (taskId: string) => this.phase('prepareRepository', taskId, this.repository),
    runSetupScript: (taskId: string) => this.phase('runSetupScript', taskId, { exitCode: 0 }),
    installGitHooks: (taskId: string) => this.phase('installGitHooks', taskId, undefined),
    prepareSkills: (taskId: string) => this.phase('prepareSkills', taskId, undefined),
    createConversation: (taskId: string) =>
      this.phase('createConversation', taskId, {
        agentServerUrl: 'http://127.0.0.1:1',
        conversationId: 'c0ffee',
      }),
    startBare: async (taskId: string) => {
      const steps = this.steps.get(taskId);
      steps?.push({ status: 'PREPARING_REPOSITORY' });
      const { hasSetupScript, hasPreCommitHook } = this.repository;
      if (hasSetupScript || hasPreCommitHook)
        return this.phase('startBare', taskId, { found: this.repository });
      for (const status of STATUSES_OF_A_START.slice(3, 7)) steps?.push({ status });
      return this.phase('startBare', taskId, { conversationId: 'c0ffee' });
    },
    giveBackSandbox: async (taskId: string) => {
      if (this.isNew) this.calls.push(`releaseSandbox box-${taskId}`);
    },
    discardConversation: async (taskId: string) => void this.calls.push(`discardConversation ${taskId}`),
  };

  activities = { ...this.parts, ...createWholeStart(this.parts) };
}
