/** The OpenAPI 3.1 document of what is served, made from the route definitions. */
import { z } from 'zod';
import { ERROR_SCHEMAS, sharedRefusals } from './openapi-refusals.js';
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

/** Describes all routes; `/docs` and clients' generators read it. */
export function openApiDocument(routes: readonly RouteDefinition[], version = '0.7.0'): OpenApiDocument {
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
      schemas: { ...ERROR_SCHEMAS },
      securitySchemes: {
        instanceKey: { type: 'apiKey', in: 'header', name: 'X-Session-API-Key' },
        bearer: { type: 'http', scheme: 'bearer' },
      },
    },
  };
}

function operation(route: RouteDefinition): JsonSchema {
  const body = route.body ?? route.describedBody;
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
    ...(body
      ? {
          requestBody: {
            required: !body.safeParse(undefined).success,
            content: { 'application/json': { schema: schemaOf(body, 'input') } },
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
  const shared = Object.entries(sharedRefusals(route)).map(([status, { description, schema }]) => [
    status,
    { description, content: { 'application/json': { schema: reference(schema) } } },
  ]);
  const declared = Object.entries(route.responses).map(([status, { description, schema, contentType }]) => {
    const shown = schema ? schemaOf(schema, 'output') : undefined;
    const isRefusal = Number(status) !== success && !isMove(status);
    const refusal = isRefusal ? reference(status === '422' ? 'ValidationError' : 'Error') : undefined;
    const content = shown ?? refusal;
    return [
      status,
      {
        description,
        ...(content ? { content: { [contentType ?? 'application/json']: { schema: content } } } : {}),
      },
    ];
  });
  return {
    ...Object.fromEntries(shared),
    ...Object.fromEntries(declared),
    ...(route.isPolled ? { 304: { description: 'What the caller has, by its `If-None-Match`.' } } : {}),
  } as JsonSchema;
}

/** Says where else to go, and nothing that programs read. */
const isMove = (status: string): boolean => status.startsWith('3');

const reference = (name: string): JsonSchema => ({ $ref: `#/components/schemas/${name}` });

/** What goes in is described before, what comes out after transformation; a mere function is described as anything. */
function schemaOf(schema: z.core.$ZodType, io: 'input' | 'output'): JsonSchema {
  const { $schema: _dialect, ...described } = z.toJSONSchema(schema, {
    io,
    unrepresentable: 'any',
    // What goes in in several forms may come out in the same one.
    override: ({ jsonSchema }) => {
      if (io !== 'output' || !jsonSchema.oneOf) return;
      jsonSchema.anyOf = jsonSchema.oneOf;
      delete jsonSchema.oneOf;
    },
  });
  return described;
}
