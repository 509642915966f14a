import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from '@temporalio/client';
import type { Logger } from 'pino';
import { createPoolActors, type PoolActors } from '../activities/pool-actors.js';
import type { PoolSettings } from '../activities/pool-plan.js';
import type { SandboxActors } from '../activities/sandbox-actors.js';
import type { Config } from '../config/config.js';
import { defaultSpecId } from '../config/sandbox-spec.js';
import { Hosts } from '../db/hosts.js';
import { WarmSandboxes } from '../db/warm-sandboxes.js';
import type { SandboxBackend } from '../sandboxes/backend.js';
import type { Core } from './core.js';

/** The pool of warm sandboxes as a worker knows it. */
export interface WarmPool {
  specId: string;
  settings: PoolSettings;
  warm: WarmSandboxes;
  hosts: Hosts;
  actors: PoolActors;
}

/** After so long a warm sandbox is replaced, in milliseconds: what it imported and its settings are of its boot. */
const MAX_AGE_MS = 4 * 3_600_000;
/** How long actors may take to end what is retired when everything stops, in milliseconds. */
const RETIRE_LIMIT_MS = 8_000;
const LOOK_MS = 50;

/** @param warmByDefault how many are kept where the settings do not say */
export function openWarmPool(
  { config, core, client, logger }: { config: Config; core: Core; client: Client; logger: Logger },
  warmByDefault: number,
): WarmPool {
  return {
    specId: defaultSpecId(config),
    settings: {
      size: config.sandboxes.warm ?? warmByDefault,
      max: config.sandboxes.warmMax,
      maxAgeMs: MAX_AGE_MS,
    },
    warm: new WarmSandboxes(core.connection.database),
    hosts: new Hosts(core.connection.database),
    actors: createPoolActors(client, logger),
  };
}

interface HostPoolDeps {
  hostId: string;
  actors: Pick<SandboxActors, 'requestDelete'>;
}

/**
 * When a worker begins: what this machine has kept warm was booted with the settings of an earlier one, so it goes;
 * then every pool looks how things stand, those of other specs included, which are emptied.
 */
export async function renewWarmPool(
  { warm, actors: pools, settings, specId }: WarmPool,
  { hostId, actors }: HostPoolDeps,
): Promise<void> {
  for (const id of await warm.retireOfHost(hostId)) await actors.requestDelete(id);
  const specs = new Set(await warm.specs());
  if (settings.size > 0) specs.add(specId);
  for (const spec of specs) await pools.wake(spec);
}

/**
 * When everything stops: ends the pool and what it keeps on this machine, while there is still a worker for it.
 * @param limitMs it stops waiting after so long
 */
export async function closeWarmPool(
  { warm, actors: pools, specId }: WarmPool,
  { hostId, actors }: HostPoolDeps,
  limitMs = RETIRE_LIMIT_MS,
): Promise<void> {
  await pools.close(specId);
  const told = new Set<string>();
  for (const deadline = Date.now() + limitMs; Date.now() < deadline; await sleep(LOOK_MS)) {
    // Asked before the rows: a boot that the pool had begun may make its row until the pool has ended.
    const isOver = await pools.isOver(specId);
    const left = await warm.retireOfHost(hostId, { orUnplaced: true });
    for (const id of left) {
      if (!told.has(id)) await actors.requestDelete(id);
      told.add(id);
    }
    if (isOver && left.length === 0) return;
  }
}

/** Afterwards: ends the processes of those whose actors were not fast enough; their rows are swept later. */
export async function haltWarmSandboxes(
  { warm }: Pick<WarmPool, 'warm'>,
  { hostId, backend, logger }: HaltDeps,
): Promise<void> {
  const left = await warm.retireOfHost(hostId);
  await Promise.all(
    left.map(async (sandboxId) => {
      try {
        const handle = await backend.find(sandboxId);
        if (handle) await backend.halt(sandboxId, handle);
      } catch (err) {
        logger.error({ err, sandboxId }, 'a warm sandbox could not be ended');
      }
    }),
  );
}

interface HaltDeps {
  hostId: string;
  backend: Pick<SandboxBackend, 'find' | 'halt'>;
  logger: Pick<Logger, 'error'>;
}
