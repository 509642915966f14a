/** Who may post a webhook: the agent-server of the sandbox to which the session key belongs (contract 6.1). */
import express, { type Request, type RequestHandler, type Response } from 'express';
import type { SandboxRecord, SandboxRepository } from '../db/sandbox-repository.js';
import { JsonSyntaxError } from '../events/event-json.js';
import { lookupHash } from '../identity/vault.js';
import { HttpError } from './http-error.js';
import { RequestValidationError } from './validation-error.js';

export interface WebhookGuardDeps {
  sandboxes: Pick<SandboxRepository, 'findBySessionKeyHash'>;
  /** True where every sandbox has to have an owner: in all auth modes but `none`. */
  requireOwner: boolean;
  /** Largest body in bytes: one post may hold a whole queue of events, and an event the whole output of a tool. */
  bodyLimit: number;
}

/** Of a caller who may not post, no more than this is looked at. */
const LARGEST_STRANGE_BODY = 1024 * 1024;

/**
 * The sandbox that posts, and what it posts. Malformed JSON is told before a bad key, as everywhere (contract 1.5).
 * @param pathSandboxId the sandbox named in the path; null in the form without one
 * @throws {HttpError} 401, {RequestValidationError} 422
 */
export async function readWebhook<Body>(
  deps: WebhookGuardDeps,
  { request, response }: { request: Request; response: Response },
  pathSandboxId: string | null,
  parse: (bytes: Buffer) => Promise<Body>,
): Promise<{ sandbox: SandboxRecord; body: Body }> {
  const sandbox = await authenticated(deps, request.get('X-Session-API-Key'), pathSandboxId);
  const refused = sandbox instanceof HttpError;
  const bytes = await rawBody(request, response, refused ? LARGEST_STRANGE_BODY : deps.bodyLimit).catch(
    (error: unknown) => {
      throw refused ? sandbox : error;
    },
  );
  const body = await parse(bytes).catch((error: unknown) => {
    throw error instanceof JsonSyntaxError ? malformed(error.offset) : error;
  });
  if (refused) throw sandbox;
  return { sandbox, body };
}

async function authenticated(
  { sandboxes, requireOwner }: WebhookGuardDeps,
  key: string | undefined,
  pathSandboxId: string | null,
): Promise<SandboxRecord | HttpError> {
  if (!key) return new HttpError(401, 'X-Session-API-Key header is required');
  // The state of the sandbox does not matter: one that is paused posts what it still had.
  const sandbox = await sandboxes.findBySessionKeyHash(lookupHash(key));
  if (!sandbox) return new HttpError(401, 'Invalid session API key');
  if (pathSandboxId !== null && pathSandboxId !== sandbox.id) return new HttpError(401, 'Unauthorized');
  if (requireOwner && sandbox.createdByUserId === null) {
    return new HttpError(401, 'Sandbox had no user specified');
  }
  return sandbox;
}

/** The body's bytes, unpacked. */
async function rawBody(request: Request, response: Response, limit: number): Promise<Buffer> {
  const read: RequestHandler = express.raw({ type: () => true, limit });
  await new Promise<void>((resolve, reject) => {
    const done = (error?: unknown): void => {
      if (error instanceof Error) reject(error);
      else resolve();
    };
    void read(request, response, done);
  });
  const body: unknown = request.body;
  return Buffer.isBuffer(body) ? body : Buffer.alloc(0);
}

const malformed = (offset: number): RequestValidationError =>
  new RequestValidationError([
    {
      type: 'json_invalid',
      loc: ['body', offset],
      msg: 'JSON decode error',
      input: {},
      ctx: { error: 'Expecting valid JSON' },
    },
  ]);
