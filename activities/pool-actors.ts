import { WorkflowNotFoundError, type Client } from '@temporalio/client';
import type { Logger } from 'pino';
import { sandboxPoolWorkflowId, TASK_QUEUE } from '../contract/ids.js';

/** Orders to the pools of warm sandboxes. */
export interface PoolActors {
  /** Has a pool look how things stand; it begins if there is none. */
  wake(specId: string): Promise<void>;
  /**
   * The same in a moment, once for all starts that come meanwhile: the one that has just taken a sandbox is to have the
   * processor for itself. Best effort, the pool looks by itself too.
   */
  wakeSoon(specId: string): void;
  /** Ends a pool, which makes no more sandboxes then; those there are stay. */
  close(specId: string): Promise<void>;
  /** Whether a pool has ended, or never was. */
  isOver(specId: string): Promise<boolean>;
}

/** Workflow type and signals; the definitions live in `workflows/messages.ts`, which activities do not import. */
const SANDBOX_POOL = 'sandboxPool';
const LOOK = 'look';
const CLOSE = 'close';
/** A warm start is READY by then, in milliseconds. */
const SOON_MS = 2_000;

export function createPoolActors(
  client: Pick<Client, 'workflow'>,
  logger: Pick<Logger, 'warn'>,
  taskQueue = TASK_QUEUE,
): PoolActors {
  const pending = new Set<string>();
  const wake = async (specId: string): Promise<void> => {
    await client.workflow.signalWithStart(SANDBOX_POOL, {
      workflowId: sandboxPoolWorkflowId(specId),
      taskQueue,
      args: [{ specId }],
      signal: LOOK,
      workflowIdReusePolicy: 'ALLOW_DUPLICATE',
    });
  };
  return {
    wake,
    wakeSoon(specId) {
      if (pending.has(specId)) return;
      pending.add(specId);
      setTimeout(() => {
        pending.delete(specId);
        wake(specId).catch((err: unknown) =>
          logger.warn({ err, specId }, 'the pool of warm sandboxes could not be woken; it looks by itself'),
        );
      }, SOON_MS).unref();
    },
    async close(specId) {
      try {
        await client.workflow.getHandle(sandboxPoolWorkflowId(specId)).signal(CLOSE);
      } catch (err) {
        if (!(err instanceof WorkflowNotFoundError)) throw err;
      }
    },
    async isOver(specId) {
      try {
        const { status } = await client.workflow.getHandle(sandboxPoolWorkflowId(specId)).describe();
        return status.name !== 'RUNNING';
      } catch (err) {
        if (err instanceof WorkflowNotFoundError) return true;
        throw err;
      }
    },
  };
}
