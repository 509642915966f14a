/** Who may read secrets in the clear: a sandbox, by its session key, and only while it runs (contract 1.7, guard X). */
import type { Request } from 'express';
import type { SandboxRecord, SandboxRepository } from '../db/sandbox-repository.js';
import { lookupHash } from '../identity/vault.js';
import { HttpError } from './http-error.js';

/**
 * The running sandbox whose session key a request shows.
 * @throws {HttpError} 401
 */
export async function requireRunningSandbox(
  sandboxes: Pick<SandboxRepository, 'findBySessionKeyHash'>,
  request: Pick<Request, 'get'>,
): Promise<SandboxRecord> {
  const key = request.get('X-Session-API-Key');
  if (!key) throw new HttpError(401, 'X-Session-API-Key header is required');
  const sandbox = await sandboxes.findBySessionKeyHash(lookupHash(key));
  if (!sandbox) throw new HttpError(401, 'Invalid session API key');
  if (sandbox.status !== 'RUNNING') throw new HttpError(401, 'Sandbox is not running');
  return sandbox;
}
