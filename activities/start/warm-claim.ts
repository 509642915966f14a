import type { Logger } from 'pino';
import type { SandboxSlots } from '../../db/sandbox-slots.js';
import type { StartTaskRecord, StartTaskRepository } from '../../db/start-task-repository.js';
import type { WarmSandboxes } from '../../db/warm-sandboxes.js';
import type { SandboxActors } from '../sandbox-actors.js';

/** How long a warm sandbox may take to answer before the next one is tried, in milliseconds: it has nothing else to do. */
const ANSWER_MS = 1_000;
/** So often it may be too slow before it counts as dead: a crowded machine is no reason to boot another one. */
const SLOW_LIMIT = 3;
/** How long a start looks for one in all, in milliseconds. */
const LOOK_MS = 2_500;

export interface WarmClaimDeps {
  specId: string;
  warm: Pick<WarmSandboxes, 'candidates' | 'retire'>;
  startTasks: Pick<StartTaskRepository, 'occupyWarm'>;
  slots: Pick<SandboxSlots, 'wouldLetIn'>;
  actors: Pick<SandboxActors, 'requestDelete'>;
  /** Whether the agent-server at an address answers in time; never rejects. */
  isAnswering: (url: string, timeoutMs: number) => Promise<boolean>;
  /** Has the pool look how things stand, in a moment. */
  wakePool: () => void;
  logger: Pick<Logger, 'warn'>;
}

/**
 * Gives a start a warm sandbox, of which no other start can get the same. One that does not answer is retired and the
 * next one is tried; null when there is none, and the start has to boot one.
 */
export function createWarmClaim(deps: WarmClaimDeps) {
  const { warm, startTasks } = deps;
  /** How often each has been too slow, one time after another. */
  const slow = new Map<string, number>();

  /** Whether it can be given to somebody; one that refuses is replaced at once. */
  const isFit = async (id: string, url: string | null, limitMs: number): Promise<boolean> => {
    const began = Date.now();
    if (url !== null && (await deps.isAnswering(url, limitMs))) return true;
    const times = (slow.get(id) ?? 0) + 1;
    const isSlow = url !== null && Date.now() - began >= limitMs;
    if (isSlow && times < SLOW_LIMIT) {
      slow.set(id, times);
    } else {
      slow.delete(id);
      await retire(id);
    }
    return false;
  };

  const retire = async (id: string): Promise<void> => {
    deps.logger.warn({ sandboxId: id }, 'a warm sandbox does not answer: it is replaced');
    try {
      for (const retired of await warm.retire([id])) await deps.actors.requestDelete(retired);
    } catch (err) {
      // Its row is out of the pool, or the next look of the pool sees it: the start need not wait for that.
      deps.logger.warn({ err, sandboxId: id }, 'a warm sandbox could not be replaced yet');
    }
  };

  return async (task: StartTaskRecord): Promise<{ id: string; isNew: boolean } | null> => {
    deps.wakePool();
    // One that is refused afterwards would have been wasted.
    if (!(await deps.slots.wouldLetIn(task.createdByUserId))) return null;
    const deadline = Date.now() + LOOK_MS;
    for (const { id, status, agentServerUrl } of await warm.candidates(deps.specId)) {
      const left = deadline - Date.now();
      if (left <= 0) return null;
      if (status === 'RUNNING' && !(await isFit(id, agentServerUrl, Math.min(left, ANSWER_MS)))) continue;
      const got = await startTasks.occupyWarm(task.id, id);
      if (got === null) continue;
      slow.delete(id);
      return { id: got, isNew: true };
    }
    return null;
  };
}
