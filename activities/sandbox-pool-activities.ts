import { cancellationSignal, heartbeat } from '@temporalio/activity';
import type { Logger } from 'pino';
import type { PoolLook, PoolPlan } from '../contract/sandbox-pool.js';
import type { Hosts } from '../db/hosts.js';
import type { SandboxRepository } from '../db/sandbox-repository.js';
import type { WarmSandboxes } from '../db/warm-sandboxes.js';
import type { createSandboxRow } from '../identity/new-sandbox.js';
import { createPoolHealth, type IsAnswering } from './pool-health.js';
import { DEMAND_MS, planPool, type PoolSettings } from './pool-plan.js';
import type { SandboxActors } from './sandbox-actors.js';

/** How often a waiting activity says that it is alive, in milliseconds. */
const HEARTBEAT_MS = 2_000;
/** A start that has not moved for so long does not hold the pool up, in milliseconds. */
const START_MS = 15_000;
/** Who orders the boots of the pool. */
const POOL = 'pool';

export interface SandboxPoolDeps {
  warm: Pick<WarmSandboxes, 'ofSpec' | 'demand' | 'startsUnderWay' | 'retire'>;
  sandboxes: Pick<SandboxRepository, 'read'>;
  actors: Pick<SandboxActors, 'ensureRunning' | 'requestDelete'>;
  newSandbox: (sandbox: Parameters<typeof createSandboxRow>[1]) => Promise<unknown>;
  /** The spec of which this worker keeps some; pools of others are emptied. */
  specId: string;
  settings: PoolSettings;
  hosts: Pick<Hosts, 'present'>;
  isAnswering: IsAnswering;
  logger: Pick<Logger, 'info' | 'warn'>;
}

/** What the pool asks: SQL tells it how things stand, and sandboxes' actors do the rest. */
export function createSandboxPoolActivities(deps: SandboxPoolDeps) {
  const { warm, actors, logger } = deps;
  const outOfReachOf = createPoolHealth(deps.isAnswering);
  return {
    /** How things stand and what to do now; four statements and a question to each, and it changes nothing. */
    async surveyPool(specId: string, look: PoolLook): Promise<PoolPlan> {
      const [sandboxes, demand, startsUnderWay, hosts] = await Promise.all([
        warm.ofSpec(specId),
        warm.demand(specId, DEMAND_MS),
        warm.startsUnderWay(START_MS),
        deps.hosts.present(),
      ]);
      const settings = specId === deps.specId ? deps.settings : { ...deps.settings, size: 0 };
      const outOfReach = await outOfReachOf(sandboxes);
      for (const { id, hostId } of sandboxes) {
        if (outOfReach.has(id)) {
          logger.warn({ sandboxId: id, hostId }, 'a warm sandbox is out of reach: it is replaced');
        }
      }
      return planPool(settings, look, {
        now: new Date(),
        sandboxes,
        outOfReach,
        demand,
        startsUnderWay,
        hosts,
      });
    },

    /**
     * Makes one that is nobody's and waits until it is RUNNING; whoever takes it meanwhile waits for the same boot.
     * @param hostId the machine that is to own it; the first that takes it, if left out
     * @throws ApplicationFailure, non-retryable, with the reason when it cannot run
     */
    async bootWarmSandbox(specId: string, sandboxId: string, hostId?: string): Promise<void> {
      const beat = setInterval(() => heartbeat({ phase: 'booting' }), HEARTBEAT_MS);
      try {
        // An earlier attempt may have made it, and a start may have taken it since.
        if (!(await deps.sandboxes.read(sandboxId))) {
          await deps.newSandbox({ id: sandboxId, userId: null, specId, warm: true, hostId });
        }
        await actors.ensureRunning(sandboxId, POOL, cancellationSignal());
        logger.info({ sandboxId }, 'a warm sandbox is ready');
      } finally {
        clearInterval(beat);
      }
    },

    /** Takes sandboxes out of the pool for good, those that a start has got meanwhile aside; their actors end them. */
    async retireWarmSandboxes(sandboxIds: string[]): Promise<number> {
      const retired = await warm.retire(sandboxIds);
      for (const sandboxId of retired) await actors.requestDelete(sandboxId);
      return retired.length;
    },
  };
}

export type SandboxPoolActivities = ReturnType<typeof createSandboxPoolActivities>;
