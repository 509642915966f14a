import { z } from 'zod';
import { pageOf, QueryBoolean, type Page } from '../contract/primitives.js';
import { KNOWN_MODELS, VERIFIED_MODELS } from './data.js';
import { route, type RouteDefinition } from './route.js';

export interface ChoiceRouteDeps {
  /** The model of the instance, which nobody else may know; null without. */
  instanceModel: string | null;
}

const Model = z.object({
  provider: z.string().nullable(),
  name: z.string(),
  verified: z.boolean(),
  hidden: z.boolean(),
  canonical: z.string().nullable(),
});
type Model = z.infer<typeof Model>;
const Provider = z.object({ name: z.string(), verified: z.boolean() });
type Provider = z.infer<typeof Provider>;

const common = { method: 'get', tag: 'Choices', guard: 'user' } as const;
const Paging = z.object({
  query: z.string().optional(),
  verified__eq: QueryBoolean.optional(),
  page_id: z.string().optional(),
  limit: z.coerce.number<string>().int().gt(0).lte(100).default(50),
});

/** Models and their providers, for people to choose from; any other model can be used too (contract 11.2). */
export function choiceRoutes({ instanceModel }: ChoiceRouteDeps): RouteDefinition[] {
  const models = allModels(instanceModel);
  const providers = allProviders(models);
  return [
    route({
      ...common,
      path: '/api/v1/config/models/search',
      summary: 'Name models to choose from',
      query: Paging.extend({ provider__eq: z.string().optional() }),
      responses: { 200: { description: 'A page of models, by provider and name.', schema: pageOf(Model) } },
      handle: ({ query }) =>
        Promise.resolve(
          cut(
            models.filter(
              (model) =>
                fits(model, query) &&
                (query.provider__eq === undefined || model.provider === query.provider__eq),
            ),
            query,
          ),
        ),
    }),
    route({
      ...common,
      path: '/api/v1/config/providers/search',
      summary: 'Name the providers of models',
      query: Paging,
      responses: {
        200: { description: 'A page of providers, verified ones first.', schema: pageOf(Provider) },
      },
      handle: ({ query }) =>
        Promise.resolve(
          cut(
            providers.filter((provider) => fits(provider, query)),
            query,
          ),
        ),
    }),
  ];
}

function fits({ name, verified }: Provider, { query, verified__eq }: z.output<typeof Paging>): boolean {
  return (
    (query === undefined || name.toLowerCase().includes(query.toLowerCase())) &&
    (verified__eq === undefined || verified === verified__eq)
  );
}

/** Cursors are decimal offsets in base64 (contract 1.4): the lists do not change while the server runs. */
function cut<Item>(
  items: readonly Item[],
  { page_id, limit }: { page_id?: string | undefined; limit: number },
): Page<Item> {
  const text = Buffer.from(page_id ?? '', 'base64url').toString('latin1');
  const from = /^\d{1,9}$/.test(text) ? Number(text) : 0;
  const next = from + limit;
  return {
    items: items.slice(from, next),
    next_page_id: next < items.length ? Buffer.from(String(next)).toString('base64url') : null,
  };
}

function allModels(instanceModel: string | null): Model[] {
  const verified = new Set(
    Object.entries(VERIFIED_MODELS).flatMap(([provider, names]) =>
      names.map((name) => `${provider}/${name}`),
    ),
  );
  const known = Object.entries(KNOWN_MODELS).flatMap(([provider, names]) =>
    names.map((name) => `${provider}/${name}`),
  );
  const all = new Set([...known, ...verified, ...(instanceModel === null ? [] : [instanceModel])]);
  return [...all].sort().map((whole) => {
    const slash = whole.indexOf('/');
    return {
      provider: slash === -1 ? null : whole.slice(0, slash),
      name: whole.slice(slash + 1),
      verified: verified.has(whole),
      hidden: false,
      canonical: null,
    };
  });
}

/** Its own first, then those whose models were tried, then the others, each by name. */
function allProviders(models: readonly Model[]): Provider[] {
  const names = new Set(models.flatMap(({ provider }) => provider ?? []));
  const rank = ({ name, verified }: Provider) => (name === 'openhands' ? 0 : verified ? 1 : 2);
  return [...names]
    .map((name) => ({ name, verified: Object.hasOwn(VERIFIED_MODELS, name) }))
    .sort((a, b) => rank(a) - rank(b) || (a.name < b.name ? -1 : 1));
}
