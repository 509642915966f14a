/** Who may post a webhook: the agent-server of the sandbox to which the session key belongs (contract 6.1). */
import type { Request } from 'express';
import type { PosterRecord, SandboxRepository } from '../db/sandbox-repository.js';
import { JsonSyntaxError } from '../events/event-json.js';
import { lookupHash } from '../identity/vault.js';
import { HttpError } from './http-error.js';
import { readBody } from './read-body.js';
import { RequestValidationError } from './validation-error.js';
import type { WebhookAdmission } from './webhook-admission.js';

export interface WebhookGuardDeps {
  sandboxes: Pick<SandboxRepository, 'findPoster'>;
  admission: WebhookAdmission;
  /** True where every sandbox has to have an owner: in all auth modes but `none`. */
  requireOwner: boolean;
  /** Largest body in bytes: one post may hold a whole queue of events, and an event the whole output of a tool. */
  bodyLimit: number;
  /** Until the body has arrived, in milliseconds; 30 s if left out. */
  bodyWithinMs?: number;
}

/** Of a caller who may not post, no more than this is looked at. */
const LARGEST_STRANGE_BODY = 1024 * 1024;

/** The time that senders give a request: what arrives later is sent again anyway, in milliseconds. */
const BODY_LIMIT_MS = 30_000;

/**
 * Lets a webhook in, finds out who posts what, and has it worked on. Malformed JSON is told before a bad key, as
 * everywhere (contract 1.5).
 * @param pathSandboxId the sandbox named in the path; null in the form without one
 * @throws {HttpError} 401, 408, 413, 503, {RequestValidationError} 422, or what `work` throws
 */
export async function receiveWebhook<Body, Answer>(
  deps: WebhookGuardDeps,
  request: Request,
  pathSandboxId: string | null,
  parse: (bytes: Buffer) => Promise<Body>,
  work: (webhook: { sandbox: PosterRecord; body: Body }) => Promise<Answer>,
): Promise<Answer> {
  const key = request.get('X-Session-API-Key');
  const admitted = deps.admission.enter(key ? lookupHash(key) : '');
  try {
    const sandbox = await authenticated(deps, key, pathSandboxId);
    const refused = sandbox instanceof HttpError;
    const limits = {
      bytes: refused ? Math.min(LARGEST_STRANGE_BODY, deps.bodyLimit) : deps.bodyLimit,
      withinMs: deps.bodyWithinMs ?? BODY_LIMIT_MS,
      take: (count: number) => admitted.take(count),
    };
    const bytes = await readBody(request, limits).catch((error: unknown) => {
      throw refused ? sandbox : error;
    });
    const body = await parse(bytes).catch((error: unknown) => {
      throw error instanceof JsonSyntaxError ? malformed(error.offset) : error;
    });
    if (refused) throw sandbox;
    return await work({ sandbox, body });
  } finally {
    admitted.leave();
  }
}

async function authenticated(
  { sandboxes, requireOwner }: WebhookGuardDeps,
  key: string | undefined,
  pathSandboxId: string | null,
): Promise<PosterRecord | HttpError> {
  if (!key) return new HttpError(401, 'X-Session-API-Key header is required');
  // The state of the sandbox does not matter: one that is paused, or was just deleted, posts what it still had.
  const sandbox = await sandboxes.findPoster(lookupHash(key));
  if (!sandbox) return new HttpError(401, 'Invalid session API key');
  if (pathSandboxId !== null && pathSandboxId !== sandbox.id) return new HttpError(401, 'Unauthorized');
  if (requireOwner && sandbox.createdByUserId === null) {
    return new HttpError(401, 'Sandbox had no user specified');
  }
  return sandbox;
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
