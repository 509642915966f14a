import type { HostSandboxes } from '../db/host-sandboxes.js';
import { thingOf, type SandboxBackend, type SandboxHandle } from '../sandboxes/backend.js';
import type { HostWatcher } from '../sandboxes/host-watcher.js';
import type { SandboxActors } from './sandbox-actors.js';

export interface AdoptionDeps {
  hostId: string;
  backend: Pick<SandboxBackend, 'find'>;
  sandboxes: Pick<HostSandboxes, 'ofHost'>;
  watcher: Pick<HostWatcher, 'watch'>;
  actors: Pick<SandboxActors, 'observe'>;
}

/**
 * After a restart of the worker or of the machine: watches again what lives, and tells the actors of what does not, and
 * of what does: while nobody was there to listen, events may have been lost, and settings may have changed. A sandbox in
 * STARTING is left to its boot, which is tried again by itself.
 */
export async function adoptSandboxes({ hostId, backend, sandboxes, watcher, actors }: AdoptionDeps): Promise<{
  adopted: number;
  gone: number;
}> {
  const counts = { adopted: 0, gone: 0 };
  for (const { id, status, handle: noted } of await sandboxes.ofHost(hostId)) {
    const handle = await backend.find(id);
    if (handle) {
      // What it was when we last knew is what the actor knows: a difference is a change, and reported.
      if (status !== 'STARTING') watcher.watch(id, handle, status === 'PAUSED' ? 'paused' : 'running');
      if (status === 'RUNNING') await actors.observe(id, { state: 'running', thing: thingOf(handle) });
      counts.adopted++;
    } else if (status !== 'STARTING') {
      await actors.observe(id, { state: 'gone', exitCode: null, ...thingNoted(noted) });
      counts.gone++;
    }
  }
  return counts;
}

/** Which thing the row speaks of, so that a later one is not taken for gone. */
export const thingNoted = (handle: Record<string, unknown> | null): { thing?: string } =>
  handle === null ? {} : { thing: thingOf(handle as unknown as SandboxHandle) };
