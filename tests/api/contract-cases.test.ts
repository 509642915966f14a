import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { RETIRED } from '../../api/legacy/retired-routes.js';
import { servedRoutes } from '../../scripts/generate-compatibility.js';
import type { ContractCase, ErrorShape } from '../support/contract-cases/case.js';
import { CONTRACT_CASES } from '../support/contract-cases/index.js';
import {
  anonymous,
  checkAgainst,
  contractRoutes,
  contractSchema,
  membersMissing,
} from '../support/contract-document.js';
import { startContractWorld, type ContractWorld } from '../support/contract-world.js';

/** Without the marks of parameters that take several segments, as in the OpenAPI document. */
const ROUTES = new Map(
  servedRoutes().map((route) => [
    `${route.method.toUpperCase()} ${route.path.replaceAll(':path}', '}')}`,
    route,
  ]),
);
const NOT_CACHED = {
  'cache-control': 'no-cache, no-store, must-revalidate, max-age=0',
  pragma: 'no-cache',
  expires: '0',
};
/** Contract 1.5. */
const SHAPES: Record<ErrorShape, z.ZodType> = {
  A: z.strictObject({ detail: z.string().min(1) }),
  B: z.strictObject({
    detail: z
      .array(
        z.strictObject({
          type: z.string(),
          loc: z.array(z.union([z.string(), z.int()])).min(1),
          msg: z.string().min(1),
          input: z.unknown(),
          ctx: z.record(z.string(), z.unknown()).optional(),
        }),
      )
      .min(1),
  }),
  C: z.looseObject({ error: z.string().min(1) }),
  D: z.string().min(1),
  E: z.strictObject({ message: z.string().min(1) }),
  F: z.looseObject({ status: z.literal('error') }),
};
/** Contract 1.3; those of events are the agent-server's. */
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?Z$/;
const TIMES = new Set(['created_at', 'updated_at', 'last_updated_at', 'expires_at', 'last_used_at']);

let world: ContractWorld;
beforeAll(async () => {
  world = await startContractWorld();
});
afterAll(() => world.close());

const titleOf = ({ route, what, status }: ContractCase) =>
  `${route}${what === '' ? '' : ` ${what}`}: ${status}`;

describe('the contract', () => {
  it('has a case of each route that is served, which is answered as it should, and one that is refused', () => {
    const cases = (refused: boolean) =>
      new Set(CONTRACT_CASES.filter(({ status }) => status >= 400 === refused).map(({ route }) => route));
    const all = [...ROUTES.keys()];
    expect(all.filter((route) => !cases(false).has(route)).sort()).toEqual([...NEVER_SERVED].sort());
    expect(all.filter((route) => !cases(true).has(route)).sort()).toEqual([...NEVER_REFUSED].sort());
    expect(CONTRACT_CASES.map(({ route }) => route).filter((route) => !ROUTES.has(route))).toEqual([]);
  });

  it('is served as its document has it, route by route', () => {
    expect(contractRoutes().length).toBeGreaterThan(60);
    const all = new Set([...ROUTES.keys()].map(anonymous));
    expect(contractRoutes().filter((route) => !all.has(route))).toEqual([]);
  });

  it('has paths that answer 405 to other methods and 307 to a slash at their end, with the query', async () => {
    const routes = [...ROUTES.values()].map(({ method, path }) => ({
      method: method.toUpperCase(),
      path: path.replaceAll(/\{[^}]*\}/g, 'a'),
      takesAnything: path.endsWith(':path}'),
      pattern: new RegExp(`^${path.replaceAll(/\{\w+:path\}/g, '.+').replaceAll(/\{[^}]*\}/g, '[^/]+')}$`),
    }));
    for (const path of new Set(routes.map((route) => route.path))) {
      const url = `${world.url}${path}`;
      const known = routes.filter(({ pattern }) => pattern.test(path)).map((route) => route.method);
      const method = ['PUT', 'PATCH', 'DELETE', 'POST', 'GET'].find((other) => !known.includes(other)) ?? '';
      const refused = await fetch(url, { method });
      expect([path, refused.status, await refused.json()]).toEqual([
        path,
        405,
        { detail: 'Method Not Allowed' },
      ]);
      // There a slash at the end is a part of what is named.
      if (routes.some((route) => route.path === path && route.takesAnything)) continue;
      const moved = await fetch(`${url}/?a=b&a=c`, { redirect: 'manual' });
      expect([moved.status, moved.headers.get('location')]).toEqual([307, `${url}?a=b&a=c`]);
    }
  });

  it('names each case differently', () => {
    expect(new Set(CONTRACT_CASES.map(titleOf)).size).toBe(CONTRACT_CASES.length);
  });

  it.each(CONTRACT_CASES.map((given) => [titleOf(given), given] as const))('%s', async (_, given) => {
    const { response, text, fill } = await world.send(given);
    expect(response.status, text).toBe(given.status);
    expect(Object.fromEntries(response.headers)).toMatchObject(NOT_CACHED);
    for (const [name, pattern] of Object.entries(given.answered)) {
      expect(response.headers.get(name), name).toMatch(pattern);
    }
    const definition = ROUTES.get(given.route);
    const { schema, contentType = 'application/json' } = definition?.responses[given.status] ?? {};
    if (given.status >= 400 || schema) expect(response.headers.get('content-type')).toContain(contentType);
    if (!response.headers.get('content-type')?.startsWith('application/json')) {
      if (given.answer !== undefined) expect(text).toBe(given.answer);
      return;
    }
    const body = JSON.parse(text) as unknown;
    if (given.answer !== undefined) expect({ body }).toMatchObject({ body: filled(given.answer, fill) });
    if (given.shape) {
      SHAPES[given.shape].parse(body);
      return;
    }
    if (schema) expect(schema.parse(body), 'as the route declares it, and nothing else').toEqual(body);
    const promised = contractSchema(given.route, given.status);
    if (promised) {
      checkAgainst(promised, body);
      expect(membersMissing(promised, body)).toEqual([]);
    }
    for (const time of timesIn(body)) expect(time).toMatch(TIME);
  });
});

const NEVER_SERVED = [
  // Routes that only serve providers of identity and browsers on their way back from them.
  'GET /api/auth/callback',
  'POST /api/auth/backchannel-logout',
  'POST /api/reset-settings',
  ...RETIRED.map(({ route }) => route),
];
/** Open to everybody, whatever they send. */
const NEVER_REFUSED = [
  'GET /alive',
  'GET /health',
  'GET /ready',
  'GET /server_info',
  'GET /api/v1/web-client/config',
  'GET /api/options/config',
  'GET /api/service/health',
  'GET /api/auth/login',
  'POST /api/auth/logout',
  'POST /api/logout',
];

function filled(value: unknown, fill: (text: string) => string): unknown {
  if (typeof value === 'string') return fill(value);
  if (value === null || typeof value !== 'object') return value;
  return JSON.parse(fill(JSON.stringify(value))) as unknown;
}

/** Times of things of ours, wherever they are. */
function timesIn(value: unknown): string[] {
  if (value === null || typeof value !== 'object') return [];
  if (Array.isArray(value)) return value.flatMap(timesIn);
  return Object.entries(value).flatMap(([name, member]) =>
    TIMES.has(name) && typeof member === 'string' ? [member] : timesIn(member),
  );
}
