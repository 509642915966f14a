import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { destination } from 'pino';
import { createLogger, secretsOf } from '../api/log.js';
import type { Config } from '../config/config.js';
import type { Log } from './core.js';

/**
 * The log of `callboard up`: a file beside those of the engines, so that the terminal shows what a person wants to
 * see. With `LOG_JSON` set it goes to standard output instead, for whoever collects it there.
 */
export function upLogger(config: Config): Log {
  const masker = secretsOf(config);
  if (config.log.json !== null) return { masker, logger: createLogger(config.log, { masker }) };
  const directory = join(config.data.directory, 'logs');
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const file = destination({ dest: join(directory, 'callboard.log'), sync: true, mode: 0o600 });
  return { masker, logger: createLogger({ ...config.log, json: true }, { masker, destination: file }) };
}
