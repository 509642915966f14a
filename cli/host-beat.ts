import type { Logger } from 'pino';
import type { Hosts } from '../db/hosts.js';

export interface HostBeatDeps {
  hosts: Pick<Hosts, 'beat' | 'leave'>;
  hostId: string;
  /** How many sandboxes may boot on this machine at once beside everything else. */
  parallelBoots: number;
  /** Memory that a new process of this machine may use, in bytes. */
  availableMemory: () => number;
  /** What a sandbox that is started now is expected to take of it, in bytes. */
  sandboxBytes: () => number;
  logger: Pick<Logger, 'warn'>;
}

/** How often the memory is looked at, in milliseconds; no statement unless there is something to say. */
const LOOK_MS = 5_000;
/** What is told at once: less than any sandbox is expected to take, in bytes. */
const CHANGE_BYTES = 128 * 1024 ** 2;
/** What has not changed is said again after so long, in milliseconds: others see that this machine is there. */
const REPEAT_MS = 10_000;

/**
 * Has the database know how much room this machine has for further sandboxes, from now until it is stopped. Returns when
 * that was told once, or could not be; a database that is away is tried again.
 */
export async function beginHostBeat(deps: HostBeatDeps): Promise<{ stop(): Promise<void> }> {
  const { hosts, hostId: id, parallelBoots, logger } = deps;
  let told: { availableMemory: number; sandboxBytes: number; at: number } | null = null;
  let isFailing = false;

  const look = async (): Promise<void> => {
    const availableMemory = deps.availableMemory();
    const sandboxBytes = deps.sandboxBytes();
    const at = Date.now();
    const isNews =
      told === null ||
      at - told.at >= REPEAT_MS ||
      sandboxBytes !== told.sandboxBytes ||
      Math.abs(availableMemory - told.availableMemory) >= CHANGE_BYTES;
    if (!isNews) return;
    try {
      await hosts.beat({ id, availableMemory, parallelBoots, sandboxBytes });
      told = { availableMemory, sandboxBytes, at };
      isFailing = false;
    } catch (err) {
      if (!isFailing)
        logger.warn({ err }, 'the room of this machine could not be told: no sandbox is kept warm here');
      isFailing = true;
    }
  };

  let looking: Promise<void> | null = look();
  await looking;
  looking = null;
  const timer = setInterval(() => {
    looking ??= look().finally(() => (looking = null));
  }, LOOK_MS);
  timer.unref();
  return {
    async stop() {
      clearInterval(timer);
      await looking;
      await hosts
        .leave(id)
        .catch((err: unknown) => logger.warn({ err }, 'it could not be told that this machine leaves'));
    },
  };
}
