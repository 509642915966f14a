/**
 * The contract's own OpenAPI document, `tests/fixtures/contract/app-server.openapi.json`: what clients of release 1.11
 * were generated from, or might have been.
 */
import { readFileSync } from 'node:fs';
import { z } from 'zod';

type Json = Record<string, unknown>;

const DOCUMENT = JSON.parse(
  readFileSync(new URL('../fixtures/contract/app-server.openapi.json', import.meta.url), 'utf8').replaceAll(
    '#/components/schemas/',
    '#/$defs/',
  ),
) as { paths: Record<string, Record<string, Operation>>; components: { schemas: Record<string, Json> } };
interface Operation {
  responses: Record<string, { content?: Record<string, { schema?: Json }> }>;
}
const $defs = DOCUMENT.components.schemas;

/** Parameters are called differently in places. */
export const anonymous = (path: string): string => path.replaceAll(/\{[^}]*\}/g, '{}');
const OPERATIONS = new Map(
  Object.entries(DOCUMENT.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => [
      `${method.toUpperCase()} ${anonymous(path)}`,
      operation,
    ]),
  ),
);

/** Its routes as `METHOD path`, parameters without names. */
export const contractRoutes = (): string[] => [...OPERATIONS.keys()];

/** Paths of 2025-11 that have got others since; what is answered is the same (contract 2). */
const OLDER_PATHS: Readonly<Record<string, string>> = {
  'POST /api/v1/webhooks/{}/conversations': 'POST /api/v1/webhooks/conversations',
  'POST /api/v1/webhooks/{}/events/{}': 'POST /api/v1/webhooks/events/{}',
  'GET /api/v1/events': 'GET /api/v1/conversation/{}/events',
  'GET /api/v1/events/search': 'GET /api/v1/conversation/{}/events/search',
  'GET /api/v1/events/count': 'GET /api/v1/conversation/{}/events/count',
};

/** What the document says of the answer to a route, by its newer path; null where it says nothing. */
export function contractSchema(route: string, status: number): Json | null {
  const path = anonymous(route);
  const content = OPERATIONS.get(OLDER_PATHS[path] ?? path)?.responses[status]?.content;
  return Object.values(content ?? {})[0]?.schema ?? null;
}

/** @throws {z.ZodError} when the value is not as the schema says */
export function checkAgainst(schema: Json, value: unknown): void {
  z.fromJSONSchema({ ...schema, $defs }).parse(value);
}

/**
 * Members that the schema names and the value does not have, such as `items[0].title`. The document requires few of them, but
 * the Python server always sends all, and its clients rely on that.
 */
export function membersMissing(schema: Json, value: unknown, at = ''): string[] {
  if (typeof schema['$ref'] === 'string') {
    return membersMissing($defs[schema['$ref'].replace('#/$defs/', '')] ?? {}, value, at);
  }
  if (value === null || typeof value !== 'object') return [];
  const choices = (schema['anyOf'] ?? schema['oneOf']) as Json[] | undefined;
  if (choices) {
    const missing = choices
      .filter((choice) => fits(choice, value))
      .map((choice) => membersMissing(choice, value, at));
    return missing.sort((a, b) => a.length - b.length)[0] ?? [];
  }
  if (Array.isArray(value)) {
    return value.flatMap((item, place) =>
      membersMissing((schema['items'] ?? {}) as Json, item, `${at}[${place}]`),
    );
  }
  return Object.entries((schema['properties'] ?? {}) as Record<string, Json>).flatMap(([name, member]) => {
    const path = at === '' ? name : `${at}.${name}`;
    return name in value ? membersMissing(member, (value as Json)[name], path) : [path];
  });
}

const fits = (schema: Json, value: unknown): boolean =>
  z.fromJSONSchema({ ...schema, $defs }).safeParse(value).success;
