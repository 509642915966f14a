/** The boundaries of the identity design: what no route takes and no table of conversations holds. */
import { is } from 'drizzle-orm';
import { getTableConfig, PgTable } from 'drizzle-orm/pg-core';
import { describe, expect, it } from 'vitest';
import { openApiDocument } from '../../../api/openapi.js';
import * as schema from '../../../db/schema/index.js';
import { servedRoutes } from '../../../scripts/generate-compatibility.js';

/** Only the service API, which acts on behalf of others, names users and organizations in its paths. */
const SERVICE = '/api/service/';
const USER_OR_ORGANIZATION =
  /^(user|owner|created_by|creator|member|org|organi[sz]ation)(_?(user|org|organi[sz]ation))?_?ids?$|^orgs?$/i;
const PROVIDER_TOKEN = /^(provider|git(hub|lab)?|bitbucket|access|refresh)_?tokens?$/i;
/** Where people store their tokens, which is what these routes are for. */
const STORES_TOKENS = new Set([
  'post /api/v1/secrets/git-providers',
  'post /api/add-git-providers',
  'post /api/v1/settings',
  'post /api/settings',
]);

interface Operation {
  parameters?: { name: string }[];
  requestBody?: unknown;
}

const { paths } = openApiDocument(servedRoutes());
const operations = Object.entries(paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({
    route: `${method} ${path}`,
    path,
    inputs: namesIn(operation as Operation),
  })),
);

/** Every name under which a caller can send something: parameters, and members of the body at any depth. */
function namesIn({ parameters = [], requestBody }: Operation): string[] {
  const names = parameters.map(({ name }) => name);
  const walk = (value: unknown): void => {
    if (typeof value !== 'object' || value === null) return;
    for (const [name, member] of Object.entries(value)) {
      if (name === 'properties' && typeof member === 'object' && member)
        names.push(...Object.keys(member as object));
      walk(member);
    }
  };
  walk(requestBody);
  return names;
}

describe('no route', () => {
  it('takes a user id or an organization id, but for the service API', () => {
    expect(operations.length).toBeGreaterThan(50);
    const taking = operations
      .filter(({ path }) => !path.startsWith(SERVICE))
      .filter(({ route }) => !STORES_TOKENS.has(route)) // `user_id` there is the provider's, stored beside a token
      .flatMap(({ route, inputs }) =>
        inputs.filter((name) => USER_OR_ORGANIZATION.test(name)).map((name) => `${route}: ${name}`),
      );
    expect(taking).toEqual([]);
  });

  it('takes a provider token, but for those that store one', () => {
    const taking = operations
      .filter(({ route }) => !STORES_TOKENS.has(route))
      .flatMap(({ route, inputs }) =>
        inputs.filter((name) => PROVIDER_TOKEN.test(name)).map((name) => `${route}: ${name}`),
      );
    expect(taking).toEqual([]);
  });

  it('names organizations in its path, but for the service API', () => {
    const naming = Object.keys(paths).filter((path) => /org/i.test(path) && !path.startsWith(SERVICE));
    expect(naming).toEqual([]);
  });
});

describe('no table', () => {
  const tables = Object.values(schema).flatMap((value) =>
    is(value, PgTable) ? [getTableConfig(value)] : [],
  );
  /** Those that say who somebody is; everything else belongs to users and to nothing else. */
  const IDENTITY = new Set([
    'users',
    'organizations',
    'organization_members',
    'sessions',
    'sign_in_states',
    'api_keys',
  ]);

  it('of things that people make has an organization id', () => {
    expect(tables.length).toBeGreaterThan(10);
    const holding = tables
      .filter(({ name }) => !IDENTITY.has(name))
      .flatMap((table) =>
        table.columns
          .filter(({ name }) => /(^|_)org(s|anizations?)?(_|$)/.test(name))
          .map(({ name }) => `${table.name}.${name}`),
      );
    expect(holding).toEqual([]);
  });
});
