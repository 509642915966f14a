/** From an error to an answer: the only place where a status is chosen for an error that does not carry one. */
import { ApplicationFailure, WorkflowNotFoundError, WorkflowUpdateFailedError } from '@temporalio/client';
import type { ErrorRequestHandler, Response } from 'express';
import type { Logger } from 'pino';
import { z } from 'zod';
import { InvalidSettings } from '../contract/settings.js';
import { isUnauthenticated } from '../identity/auth-strategy.js';
import { IdentityProviderUnavailable, SignInRefused } from '../identity/sign-in.js';
import { gitAnswer } from './git-errors.js';
import { HttpError, type ErrorAnswer } from './http-error.js';
import {
  isDatabaseOutage,
  isDiskOutage,
  isTemporalOutage,
  isUnstorableText,
  RETRY_AFTER_SECONDS,
} from './outages.js';
import { RequestValidationError, UNKNOWN_INPUT, validationDetails } from './validation-error.js';

const detail = (status: number, text: unknown, headers: Record<string, string> = {}): ErrorAnswer => ({
  status,
  body: { detail: text },
  headers,
});

const unavailable = (what: string): ErrorAnswer =>
  detail(503, `${what} does not answer; try again in a few seconds.`, {
    'Retry-After': String(RETRY_AFTER_SECONDS),
  });

/** Chooses the answer to an error; null for one that nobody foresaw. */
export function answerTo(error: unknown): ErrorAnswer | null {
  if (error instanceof HttpError) {
    return { status: error.status, body: error.body ?? { detail: error.detail }, headers: error.headers };
  }
  if (error instanceof RequestValidationError) return detail(422, error.detail);
  if (error instanceof z.core.$ZodError)
    return detail(422, validationDetails(error.issues, 'body', UNKNOWN_INPUT));
  if (isUnauthenticated(error)) return detail(401, error.message);
  if (error instanceof SignInRefused) return detail(error.reason === 'stale' ? 400 : 403, error.message);
  if (error instanceof IdentityProviderUnavailable) return unavailable('The identity provider');
  if (error instanceof InvalidSettings) return { status: 400, body: { error: error.message }, headers: {} };
  if (error instanceof WorkflowNotFoundError) return detail(404, 'Not Found');
  if (error instanceof WorkflowUpdateFailedError && error.cause instanceof ApplicationFailure) {
    // Written by an actor for whoever gave the order.
    return detail(error.cause.type?.endsWith('Conflict') ? 409 : 500, error.cause.message);
  }
  const git = gitAnswer(error);
  if (git) return git;
  if (isTemporalOutage(error)) return unavailable('The workflow service');
  if (isDatabaseOutage(error)) return unavailable('The database');
  if (isDiskOutage(error)) {
    return detail(
      503,
      'The disk of the server is full or cannot be written to; nothing was stored, try again later.',
      {
        'Retry-After': String(RETRY_AFTER_SECONDS),
      },
    );
  }
  if (isUnstorableText(error)) return detail(400, 'Text must not contain NUL characters.');
  return bodyReaderAnswer(error);
}

/** Errors of the body reader and of the router carry a status and a type. */
function bodyReaderAnswer(error: unknown): ErrorAnswer | null {
  if (error instanceof URIError) return detail(400, 'The path is not valid percent-encoded UTF-8.');
  if (!(error instanceof Error) || !('type' in error)) return null;
  switch (error.type) {
    case 'entity.too.large': {
      const limit = 'limit' in error ? ` The limit is ${String(error.limit)} bytes.` : '';
      return detail(413, `The request body is too large.${limit}`);
    }
    case 'encoding.unsupported':
      return detail(415, 'The content encoding of the request body is not supported.');
    case 'request.aborted':
    case 'request.size.invalid':
      return detail(400, 'The request body is not complete.');
    default:
      return null;
  }
}

/** Sends a value as JSON without the charset that Express adds: exactly the reference's content type. */
export function sendJson(response: Response, status: number, value: unknown): void {
  const body = JSON.stringify(value);
  response.status(status);
  response.setHeader('Content-Type', 'application/json');
  response.setHeader('Content-Length', Buffer.byteLength(body));
  response.end(body); // as text, so that head and body leave in one piece
}

/** Answers whatever went wrong, and logs what somebody should know of. */
export function errorHandler(logger: Pick<Logger, 'error' | 'warn'>): ErrorRequestHandler {
  return (error: unknown, request, response, _next) => {
    const answer = answerTo(error);
    const where = { method: request.method, path: request.path };
    if (!answer) logger.error({ err: error, ...where }, 'a request failed');
    else if (answer.status >= 500) logger.warn({ err: error, ...where }, 'a request could not be served');
    if (response.headersSent) {
      // A stream has begun: cut it, a second answer inside it would be read as data.
      response.destroy();
      return;
    }
    if (!answer) {
      response.status(500).type('text/plain').send('Internal Server Error');
      return;
    }
    for (const [name, value] of Object.entries(answer.headers)) response.setHeader(name, value);
    sendJson(response, answer.status, answer.body);
  };
}
