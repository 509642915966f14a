import { createHash } from 'node:crypto';

/** Ports of process sandboxes on a host, both ends included. */
export interface PortRange {
  first: number;
  last: number;
}

/**
 * All ports of the range, beginning at a place that depends on the sandbox: sandboxes that start together try
 * different ports first, and a sandbox that comes back tries its old one first.
 */
export function* candidatePorts({ first, last }: PortRange, sandboxId: string): Generator<number> {
  const size = last - first + 1;
  const offset = createHash('sha256').update(sandboxId).digest().readUInt32BE(0) % size;
  for (let step = 0; step < size; step++) yield first + ((offset + step) % size);
}
