import { Runtime, type LogLevel } from '@temporalio/worker';
import type { Logger } from 'pino';

const LEVELS: Record<LogLevel, 'trace' | 'debug' | 'info' | 'warn' | 'error'> = {
  TRACE: 'trace',
  DEBUG: 'debug',
  INFO: 'debug', // state changes of workers: of interest when something is wrong
  WARN: 'warn',
  ERROR: 'error',
};

let installed = false;

/**
 * Gives Temporal's runtime our logger and leaves signals to us; once per process, before any worker is made. A failed
 * activity is tried again or becomes the reason of a failed start: what Temporal logs of it is a warning at most.
 */
export function installTemporalRuntime(logger: Logger): void {
  if (installed) return;
  installed = true;
  const log = (level: LogLevel, message: string, meta?: object): void =>
    logger[LEVELS[level]]({ ...meta }, message);
  Runtime.install({
    shutdownSignals: [],
    logger: {
      log,
      trace: (message, meta) => log('TRACE', message, meta),
      debug: (message, meta) => log('DEBUG', message, meta),
      info: (message, meta) => log('INFO', message, meta),
      warn: (message, meta) => log('WARN', message, meta),
      error: (message, meta) => log('ERROR', message, meta),
    },
  });
}
