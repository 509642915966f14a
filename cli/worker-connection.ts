/** A worker's connection. It brings the whole of Temporal's worker with it, which an API has no use for. */
import { NativeConnection } from '@temporalio/worker';
import type { Logger } from 'pino';
import { pause } from './pause.js';
import type { TemporalOptions } from './temporal-connection.js';

const FIRST_WAIT_MS = 50;
const LONGEST_WAIT_MS = 5_000;

/**
 * Connects for as long as it takes: one failed attempt at boot must not leave a worker that looks healthy and does
 * nothing.
 * @throws the signal's reason when aborted.
 */
export async function connectWorker(
  options: TemporalOptions,
  logger: Logger,
  signal: AbortSignal,
): Promise<NativeConnection> {
  for (let wait = FIRST_WAIT_MS; ; wait = Math.min(wait * 2, LONGEST_WAIT_MS)) {
    signal.throwIfAborted();
    try {
      return await NativeConnection.connect(options);
    } catch (err) {
      logger.warn({ err, address: options.address }, 'Temporal does not answer yet');
      await pause(wait, signal);
    }
  }
}
