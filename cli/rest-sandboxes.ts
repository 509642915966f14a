import pLimit from 'p-limit';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { SandboxActors } from '../activities/sandbox-actors.js';
import type { HostSandboxes } from '../db/host-sandboxes.js';
import type { SandboxHost } from './sandbox-host.js';

/** How long the actors may take to hear of it, in milliseconds. */
const REST_LIMIT_MS = 5_000;
const LOOK_MS = 50;
/** Each agent-server that ends has events to post: not all at once. */
const PARALLEL_HALTS = 4;

export interface RestingDeps {
  hostId: string;
  sandboxes: Pick<HostSandboxes, 'restingOnHost'>;
  actors: Pick<SandboxActors, 'observe'>;
}

/**
 * Has the sandboxes of this machine in which no start is under way become PAUSED, while there is still a worker for
 * their actors.
 */
export async function restSandboxes(
  { watcher }: Pick<SandboxHost, 'watcher'>,
  { hostId, sandboxes, actors }: RestingDeps,
): Promise<void> {
  const resting = await sandboxes.restingOnHost(hostId);
  for (const id of resting) watcher.unwatch(id);
  await Promise.all(resting.map((id) => actors.observe(id, { state: 'paused' })));
  const deadline = Date.now() + REST_LIMIT_MS;
  while (Date.now() < deadline) {
    const running = new Set(await sandboxes.restingOnHost(hostId));
    if (!resting.some((id) => running.has(id))) return;
    await sleep(LOOK_MS);
  }
}

/** Ends the processes of paused sandboxes; one that does not end is said, and does not keep the others. */
export async function haltSandboxes(
  { backend }: Pick<SandboxHost, 'backend'>,
  { hostId, sandboxes, logger }: { hostId: string; sandboxes: Pick<HostSandboxes, 'ofHost'>; logger: Logger },
): Promise<void> {
  const paused = (await sandboxes.ofHost(hostId)).filter(({ status }) => status === 'PAUSED');
  const limit = pLimit(PARALLEL_HALTS);
  const halt = async (sandboxId: string): Promise<void> => {
    const handle = await backend.find(sandboxId);
    if (handle) await backend.halt(sandboxId, handle);
  };
  await Promise.all(
    paused.map(({ id: sandboxId }) =>
      limit(() =>
        halt(sandboxId).catch((err: unknown) =>
          logger.error({ err, sandboxId }, 'a sandbox could not be ended'),
        ),
      ),
    ),
  );
}
