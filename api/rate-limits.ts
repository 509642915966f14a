/**
 * How often callers may do what costs something. Reading is never limited: clients that poll share nothing with those
 * that order, and a conversation that is opened anew waits for nobody.
 */
import type { Request, Response } from 'express';
import { rateLimit, type RateLimitRequestHandler } from 'express-rate-limit';
import type { Config } from '../config/config.js';
import type { UserContext } from '../identity/user-context.js';
import { callerAddress } from './caller-address.js';
import { HttpError } from './http-error.js';
import type { LimitClass, RouteDefinition } from './route.js';

/** Counts a request, and refuses one too many. */
export interface RateLimits {
  /** @throws {HttpError} 429 with `Retry-After` */
  count(route: RouteDefinition, user: UserContext, request: Request, response: Response): Promise<void>;
}

const WINDOW_MS = 60_000;
/** Wrong keys are counted by `WrongKeys`, together with those of sockets. */
type CountedClass = Exclude<LimitClass, 'secret'>;

/** Counts in this process; with several, each lets the same number through. */
export function createRateLimits(perMinute: Config['limits']): RateLimits {
  const users = new WeakMap<Request, string>();
  const limiter = (name: CountedClass, limit: number): RateLimitRequestHandler | null =>
    limit === 0
      ? null
      : rateLimit({
          windowMs: WINDOW_MS,
          limit,
          identifier: name,
          standardHeaders: 'draft-8',
          legacyHeaders: false,
          keyGenerator: (request) => users.get(request) ?? `address ${callerAddress(request)}`,
          handler: (_request, _response, next) => {
            next(new HttpError(429, 'Too many requests', { message: 'Too many requests' }));
          },
        });
  const limiters: Record<CountedClass, RateLimitRequestHandler | null> = {
    write: limiter('write', perMinute.writesPerMinute),
    start: limiter('start', perMinute.startsPerMinute),
    signIn: limiter('signIn', perMinute.signInsPerMinute),
  };

  return {
    async count(route, user, request, response) {
      const name = classOf(route);
      const limit = name && limiters[name];
      if (!limit) return;
      if (name === 'write' || name === 'start') {
        // Where nobody is known there is one user, whom nothing has to be shared with.
        if (user.userId === null) return;
        users.set(request, `user ${user.userId}`);
      }
      await new Promise<void>((resolve, reject) => {
        const next = (error?: unknown): void => {
          if (error instanceof Error) reject(error);
          else resolve();
        };
        void Promise.resolve(limit(request, response, next)).catch(reject);
      });
    },
  };
}

/** What a request of a route is counted as, null for nothing. Orders of users are writes unless their route says more; what is asked for is free. */
export function classOf({ limit, guard, method }: RouteDefinition): CountedClass | null {
  if (limit !== undefined) return limit === 'free' || limit === 'secret' ? null : limit;
  return guard === 'user' && method !== 'get' ? 'write' : null;
}
