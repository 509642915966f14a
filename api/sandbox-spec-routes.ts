import { z } from 'zod';
import { PageLimit, pageOf } from '../contract/primitives.js';
import { SandboxSpecInfo } from '../contract/sandbox.js';
import { HttpError } from './http-error.js';
import { route, type RouteDefinition } from './route.js';
import type { SandboxSpecs } from './sandbox-specs.js';

const BATCH_LIMIT = 100;

/** Sandbox specs: search and batch (contract 5.8). */
export const sandboxSpecRoutes = ({ specs }: { specs: Pick<SandboxSpecs, 'all'> }): RouteDefinition[] => [
  route({
    method: 'get',
    path: '/api/v1/sandbox-specs/search',
    summary: 'List what sandboxes are made from',
    tag: 'Sandboxes',
    guard: 'user',
    query: z.object({ page_id: z.string().optional(), limit: PageLimit }),
    responses: { 200: { description: 'A page of specs.', schema: pageOf(SandboxSpecInfo) } },
    handle({ query: { page_id, limit } }) {
      const all = specs.all();
      // The cursor is the last spec of the page before; one that means nothing is the first page.
      const start = all.findIndex(({ id }) => id === page_id) + 1;
      const items = all.slice(start, start + limit);
      const more = start + items.length < all.length;
      return Promise.resolve({ items, next_page_id: more ? (items.at(-1)?.id ?? null) : null });
    },
  }),
  route({
    method: 'get',
    path: '/api/v1/sandbox-specs',
    summary: 'Get specs by id, null for each that is not there',
    tag: 'Sandboxes',
    guard: 'user',
    query: z.object({ id: z.array(z.string()) }),
    responses: {
      200: { description: 'In the order of the ids.', schema: z.array(SandboxSpecInfo.nullable()) },
      400: { description: 'Too many ids.' },
    },
    handle({ query: { id: ids } }) {
      if (ids.length > BATCH_LIMIT) {
        const text = `Cannot request more than ${BATCH_LIMIT} sandbox specs at once, got ${ids.length}`;
        throw new HttpError(400, text);
      }
      return Promise.resolve(ids.map((id) => specs.all().find((spec) => spec.id === id) ?? null));
    },
  }),
];
