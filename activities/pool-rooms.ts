/** Where there is room for a warm sandbox: what each machine says it has left, less what that does not tell of yet. */
import type { PoolLook } from '../contract/sandbox-pool.js';
import type { Host } from '../db/hosts.js';
import type { WarmSandbox } from '../db/warm-sandboxes.js';
import { BOOTED_SANDBOX_BYTES } from '../sandboxes/sandbox-memory.js';

/** What is left to everything else on a machine, in bytes. */
export const RESERVE_BYTES = 768 * 1024 ** 2;

/** What a machine has left for further sandboxes. */
export interface Room {
  hostId: string;
  /** For these, in bytes. */
  memory: number;
  /** What those that start there are going to take of what it said, in bytes; not in `memory` any more. */
  promised: number;
  /** What one of them is expected to take, in bytes. */
  sandboxBytes: number;
  /** How many may begin to boot. */
  boots: number;
}

/** What boots on a machine has not taken its memory yet, and what has booted since it told of itself is not in its word. */
export function roomsOf(
  look: Pick<PoolLook, 'bootingOn'>,
  { hosts, sandboxes }: { hosts: readonly Host[]; sandboxes: readonly WarmSandbox[] },
): Room[] {
  return hosts.map(({ id: hostId, availableMemory, parallelBoots, sandboxBytes: told, seenAt }) => {
    const here = sandboxes.filter((one) => one.hostId === hostId && !one.retired);
    const begun = (look.bootingOn ?? []).filter((host) => host === hostId).length;
    const booting = Math.max(begun, here.filter(({ status }) => status === 'STARTING').length);
    const unheard = here.filter(({ status, updatedAt }) => status === 'RUNNING' && updatedAt > seenAt).length;
    const sandboxBytes = told ?? BOOTED_SANDBOX_BYTES;
    const promised = (booting + unheard) * sandboxBytes;
    return {
      hostId,
      memory: availableMemory - RESERVE_BYTES - promised,
      promised,
      sandboxBytes,
      boots: parallelBoots - booting,
    };
  });
}

/** Whether one more fits there. */
export const hasMemory = ({ memory, sandboxBytes }: Room): boolean => memory >= sandboxBytes;

/** Where to boot up to so many: each on the machine that has most memory left by then. */
export function placesFor(count: number, rooms: readonly Room[]): string[] {
  const left = rooms.map((room) => ({ ...room }));
  const places: string[] = [];
  while (places.length < count) {
    const [best] = left
      .filter((room) => hasMemory(room) && room.boots > 0)
      .sort((a, b) => b.memory - a.memory);
    if (!best) break;
    best.memory -= best.sandboxBytes;
    best.boots--;
    places.push(best.hostId);
  }
  return places;
}
