/** What the OpenAPI document says of refusals: how their bodies look, and which of them a route has without saying so. */
import { classOf } from './rate-limits.js';
import type { RouteDefinition } from './route.js';

type JsonSchema = Record<string, unknown>;

const text: JsonSchema = { type: 'string' };
const object = (properties: Record<string, JsonSchema>, ...required: string[]): JsonSchema => ({
  type: 'object',
  properties,
  required,
});

/** How errors look (contract 1.5). */
export const ERROR_SCHEMAS: Readonly<Record<string, JsonSchema>> = {
  ValidationError: object(
    {
      detail: {
        type: 'array',
        items: object(
          {
            type: text,
            loc: { type: 'array', items: { anyOf: [text, { type: 'integer' }] } },
            msg: text,
            input: {},
            ctx: { type: 'object' },
          },
          'loc',
          'msg',
          'type',
        ),
      },
    },
    'detail',
  ),
  Error: {
    description: 'Most routes answer with `detail`, those that older clients know by their own names for it.',
    anyOf: [
      object({ detail: text }, 'detail'),
      object({ error: text }, 'error'),
      object({ message: text }, 'message'),
      object({ status: { const: 'error' } }, 'status'),
      text,
    ],
  },
};

/** Refusals of a route that come from what all routes share, by status. */
export function sharedRefusals(
  route: RouteDefinition,
): Record<number, { description: string; schema: string }> {
  const { guard, method, params, query } = route;
  const body = route.body ?? route.describedBody;
  const refusals: Record<number, { description: string; schema: string }> = {};
  const say = (status: number, description: string, schema = 'Error') => {
    refusals[status] = { description, schema };
  };
  if (body ?? params ?? query ?? (route.path.includes('{') || null)) {
    say(
      400,
      'Something in the request is not complete, or cannot be stored: text with NUL characters, for one.',
    );
  }
  if (guard === 'user') say(401, 'Nothing was shown that tells who asks, or it is not valid any more.');
  if (method !== 'get') say(403, 'A web page of somebody else has sent this.');
  if (body) {
    say(413, 'The body is too large.');
    say(415, 'The body is packed in a way that is not known here.');
  }
  if (params ?? query ?? body) say(422, 'The request is not valid.', 'ValidationError');
  if (classOf(route) !== null || guard !== 'open') {
    say(429, 'Too many requests, or too many wrong keys; `Retry-After` says when to come back.');
  }
  if (guard !== 'open')
    say(503, 'Something that is needed does not answer; `Retry-After` says when to come back.');
  return refusals;
}
