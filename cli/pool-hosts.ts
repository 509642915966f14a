/** The machines of the pool as `callboard pool` shows them. */
import { hasMemory, RESERVE_BYTES, roomsOf, type Room } from '../activities/pool-rooms.js';
import { SILENT_AFTER, type KnownHost } from '../db/hosts.js';
import type { WarmSandbox } from '../db/warm-sandboxes.js';

/** One line for each machine that has told of itself, or on which something is kept warm; what it says, and why none is placed there. */
export function hostLines(hosts: readonly KnownHost[], sandboxes: readonly WarmSandbox[]): string[] {
  const standing = sandboxes.filter(({ retired }) => !retired);
  const rooms = roomsOf({}, { hosts: hosts.filter(({ isPresent }) => isPresent), sandboxes });
  const lineOf = (id: string, said: string, reason: string | undefined): string => {
    const warm = standing.filter(({ hostId }) => hostId === id).length;
    return `${id.padEnd(20)} ${warm} warm  ${said}${reason === undefined ? '' : `; none is placed there: ${reason}`}`;
  };
  const known = hosts.map(({ id, availableMemory, seenAt }) => {
    const room = rooms.find(({ hostId }) => hostId === id);
    const said = `${megabytes(availableMemory)} left at ${seenAt.toISOString().slice(0, 19)}Z`;
    return lineOf(
      id,
      said,
      room ? whyFull(room) : `its worker has said nothing for more than ${SILENT_AFTER}`,
    );
  });
  const unknown = new Set(standing.flatMap(({ hostId }) => hostId ?? []));
  for (const { id } of hosts) unknown.delete(id);
  return [...known, ...[...unknown].sort().map((id) => lineOf(id, 'memory unknown', 'its worker has ended'))];
}

function whyFull(room: Room): string | undefined {
  if (!hasMemory(room)) {
    const promised = room.promised > 0 ? `, ${megabytes(room.promised)} for those that start` : '';
    return `a sandbox takes ${megabytes(room.sandboxBytes)}, and ${megabytes(RESERVE_BYTES)} are kept for others${promised}`;
  }
  return room.boots > 0 ? undefined : 'as many start as may at once';
}

const megabytes = (bytes: number): string => `${Math.round(bytes / 1024 ** 2)} MB`;
