import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Waits, unless it is no longer wanted.
 * @param ms milliseconds
 * @throws the signal's own reason when aborted, which is what a person is told
 */
export async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  await sleep(ms, undefined, { signal }).catch((err: unknown) => {
    signal?.throwIfAborted();
    throw err;
  });
}
