/** Puts route definitions on an Express router: order, guards, validation, answers. */
import { Router, type Request, type RequestHandler } from 'express';
import type { Secret } from '../contract/masking.js';
import { NOBODY, type AuthStrategy } from '../identity/auth-strategy.js';
import type { UserContext } from '../identity/user-context.js';
import { sendUnlessKnown } from './entity-tag.js';
import { sendJson } from './errors.js';
import { requireOwnPage, type CrossSiteOptions } from './middleware/cross-site.js';
import { inTurn } from './middleware/in-turn.js';
import { requireInstanceKey } from './middleware/instance-key.js';
import { classOf, type RateLimits } from './rate-limits.js';
import { readInput, readJsonBody } from './request-input.js';
import type { RouteDefinition } from './route.js';
import { RequestValidationError } from './validation-error.js';
import { isRefusedKey, showsKey, type WrongKeys } from './wrong-keys.js';

export interface RouteGuards extends CrossSiteOptions {
  auth: AuthStrategy;
  instanceKey: Secret | null;
  /** Absent: nothing is counted. */
  limits?: RateLimits;
  /** Absent: nobody shows wrong keys too often. */
  wrongKeys?: WrongKeys;
  /** Largest body of a route that does not say otherwise, in bytes. */
  bodyLimitBytes: number;
}

/** Where the methods of a path are collected while a request looks for its route. */
const ALLOWED = 'allowedMethods';

/**
 * Registers all routes. Literal segments are tried before parameters, so that `search` is never an id, whatever the
 * order of the definitions.
 * @throws {Error} when two definitions claim the same method and path
 */
export function registerRoutes(routes: readonly RouteDefinition[], guards: RouteGuards): RequestHandler {
  const byPath = new Map<string, RouteDefinition[]>();
  for (const route of [...routes].sort((a, b) => comparePaths(a.path, b.path))) {
    const same = byPath.get(route.path) ?? [];
    if (same.some(({ method }) => method === route.method)) {
      throw new Error(`${route.method.toUpperCase()} ${route.path} is defined twice`);
    }
    byPath.set(route.path, [...same, route]);
  }
  const places = new Map<string, Router>();
  const elsewhere = newRouter();
  for (const [path, definitions] of byPath) {
    const place = placeOf(path);
    const around = place === null ? elsewhere : (places.get(place) ?? newRouter());
    if (place !== null) places.set(place, around);
    const here = around.route(expressPath(path));
    for (const definition of definitions) here[definition.method](...handlersOf(definition, guards));
    here.all(collectMethods(definitions));
  }
  return inTurn(
    atPlace(places, (path) => path),
    atPlace(places, commonPlace),
    elsewhere,
    refuseMethod,
  );
}

const newRouter = (): Router => Router({ caseSensitive: true, strict: true });

/** How many segments the routes of a place share: `/api/v1/sandboxes` has three. */
const SHARED_SEGMENTS = 3;

/**
 * Where a route is looked up, so that a request is not held against all of them in turn: one without parameters under its
 * own path, one with parameters under the segments that it begins with; null where those are too few. In this order they
 * are tried, which is that of {@link comparePaths}: whatever a request fits beside has a parameter earlier.
 */
function placeOf(path: string): string | null {
  const place = path.includes('{') ? commonPlace(path) : path;
  return place.includes('{') ? null : place;
}

/** The first segments of a path, with the slash behind them; the whole path where it has no more. */
function commonPlace(path: string): string {
  let end = 0;
  for (let count = 0; count < SHARED_SEGMENTS; count++) {
    end = path.indexOf('/', end + 1);
    if (end === -1) return path;
  }
  return path.slice(0, end + 1);
}

const atPlace =
  (places: ReadonlyMap<string, Router>, placeIn: (path: string) => string): RequestHandler =>
  (request, response, next) => {
    const router = places.get(placeIn(request.path));
    if (router) router(request, response, next);
    else next();
  };

/** Malformed JSON first, then the guard, then path, query and body, then the handler (contract 1.5). */
function handlersOf(route: RouteDefinition, guards: RouteGuards): RequestHandler[] {
  const limits = classOf(route) === null ? undefined : guards.limits;
  const key = ownGuard(route);
  const handle: RequestHandler = async (request, response) => {
    const user = await authenticate(route, request, guards);
    if (limits) await limits.count(route, user, request, response);
    const answer = await countingWrongKeys(key, request, guards, async () => {
      const input = read(route, () => readInput(route, request));
      return route.handle({ ...input, user, request, response });
    });
    if (answer !== undefined) send(route, request, response, answer);
    else if (!response.headersSent) throw new Error(`${route.method} ${route.path} gave no answer`);
  };
  if (!route.body) return [handle];
  const readers = readJsonBody(route.bodyLimit ?? guards.bodyLimitBytes);
  return [...readers.map((reader) => refusing(route, reader)), handle];
}

/** A step in front of the handler, refusing as the route does. */
const refusing =
  (route: RouteDefinition, step: RequestHandler): RequestHandler =>
  (request, response, next) =>
    read(route, () => step(request, response, next));

/** Reads input; a body that does not fit is refused in the route's own words, where it has some. */
function read<Input>({ refuseBody }: RouteDefinition, input: () => Input): Input {
  try {
    return input();
  } catch (error) {
    if (!refuseBody || !(error instanceof RequestValidationError)) throw error;
    throw error.detail.every(({ loc: [place] }) => place === 'body') ? refuseBody(error) : error;
  }
}

/** Whether somebody chose the key for which a route asks; null where wrong ones are not counted. */
type KeyKind = 'chosen' | 'random' | null;

/** Routes with a guard of their own; agent-servers that come back with old keys are no guessers. */
const ownGuard = ({ guard, limit }: RouteDefinition): KeyKind => {
  if (guard !== 'self' || limit === 'free') return null;
  return limit === 'secret' ? 'chosen' : 'random';
};

function countingWrongKeys<Result>(
  kind: KeyKind,
  request: Request,
  { wrongKeys }: RouteGuards,
  work: () => Promise<Result>,
): Promise<Result> {
  if (!wrongKeys || kind === null || !showsKey(request.headers)) return work();
  return notingWrongKey(kind, request, wrongKeys, work);
}

async function notingWrongKey<Result>(
  kind: 'chosen' | 'random',
  request: Request,
  wrongKeys: WrongKeys,
  work: () => Promise<Result>,
): Promise<Result> {
  if (kind === 'chosen') wrongKeys.admit(request);
  try {
    return await work();
  } catch (error) {
    throw isRefusedKey(error) ? wrongKeys.note(request, error) : error;
  }
}

async function authenticate(
  { guard }: RouteDefinition,
  request: Request,
  guards: RouteGuards,
): Promise<UserContext> {
  if (guard !== 'user') return NOBODY;
  const kind = guards.instanceKey === null ? 'random' : 'chosen';
  const user = await countingWrongKeys(kind, request, guards, async () => {
    requireInstanceKey(request.headers, guards.instanceKey);
    return guards.auth.authenticate(request.headers);
  });
  if (user.authType === 'cookie') requireOwnPage(request, guards);
  return user;
}

function send(
  route: RouteDefinition,
  request: Request,
  response: Parameters<RequestHandler>[1],
  answer: unknown,
): void {
  const status = successStatus(route);
  if (route.isPolled) {
    sendUnlessKnown(request, response, answer);
    return;
  }
  const contentType = route.responses[status]?.contentType;
  if (contentType === undefined || contentType === 'application/json') {
    sendJson(response, status, answer);
  } else {
    response.status(status).type(contentType).send(String(answer));
  }
}

/** The first success that a route declares; numeric keys are in ascending order. */
export const successStatus = ({ responses }: RouteDefinition): number =>
  Object.keys(responses)
    .map(Number)
    .find((status) => status >= 200 && status < 300) ?? 200;

const collectMethods =
  (definitions: readonly RouteDefinition[]): RequestHandler =>
  (_request, response, next) => {
    const allowed = (response.locals[ALLOWED] ??= new Set<string>()) as Set<string>;
    for (const { method } of definitions) allowed.add(method.toUpperCase());
    next();
  };

/** A path that exists, asked by a method it does not have. */
const refuseMethod: RequestHandler = (_request, response, next) => {
  const allowed = response.locals[ALLOWED] as Set<string> | undefined;
  if (!allowed) {
    next();
    return;
  }
  response.setHeader('Allow', [...allowed].sort().join(', '));
  sendJson(response, 405, { detail: 'Method Not Allowed' });
};

/** `{id}` is one segment, `{name:path}` one or more. */
const expressPath = (path: string): string =>
  path.replaceAll(/\{(\w+):path\}/g, '*$1').replaceAll(/\{(\w+)\}/g, ':$1');

/** Literal segments before parameters before those that span segments; otherwise as they come. */
function comparePaths(a: string, b: string): number {
  const [left, right] = [a.split('/'), b.split('/')];
  for (let index = 0; index < Math.max(left.length, right.length); index++) {
    const difference = rank(left[index]) - rank(right[index]);
    if (difference !== 0) return difference;
  }
  return 0;
}

const rank = (segment: string | undefined): number => {
  if (segment === undefined || !segment.startsWith('{')) return 0;
  return segment.endsWith(':path}') ? 2 : 1;
};
