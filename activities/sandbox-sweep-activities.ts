import { cancellationSignal, heartbeat, sleep } from '@temporalio/activity';
import type { Logger } from 'pino';
import type { HostSandboxes } from '../db/host-sandboxes.js';
import type { SandboxRecord } from '../db/sandbox-repository.js';
import { thingOf, type SandboxBackend, type SandboxHandle } from '../sandboxes/backend.js';
import type { HostWatcher } from '../sandboxes/host-watcher.js';
import { thingNoted } from './adopt-sandboxes.js';
import type { SandboxActors } from './sandbox-actors.js';

/** How long after its deletion a sandbox may still be in the hands of its actor, in milliseconds. */
const DELETION_MS = 10 * 60_000;
/** How long after its last change a sandbox may have no actor yet, in milliseconds. */
const BIRTH_MS = 2 * 60_000;
/** How long row and thing must have differed until that is more than a change under way, in milliseconds. */
const DIFFERENCE_MS = 3_000;

export interface HostSweepDeps {
  hostId: string;
  backend: Pick<SandboxBackend, 'list' | 'find' | 'inspect' | 'destroy'>;
  sandboxes: Pick<HostSandboxes, 'fates' | 'ofHost'>;
  watcher: Pick<HostWatcher, 'watch' | 'isWatching'>;
  actors: Pick<SandboxActors, 'observe'>;
  logger: Pick<Logger, 'info' | 'warn'>;
  /** Age of a deletion from which on its remains are removed here; 10 minutes if left out. */
  deletionMs?: number;
  /** Time between two looks at a row that differs from its thing, in milliseconds; 3 s if left out. */
  differenceMs?: number;
}

/** What a sweep of a host has found. */
export interface HostSweep {
  /** Things of sandboxes deleted long ago that were still here, and are not any more. */
  orphansRemoved: number;
  /** Things that could not be removed; the next sweep tries again. */
  orphansLeft: number;
  /**
   * Things of which the database knows nothing. They are left: nothing is started before its row is there, so they
   * belong to another database, or to the time after the backup that this one was restored from.
   */
  unknown: number;
  /** Sandboxes shown as running whose thing is gone; their actors know now. */
  goneReported: number;
  /** Living sandboxes that nobody was watching, and that are watched now. */
  watchedAgain: number;
  /** Sandboxes shown as running that were frozen, or the other way round; their actors know now. */
  differing: number;
}

interface Difference {
  row: SandboxRecord;
  handle: SandboxHandle;
  state: 'running' | 'paused';
}

/** Compares what a machine holds with what the database says, in both directions. Runs on the queue of that host. */
export function createHostSweepActivities(deps: HostSweepDeps) {
  const { hostId, backend, sandboxes, watcher, actors, logger } = deps;
  const { deletionMs = DELETION_MS, differenceMs = DIFFERENCE_MS } = deps;

  const removeOrphans = async (sweep: HostSweep): Promise<void> => {
    const held = await backend.list();
    const fates = await sandboxes.fates(held);
    for (const sandboxId of held) {
      cancellationSignal().throwIfAborted();
      const fate = fates.get(sandboxId);
      if (!fate) {
        sweep.unknown++;
        logger.warn(
          { sandboxId },
          'this machine holds a sandbox that the database does not know: remove its directory if nothing needs it',
        );
        continue;
      }
      if (!fate.deletedAt || Date.now() - fate.deletedAt.getTime() < deletionMs) continue;
      try {
        await backend.destroy(sandboxId, await backend.find(sandboxId));
        sweep.orphansRemoved++;
        logger.info({ sandboxId }, 'removed what was left of a deleted sandbox');
      } catch (err) {
        sweep.orphansLeft++;
        logger.warn({ err, sandboxId }, 'what is left of a deleted sandbox cannot be removed yet');
      }
      heartbeat({ phase: 'removing orphans' });
    }
  };

  const findLost = async (sweep: HostSweep): Promise<void> => {
    for (const { id, status, handle: noted } of await sandboxes.ofHost(hostId)) {
      cancellationSignal().throwIfAborted();
      // A boot under way sees to its own, and a paused sandbox may have no process.
      if (status === 'STARTING' || watcher.isWatching(id)) continue;
      const handle = await backend.find(id);
      if (handle) {
        watcher.watch(id, handle, status === 'PAUSED' ? 'paused' : 'running');
        sweep.watchedAgain++;
      } else if (status === 'RUNNING') {
        await actors.observe(id, { state: 'gone', exitCode: null, ...thingNoted(noted) });
        sweep.goneReported++;
      }
      heartbeat({ phase: 'looking for what is gone' });
    }
  };

  /** Those of which row and thing say two things, by id. */
  const differing = async (): Promise<Map<string, Difference>> => {
    const found = new Map<string, Difference>();
    for (const row of await sandboxes.ofHost(hostId)) {
      cancellationSignal().throwIfAborted();
      const handle = row.status === 'STARTING' ? null : await backend.find(row.id);
      if (!handle) continue;
      const { state } = await backend.inspect(row.id, handle);
      const isRight = state === 'gone' || (state === 'paused') === (row.status === 'PAUSED');
      if (!isRight) found.set(row.id, { row, handle, state });
    }
    return found;
  };

  /** What was said of them did not arrive, or was overtaken: it is said again. */
  const reportDifferences = async (sweep: HostSweep): Promise<void> => {
    const before = await differing();
    if (before.size === 0) return;
    await sleep(differenceMs);
    for (const [id, { row, handle, state }] of await differing()) {
      const earlier = before.get(id);
      // A pause or a resume under way looks like this for a moment.
      if (earlier?.row.updatedAt.getTime() !== row.updatedAt.getTime() || earlier.state !== state) continue;
      await actors.observe(id, { state, thing: thingOf(handle), row: row.status });
      sweep.differing++;
      logger.info({ sandboxId: id, row: row.status, state }, 'a sandbox was not what its row said');
      heartbeat({ phase: 'looking for differences' });
    }
  };

  return {
    /** Idempotent; costs three statements, and two looks per sandbox. */
    async sweepHost(): Promise<HostSweep> {
      const sweep: HostSweep = {
        orphansRemoved: 0,
        orphansLeft: 0,
        unknown: 0,
        goneReported: 0,
        watchedAgain: 0,
        differing: 0,
      };
      await removeOrphans(sweep);
      await findLost(sweep);
      await reportDifferences(sweep);
      return sweep;
    },
  };
}

export type HostSweepActivities = ReturnType<typeof createHostSweepActivities>;

export interface ActorSweepDeps {
  sandboxes: Pick<HostSandboxes, 'hosts' | 'needingActors'>;
  actors: Pick<SandboxActors, 'living' | 'lives' | 'revive' | 'requestDelete'>;
  logger: Pick<Logger, 'info'>;
  /** Age of its last change from which on a sandbox must have an actor; 2 minutes if left out. */
  birthMs?: number;
}

export interface ActorSweep {
  /** Sandboxes that have got an actor again. */
  revived: number;
  /** Rows that nobody wants any more, handed over to be deleted. */
  deleted: number;
}

/** Finds rows without actor: their process ended between row and workflow, or somebody terminated the workflow. */
export function createActorSweepActivities({
  sandboxes,
  actors,
  logger,
  birthMs = BIRTH_MS,
}: ActorSweepDeps) {
  return {
    /** Ids of the hosts that have something to be swept. */
    sandboxHosts: (): Promise<string[]> => sandboxes.hosts(),

    /** Idempotent; costs one statement and one listing of workflows, and a question per row that seems to have none. */
    async sweepSandboxActors(): Promise<ActorSweep> {
      const sweep: ActorSweep = { revived: 0, deleted: 0 };
      const rows = await sandboxes.needingActors(birthMs);
      if (rows.length === 0) return sweep;
      const living = new Set<string>();
      for await (const id of actors.living()) living.add(id);
      for (const row of rows) {
        cancellationSignal().throwIfAborted();
        if (living.has(row.id) || (await actors.lives(row.id))) continue;
        // Made for a request that has failed since: never placed, and nothing lives in it.
        const unwanted = row.status === 'STARTING' && row.hostId === null && !row.used;
        if (row.deleted || unwanted) {
          await actors.requestDelete(row.id);
          sweep.deleted++;
        } else {
          await actors.revive(row);
          sweep.revived++;
        }
        logger.info({ sandboxId: row.id, status: row.status }, 'a sandbox without actor has got one');
        heartbeat({ phase: 'looking for sandboxes without actor' });
      }
      return sweep;
    },
  };
}

export type ActorSweepActivities = ReturnType<typeof createActorSweepActivities>;
