import type { SandboxRepository } from '../db/sandbox-repository.js';
import type { SandboxBackend } from '../sandboxes/backend.js';
import type { HostWatcher } from '../sandboxes/host-watcher.js';
import type { SandboxActors } from './sandbox-actors.js';

export interface AdoptionDeps {
  hostId: string;
  backend: Pick<SandboxBackend, 'find'>;
  sandboxes: Pick<SandboxRepository, 'ofHost'>;
  watcher: Pick<HostWatcher, 'watch'>;
  actors: Pick<SandboxActors, 'observe'>;
}

/**
 * After a restart of the worker or of the machine: watches again what lives, and tells the actors of what does not.
 * A sandbox in STARTING is left to its boot, which is tried again by itself.
 */
export async function adoptSandboxes({ hostId, backend, sandboxes, watcher, actors }: AdoptionDeps): Promise<{
  adopted: number;
  gone: number;
}> {
  const counts = { adopted: 0, gone: 0 };
  for (const { id, status } of await sandboxes.ofHost(hostId)) {
    const handle = await backend.find(id);
    if (handle) {
      // What it was when we last knew is what the actor knows: a difference is a change, and reported.
      if (status !== 'STARTING') watcher.watch(id, handle, status === 'PAUSED' ? 'paused' : 'running');
      counts.adopted++;
    } else if (status !== 'STARTING') {
      await actors.observe(id, { state: 'gone', exitCode: null });
      counts.gone++;
    }
  }
  return counts;
}
