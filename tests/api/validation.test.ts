import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { HexUuid, PageLimit, QueryBoolean, WireDateTime } from '../../contract/primitives.js';
import { route } from '../../api/route.js';
import { startTestServer, type TestServer } from '../support/test-server.js';

const responses = { 200: { description: 'What was read.' } };
const echo = async ({ params, query, body }: { params: unknown; query: unknown; body: unknown }) =>
  Promise.resolve({ params: params ?? null, query: query ?? null, body: body ?? null });

const routes = [
  route({
    method: 'get',
    path: '/list',
    summary: 's',
    tag: 't',
    guard: 'user',
    query: z.object({
      limit: PageLimit,
      flag: QueryBoolean.default(false),
      since: WireDateTime.optional(),
      ids: z.array(HexUuid).optional(),
      order: z.enum(['a', 'b', 'c']).default('a'),
      kind__eq: z.enum(['One', 'Two']).optional(),
      page_id: z.string().optional(),
    }),
    responses,
    handle: echo,
  }),
  route({
    method: 'get',
    path: '/batch',
    summary: 's',
    tag: 't',
    guard: 'user',
    query: z.object({ id: z.array(z.string()) }),
    responses,
    handle: echo,
  }),
  route({
    method: 'get',
    path: '/things/{id}',
    summary: 's',
    tag: 't',
    guard: 'user',
    params: z.object({ id: HexUuid }),
    responses,
    handle: echo,
  }),
  route({
    method: 'post',
    path: '/things',
    summary: 's',
    tag: 't',
    guard: 'user',
    body: z.object({
      name: z.string(),
      count: z.int().gt(0).lte(100).default(1),
      ratio: z.number().optional(),
      role: z.literal('user').default('user'),
      content: z
        .array(z.object({ text: z.string() }))
        .min(1)
        .default([{ text: 'x' }]),
      code: z
        .string()
        .regex(/^[a-z]+$/)
        .optional(),
      short: z.string().min(3).max(5).optional(),
      flag: z.boolean().optional(),
      nested: z.object({ api_key: z.int() }).optional(),
      secrets: z.record(z.string(), z.string()).optional(),
      rule: z
        .string()
        .refine((text) => text !== 'bad', { error: 'that is bad' })
        .optional(),
    }),
    responses,
    handle: echo,
  }),
  route({
    method: 'post',
    path: '/strict',
    summary: 's',
    tag: 't',
    guard: 'user',
    body: z.strictObject({ a: z.string().optional() }),
    responses,
    handle: echo,
  }),
  route({
    method: 'post',
    path: '/optional',
    summary: 's',
    tag: 't',
    guard: 'user',
    body: z.object({ a: z.string() }).optional(),
    responses,
    handle: echo,
  }),
];

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer(routes);
});
afterAll(() => server.close());

interface Detail {
  type: string;
  loc: unknown[];
  msg: string;
  input: unknown;
  ctx?: unknown;
}
const refused = async (response: Response): Promise<Detail[]> => {
  expect(response.status).toBe(422);
  expect(response.headers.get('content-type')).toBe('application/json');
  return ((await response.json()) as { detail: Detail[] }).detail;
};
const refusedQuery = async (query: string) => refused(await server.fetch(`/list?${query}`));
const refusedBody = async (body: unknown) => refused(await server.send('POST', '/things', body));

describe('input that does not fit is refused in the shape FastAPI gives it:', () => {
  it('an absent parameter', async () => {
    expect(await refused(await server.fetch('/batch'))).toEqual([
      { type: 'missing', loc: ['query', 'id'], msg: 'Field required', input: null },
    ]);
  });

  it('an absent member, with the object that lacks it', async () => {
    expect(await refusedBody({ count: 3 })).toEqual([
      { type: 'missing', loc: ['body', 'name'], msg: 'Field required', input: { count: 3 } },
    ]);
    expect(await refusedBody({ name: 'n', content: [{ a: 1 }] })).toEqual([
      { type: 'missing', loc: ['body', 'content', 0, 'text'], msg: 'Field required', input: { a: 1 } },
    ]);
  });

  it('a number out of bounds, as it was written', async () => {
    expect(await refusedQuery('limit=0')).toEqual([
      {
        type: 'greater_than',
        loc: ['query', 'limit'],
        msg: 'Input should be greater than 0',
        input: '0',
        ctx: { gt: 0 },
      },
    ]);
    expect(await refusedQuery('limit=101')).toEqual([
      {
        type: 'less_than_equal',
        loc: ['query', 'limit'],
        msg: 'Input should be less than or equal to 100',
        input: '101',
        ctx: { le: 100 },
      },
    ]);
    expect(await refusedBody({ name: 'n', count: 0 })).toMatchObject([{ type: 'greater_than', input: 0 }]);
  });

  it('a number that is none', async () => {
    expect(await refusedQuery('limit=many')).toMatchObject([
      { type: 'int_parsing', loc: ['query', 'limit'], input: 'many' },
    ]);
    expect(await refusedQuery('limit=1.5')).toMatchObject([{ loc: ['query', 'limit'], input: '1.5' }]);
    expect(await refusedBody({ name: 'n', count: 1.5 })).toMatchObject([
      { type: 'int_from_float', input: 1.5 },
    ]);
    expect(await refusedBody({ name: 'n', ratio: 'x' })).toMatchObject([{ type: 'float_type' }]);
  });

  it('a bad UUID in the path and in a list', async () => {
    expect(await refused(await server.fetch('/things/abc'))).toMatchObject([
      {
        type: 'uuid_parsing',
        loc: ['path', 'id'],
        msg: expect.stringMatching(/^Input should be a valid UUID, /) as string,
        input: 'abc',
        ctx: { error: expect.any(String) as string },
      },
    ]);
    const good = 'A'.repeat(32);
    expect(await refusedQuery(`ids=${good}&ids=x`)).toMatchObject([
      { type: 'uuid_parsing', loc: ['query', 'ids', 1], input: 'x' },
    ]);
  });

  it('a bad enum member and a bad literal', async () => {
    expect(await refusedQuery('order=z')).toEqual([
      {
        type: 'enum',
        loc: ['query', 'order'],
        msg: "Input should be 'a', 'b' or 'c'",
        input: 'z',
        ctx: { expected: "'a', 'b' or 'c'" },
      },
    ]);
    expect(await refusedBody({ name: 'n', role: 'system' })).toEqual([
      {
        type: 'literal_error',
        loc: ['body', 'role'],
        msg: "Input should be 'user'",
        input: 'system',
        ctx: { expected: "'user'" },
      },
    ]);
    expect(await refusedQuery('kind__eq=Three')).toMatchObject([
      { type: 'literal_error', msg: "Input should be 'One' or 'Two'" },
    ]);
  });

  it('a bad boolean and a bad date-time', async () => {
    const [boolean, ...none] = await refusedQuery('flag=maybe');
    expect(boolean).toMatchObject({ type: 'bool_parsing', loc: ['query', 'flag'], input: 'maybe' });
    expect(boolean).not.toHaveProperty('ctx');
    expect(none).toEqual([]);
    expect(await refusedQuery('since=yesterday')).toMatchObject([
      {
        type: 'datetime_from_date_parsing',
        input: 'yesterday',
        ctx: { error: expect.any(String) as string },
      },
    ]);
    expect(await refusedBody({ name: 'n', flag: 'yes' })).toMatchObject([{ type: 'bool_type' }]);
  });

  it('a list that is too short', async () => {
    expect(await refusedBody({ name: 'n', content: [] })).toEqual([
      {
        type: 'too_short',
        loc: ['body', 'content'],
        msg: 'List should have at least 1 item after validation, not 0',
        input: [],
        ctx: { field_type: 'List', min_length: 1, actual_length: 0 },
      },
    ]);
  });

  it('a text that is too short, too long, or does not match', async () => {
    expect(await refusedBody({ name: 'n', short: 'ab' })).toMatchObject([
      { type: 'string_too_short', ctx: { min_length: 3 } },
    ]);
    expect(await refusedBody({ name: 'n', short: 'abcdef' })).toMatchObject([
      { type: 'string_too_long', ctx: { max_length: 5 } },
    ]);
    expect(await refusedBody({ name: 'n', code: 'A1' })).toEqual([
      {
        type: 'string_pattern_mismatch',
        loc: ['body', 'code'],
        msg: "String should match pattern '^[a-z]+$'",
        input: 'A1',
        ctx: { pattern: '^[a-z]+$' },
      },
    ]);
  });

  it('an extra member of a strict body', async () => {
    expect(await refused(await server.send('POST', '/strict', { a: 'x', b: 1 }))).toEqual([
      { type: 'extra_forbidden', loc: ['body', 'b'], msg: 'Extra inputs are not permitted', input: 1 },
    ]);
  });

  it('a broken rule of ours', async () => {
    expect(await refusedBody({ name: 'n', rule: 'bad' })).toEqual([
      {
        type: 'value_error',
        loc: ['body', 'rule'],
        msg: 'Value error, that is bad',
        input: 'bad',
        ctx: { error: {} },
      },
    ]);
  });

  it('a body that is no object, no JSON, or not there', async () => {
    expect(await refusedBody([1])).toMatchObject([{ type: 'dict_type', loc: ['body'], input: [1] }]);
    expect(await refusedBody('{"name": x}')).toMatchObject([
      {
        type: 'json_invalid',
        loc: ['body', expect.any(Number) as number],
        msg: 'JSON decode error',
        ctx: { error: expect.any(String) as string },
      },
    ]);
    expect(await refusedBody('{"name":')).toMatchObject([{ type: 'json_invalid', loc: ['body', 8] }]);
    expect(await refusedBody('{name: 1}')).toMatchObject([{ type: 'json_invalid', loc: ['body', 1] }]);
    const missing = [{ type: 'missing', loc: ['body'], msg: 'Field required', input: null }];
    expect(await refused(await server.send('POST', '/things'))).toEqual(missing);
    expect(await refusedBody('null')).toEqual(missing);
  });

  it('everything that is wrong at once', async () => {
    expect((await refusedBody({ count: 0, role: 'x' })).map(({ loc }) => loc.at(-1))).toEqual(
      expect.arrayContaining(['name', 'count', 'role']),
    );
  });
});

describe('refusals', () => {
  it('repeat no secret', async () => {
    const bodies = [
      { name: 5, nested: { api_key: 'hunter2' } },
      { nested: { api_key: 'hunter2' }, secrets: { A: 'hunter2' }, value: 'hunter2', password: 'hunter2' },
      { name: 'n', secrets: { A: { deep: 'hunter2' } } },
      '{"api_key": "hunter2", ',
    ];
    for (const body of bodies) {
      const response = await server.send('POST', '/things', body);
      expect(response.status).toBe(422);
      expect(await response.text()).not.toContain('hunter2');
    }
    expect(JSON.stringify(server.log)).not.toContain('hunter2');
  });

  it('do not send back a large input', async () => {
    const response = await server.send('POST', '/things', { big: 'x'.repeat(50_000) });
    expect((await response.text()).length).toBeLessThan(2_000);
  });
});

describe('queries', () => {
  const read = async (query: string) =>
    ((await (await server.fetch(`/list?${query}`)).json()) as { query: Record<string, unknown> }).query;

  it('take repeated keys as lists where there is a list, even a single one', async () => {
    const id = '0'.repeat(32);
    expect((await read(`ids=${id}`))['ids']).toEqual([id]);
    expect((await read(`ids=${id}&ids=${id}`))['ids']).toEqual([id, id]);
  });

  it('take the last of repeated keys elsewhere, and no comma lists', async () => {
    expect(await read('limit=5&limit=7&order=b')).toMatchObject({ limit: 7, order: 'b' });
    const batch = (await (await server.fetch('/batch?id=a,b')).json()) as { query: unknown };
    expect(batch.query).toEqual({ id: ['a,b'] });
  });

  it('ignore unknown keys and read every spelling of a boolean', async () => {
    expect(await read('colour=red&flag=YES&__proto__=x')).toMatchObject({ flag: true, limit: 100 });
  });
});

describe('bodies', () => {
  it('may be left out where the schema says so', async () => {
    expect(await (await server.send('POST', '/optional')).json()).toMatchObject({ body: null });
    expect(await (await server.send('POST', '/optional', { a: 'x' })).json()).toMatchObject({
      body: { a: 'x' },
    });
  });

  it('are JSON and nothing else', async () => {
    const response = await server.send('POST', '/things', '{"name":"n"}', { 'content-type': 'text/plain' });
    expect(await refused(response)).toMatchObject([{ type: 'model_attributes_type', loc: ['body'] }]);
    const suffixed = await server.send('POST', '/things', '{"name":"n"}', {
      'content-type': 'application/merge-patch+json; charset=utf-8',
    });
    expect(suffixed.status).toBe(200);
  });

  it('that are too large are refused with the limit', async () => {
    const response = await server.send('POST', '/things', { name: 'x'.repeat(100_001) });
    expect(response.status).toBe(413);
    expect(await response.json()).toEqual({
      detail: 'The request body is too large. The limit is 100000 bytes.',
    });
  });
});
