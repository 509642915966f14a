import { whatIsWrongWith } from '../api/frontend/frontend.js';
import type { Config } from '../config/config.js';
import { UserError } from './user-error.js';

/**
 * The directory of the web client, looked into before anything is started.
 * @returns null when none is to be served
 * @throws {UserError} when there is no build in it
 */
export function requireFrontend({ server }: Pick<Config, 'server'>): string | null {
  const { frontendDirectory } = server;
  const wrong = frontendDirectory === null ? null : whatIsWrongWith(frontendDirectory);
  if (wrong !== null) throw new UserError(wrong);
  return frontendDirectory;
}
