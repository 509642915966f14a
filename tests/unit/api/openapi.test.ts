import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { openApiDocument } from '../../../api/openapi.js';
import { route } from '../../../api/route.js';
import { HexUuid, PageLimit, pageOf } from '../../../contract/primitives.js';
import { StartRequest } from '../../../contract/start-task.js';

const document = openApiDocument([
  route({
    method: 'get',
    path: '/things/search',
    summary: 'List things',
    tag: 'Things',
    guard: 'user',
    query: z.object({ id: z.array(HexUuid), limit: PageLimit, page_id: z.string().optional() }),
    responses: { 200: { description: 'A page.', schema: pageOf(z.object({ id: z.string() })) } },
    handle: () => Promise.resolve({}),
  }),
  route({
    method: 'post',
    path: '/things/{id}/files/{name:path}',
    summary: 'Start',
    tag: 'Things',
    guard: 'open',
    params: z.object({ id: HexUuid }),
    body: StartRequest,
    responses: {
      200: { description: 'A text.', schema: z.string(), contentType: 'text/plain' },
      404: { description: 'None.' },
    },
    handle: () => Promise.resolve({}),
  }),
]);

type Operation = {
  parameters?: { name: string; in: string; required: boolean; schema: unknown; explode?: boolean }[];
  responses: Record<string, { content?: Record<string, { schema: unknown }> }>;
  requestBody?: { required: boolean; content: Record<string, { schema: Record<string, unknown> }> };
  security?: unknown;
};
const operation = (path: string, method: string) => document.paths[path]?.[method] as Operation;

describe('the OpenAPI document', () => {
  it('describes parameters as they are read', () => {
    const { parameters, security } = operation('/things/search', 'get');
    expect(parameters).toMatchObject([
      { name: 'id', in: 'query', required: true, schema: { type: 'array' }, explode: true },
      { name: 'limit', in: 'query', required: false, schema: { default: 100 } },
      { name: 'page_id', in: 'query', required: false, schema: { type: 'string' } },
    ]);
    expect(security).toBeDefined();
  });

  it('names every parameter of a path, and describes bodies as they are sent', () => {
    const { parameters, requestBody, security } = operation('/things/{id}/files/{name}', 'post');
    expect(parameters?.map(({ name, required }) => [name, required])).toEqual([
      ['id', true],
      ['name', true],
    ]);
    const schema = requestBody?.content['application/json']?.schema;
    expect(requestBody?.required).toBe(true);
    expect(schema).toMatchObject({ type: 'object' });
    expect(schema?.['required']).toBeUndefined();
    expect(security).toBeUndefined();
  });

  it('describes answers and refusals', () => {
    const { responses } = operation('/things/{id}/files/{name}', 'post');
    expect(Object.keys(responses)).toEqual(['200', '400', '403', '404', '413', '415', '422']);
    expect(responses['200']?.content).toHaveProperty('text/plain');
    expect(
      operation('/things/search', 'get').responses['200']?.content?.['application/json']?.schema,
    ).toMatchObject({
      properties: { items: { type: 'array' }, next_page_id: {} },
    });
  });

  it('describes what all routes refuse, without being told', () => {
    const { responses } = operation('/things/search', 'get');
    expect(Object.keys(responses)).toEqual(['200', '400', '401', '422', '429', '503']);
    expect(responses['422']?.content?.['application/json']?.schema).toEqual({
      $ref: '#/components/schemas/ValidationError',
    });
  });

  it('refers to nothing that it does not hold, and is JSON', () => {
    const json = JSON.stringify(document);
    expect(JSON.parse(json)).toEqual(document);
    for (const [, name] of json.matchAll(/"#\/components\/schemas\/(\w+)"/g)) {
      expect(document.components.schemas).toHaveProperty(name!);
    }
    const ids = [...json.matchAll(/"operationId":"(\w+)"/g)].map(([, id]) => id);
    expect(new Set(ids).size).toBe(2);
  });
});
