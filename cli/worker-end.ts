import type { ConnectionLike } from '@temporalio/client';
import type { Logger } from 'pino';
import type { SandboxActors } from '../activities/sandbox-actors.js';
import type { HostSandboxes } from '../db/host-sandboxes.js';
import { haltSandboxes, restSandboxes } from './rest-sandboxes.js';
import type { SandboxHost } from './sandbox-host.js';
import { closeWarmPool, haltWarmSandboxes, type WarmPool } from './warm-pool.js';

/** How long each of the last words may take, in milliseconds. */
const FAREWELL_MS = 5_000;

export interface EndingWorker {
  /** Null on a machine that owns no sandboxes. */
  host: SandboxHost | null;
  pool: WarmPool;
  hostId: string;
  sandboxes: HostSandboxes;
  actors: SandboxActors;
  logger: Logger;
  connection: Pick<ConnectionLike, 'withDeadline'>;
  /** Resolves when this machine's worker takes no more tasks. */
  stopPolling: () => Promise<void>;
}

/**
 * Ends a worker and the sandboxes of its machine. The actors are told while there is still a worker for them; the
 * processes are ended afterwards. What cannot be done, since Temporal or the database is away, keeps nothing else from
 * it: the next worker of this machine finds what is left.
 */
export async function endWithSandboxes(ending: EndingWorker): Promise<void> {
  const { host, pool, hostId, sandboxes, actors, logger, connection } = ending;
  const attempt = async (failure: string, work: () => Promise<void>): Promise<void> => {
    try {
      await connection.withDeadline(Date.now() + FAREWELL_MS, work);
    } catch (err) {
      logger.warn({ err }, failure);
    }
  };
  await attempt('warm sandboxes were not given up: the next start does that', () =>
    closeWarmPool(pool, { hostId, actors }),
  );
  if (host) {
    await attempt('sandboxes were not told to rest: they run on, and the next start finds them', () =>
      restSandboxes(host, { hostId, sandboxes, actors }),
    );
  }
  await ending.stopPolling();
  if (!host) return;
  const { backend } = host;
  await attempt('warm sandboxes were not ended', () => haltWarmSandboxes(pool, { hostId, backend, logger }));
  await attempt('sandboxes that rest were not ended', () =>
    haltSandboxes(host, { hostId, sandboxes, logger }),
  );
}
