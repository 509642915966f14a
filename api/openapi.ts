/** The OpenAPI 3.1 document of what is served, made from the route definitions. */
import { z } from 'zod';
import { successStatus } from './register-routes.js';
import { isList, shapeOf } from './request-input.js';
import type { RouteDefinition } from './route.js';

type JsonSchema = Record<string, unknown>;

export interface OpenApiDocument {
  openapi: '3.1.0';
  info: { title: string; version: string };
  paths: Record<string, Record<string, unknown>>;
  components: { schemas: Record<string, JsonSchema>; securitySchemes: Record<string, JsonSchema> };
}

/** How errors look, by status (contract 1.5). */
const VALIDATION_ERROR: JsonSchema = {
  type: 'object',
  properties: {
    detail: {
      type: 'array',
      items: {
        type: 'object',
        properties: {
          loc: { type: 'array', items: { anyOf: [{ type: 'string' }, { type: 'integer' }] } },
          msg: { type: 'string' },
          type: { type: 'string' },
        },
        required: ['loc', 'msg', 'type'],
      },
    },
  },
};
const PLAIN_ERROR: JsonSchema = {
  type: 'object',
  properties: { detail: { type: 'string' } },
};

/** Describes all routes; `/docs` and clients' generators read it. */
export function openApiDocument(routes: readonly RouteDefinition[], version = '0.2.0'): OpenApiDocument {
  const paths: OpenApiDocument['paths'] = {};
  for (const route of routes) {
    const path = route.path.replaceAll(':path}', '}');
    paths[path] = { ...paths[path], [route.method]: operation(route) };
  }
  return {
    openapi: '3.1.0',
    info: { title: 'Callboard', version },
    paths,
    components: {
      schemas: { ValidationError: VALIDATION_ERROR, Error: PLAIN_ERROR },
      securitySchemes: {
        instanceKey: { type: 'apiKey', in: 'header', name: 'X-Session-API-Key' },
        bearer: { type: 'http', scheme: 'bearer' },
      },
    },
  };
}

function operation(route: RouteDefinition): JsonSchema {
  const parameters = [
    ...parametersOf(route.params, 'path', route),
    ...parametersOf(route.query, 'query', route),
  ];
  return {
    summary: route.summary,
    tags: [route.tag],
    operationId: operationId(route),
    ...(route.guard === 'user' ? { security: [{}, { instanceKey: [] }, { bearer: [] }] } : {}),
    ...(parameters.length > 0 ? { parameters } : {}),
    ...(route.body
      ? {
          requestBody: {
            required: !route.body.safeParse(undefined).success,
            content: { 'application/json': { schema: schemaOf(route.body, 'input') } },
          },
        }
      : {}),
    responses: responsesOf(route),
  };
}

/** `get /api/v1/sandboxes/{id}` is `get_api_v1_sandboxes_id`. */
const operationId = ({ method, path }: RouteDefinition): string =>
  `${method}${path.replaceAll(/[^A-Za-z0-9]+/g, '_')}`.replace(/_+$/, '');

function parametersOf(schema: z.ZodType | undefined, place: 'path' | 'query', route: RouteDefinition) {
  const members = schema ? shapeOf(schema) : {};
  // A path parameter is one whether or not its route checks it.
  const names =
    place === 'path'
      ? [...route.path.matchAll(/\{(\w+)(?::path)?\}/g)].map(([, name]) => name ?? '')
      : Object.keys(members);
  return names.map((name) => {
    const member = members[name];
    return {
      name,
      in: place,
      required: place === 'path' || (member !== undefined && !z.safeParse(member, undefined).success),
      schema: member ? schemaOf(member, 'input') : { type: 'string' },
      ...(member && isList(member) ? { style: 'form', explode: true } : {}),
    };
  });
}

function responsesOf(route: RouteDefinition): JsonSchema {
  const success = successStatus(route);
  const declared = Object.entries(route.responses).map(([status, { description, schema, contentType }]) => {
    const shown = schema ? schemaOf(schema, 'output') : undefined;
    const content = shown ?? (Number(status) === success ? undefined : reference('Error'));
    return [
      status,
      {
        description,
        ...(content ? { content: { [contentType ?? 'application/json']: { schema: content } } } : {}),
      },
    ] as const;
  });
  const validates = route.params ?? route.query ?? route.body;
  return {
    ...Object.fromEntries(declared),
    ...(validates && !route.responses[422]
      ? {
          422: {
            description: 'The request is not valid.',
            content: { 'application/json': { schema: reference('ValidationError') } },
          },
        }
      : {}),
  };
}

const reference = (name: string): JsonSchema => ({ $ref: `#/components/schemas/${name}` });

/** What goes in is described before, what comes out after transformation; a mere function is described as anything. */
function schemaOf(schema: z.core.$ZodType, io: 'input' | 'output'): JsonSchema {
  const { $schema: _dialect, ...described } = z.toJSONSchema(schema, { io, unrepresentable: 'any' });
  return described;
}
