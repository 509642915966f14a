/** How a route is written: one declaration serves the router, the validation and the OpenAPI document. */
import type { Request, Response } from 'express';
import type { z } from 'zod';
import type { UserContext } from '../identity/user-context.js';
import type { HttpError } from './http-error.js';
import type { RequestValidationError } from './validation-error.js';

/**
 * Who may call (contract 1.7): `user` = instance key and user strategy, `open` = anybody,
 * `self` = the handler authenticates (webhooks by session key, secrets by access token).
 */
export type Guard = 'user' | 'open' | 'self';

/**
 * What a request is counted as. `write`: orders of a user. `start`: orders that make a sandbox or a conversation.
 * `signIn`: steps of signing in, by address. `secret`: attempts to guess a secret that a person chose: wrong ones, by address.
 */
export type LimitClass = 'write' | 'start' | 'signIn' | 'secret';

export interface RouteResponse {
  description: string;
  schema?: z.ZodType;
  /** `application/json` unless given. */
  contentType?: string;
}

export interface RouteInput<Params, Query, Body> {
  params: Params;
  query: Query;
  body: Body;
  /** The acting user; on `open` and `self` routes the context of nobody in particular. */
  user: UserContext;
  request: Request;
  response: Response;
}

export interface RouteDefinition<
  Params extends z.ZodType = z.ZodType,
  Query extends z.ZodType = z.ZodType,
  Body extends z.ZodType = z.ZodType,
> {
  method: 'get' | 'post' | 'put' | 'patch' | 'delete';
  /** Absolute path in OpenAPI form: `/api/v1/sandboxes/{sandbox_id}/pause`. */
  path: string;
  summary: string;
  tag: string;
  guard: Guard;
  params?: Params;
  /** An object schema; members that are arrays take repeated keys (contract 1.1). */
  query?: Query;
  body?: Body;
  /** What the handler expects of a body that it reads itself; only described. */
  describedBody?: z.ZodType;
  /** Largest accepted body in bytes; the server's default otherwise. */
  bodyLimit?: number;
  /** Asked again and again: the answer has an `ETag`, and a request that shows it (`If-None-Match`) gets 304 while it is the same. */
  isPolled?: true;
  /** How its requests are counted, where not as its method says: orders of users as `write`, others not at all. */
  limit?: LimitClass | 'free';
  /** Tells what is wrong with a body where the contract has other words for it than the usual 422. */
  refuseBody?: (error: RequestValidationError) => HttpError;
  /** By status; the first 2xx is what the returned value is sent with. */
  responses: Record<number, RouteResponse>;
  /**
   * Returns the body to send as JSON. A handler that has written to `response` itself (stream, text) returns
   * `undefined`. Errors are thrown (`HttpError`, `ZodError`, …) and become answers in `api/errors.ts`.
   */
  handle(input: RouteInput<z.output<Params>, z.output<Query>, z.output<Body>>): Promise<unknown>;
}

/** Declares a route with the types of its schemas inferred. */
export function route<
  Params extends z.ZodType = z.ZodType,
  Query extends z.ZodType = z.ZodType,
  Body extends z.ZodType = z.ZodType,
>(definition: RouteDefinition<Params, Query, Body>): RouteDefinition {
  return definition;
}
