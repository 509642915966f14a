import { z } from 'zod';
import { PageLimit, pageOf } from '../contract/primitives.js';
import type { SecretsStore } from '../identity/secrets-store.js';
import {
  InvalidProviderToken,
  ProviderTokensUpdate,
  storeProviderTokens,
  TOKEN_FAILURES,
  type ProviderTokenDeps,
} from './git-provider-tokens.js';
import { HttpError, notFound } from './http-error.js';
import { route, type RouteDefinition } from './route.js';
import { storable } from './storable-text.js';

export type SecretsRouteDeps = ProviderTokenDeps & {
  secrets: Pick<SecretsStore, 'searchCustom' | 'putCustom' | 'updateCustom' | 'deleteCustom'>;
};

const Message = z.object({ message: z.string() });
const message = (text: string): z.infer<typeof Message> => ({ message: text });
const SecretItem = z.object({ name: z.string(), description: z.string().nullable() });

const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;
/** Secrets become variables in the sandbox, so their names are variables' names. */
const SecretName = z
  .string()
  .max(256)
  .refine((name) => NAME.test(name), {
    error: 'a secret is named like an environment variable: letters, digits and _, no digit first',
    params: { type: 'value_error' },
  })
  .meta({ pattern: NAME.source });
export const NewSecret = z.object({ name: SecretName, value: z.string(), description: z.string().nullish() });
export const SecretChange = z.object({ name: SecretName, description: z.string().nullish() });

/** Custom secrets and git-provider tokens (contract 10.3); no answer holds a value. */
export const secretsRoutes = (deps: SecretsRouteDeps): RouteDefinition[] => [
  ...customSecretRoutes(deps),
  ...providerTokenRoutes(deps),
];

function customSecretRoutes({ secrets }: SecretsRouteDeps): RouteDefinition[] {
  const path = '/api/v1/secrets/{secret_id}';
  const params = z.object({ secret_id: z.string() });
  return [
    route({
      method: 'get',
      path: '/api/v1/secrets/search',
      summary: 'List custom secrets by name, without values',
      tag: 'Secrets',
      guard: 'user',
      query: z.object({
        name__contains: z.string().optional(),
        page_id: z.string().optional(),
        limit: PageLimit,
      }),
      responses: { 200: { description: 'A page of secrets.', schema: pageOf(SecretItem) } },
      async handle({ query, user }) {
        const { name__contains: nameContains, page_id: after } = storable(query);
        const found = await secrets.searchCustom(user.userId, {
          nameContains,
          after,
          limit: query.limit + 1,
        });
        const items = found.slice(0, query.limit);
        return { items, next_page_id: found.length > items.length ? (items.at(-1)?.name ?? null) : null };
      },
    }),
    route({
      method: 'post',
      path: '/api/v1/secrets',
      summary: 'Store a custom secret, over one of the same name',
      tag: 'Secrets',
      guard: 'user',
      body: NewSecret,
      responses: { 201: { description: 'Stored.', schema: Message } },
      async handle({ body, user }) {
        await secrets.putCustom(user.userId, storable(body));
        return message('Secret created successfully');
      },
    }),
    route({
      method: 'put',
      path,
      summary: 'Rename or describe a custom secret; its value stays',
      tag: 'Secrets',
      guard: 'user',
      params,
      body: SecretChange,
      responses: {
        200: { description: 'Changed.', schema: Message },
        400: { description: 'The new name is taken.' },
        404: { description: 'There is no such secret.' },
      },
      async handle({ params: { secret_id }, body, user }) {
        const change = storable({ name: body.name, description: body.description ?? '' });
        const outcome = await secrets.updateCustom(user.userId, storable(secret_id), change);
        if (outcome === 'missing') throw notFound(`Secret with ID ${secret_id} not found`);
        if (outcome === 'taken') throw new HttpError(400, `Secret ${body.name} already exists`);
        return message('Secret updated successfully');
      },
    }),
    route({
      method: 'delete',
      path,
      summary: 'Delete a custom secret',
      tag: 'Secrets',
      guard: 'user',
      params,
      responses: {
        200: { description: 'Deleted.', schema: Message },
        404: { description: 'There is no such secret.' },
      },
      async handle({ params: { secret_id }, user }) {
        if (!(await secrets.deleteCustom(user.userId, storable(secret_id)))) {
          throw notFound(`Secret with ID ${secret_id} not found`);
        }
        return message('Secret deleted successfully');
      },
    }),
  ];
}

function providerTokenRoutes(deps: SecretsRouteDeps): RouteDefinition[] {
  const path = '/api/v1/secrets/git-providers';
  return [
    route({
      method: 'post',
      path,
      summary: 'Store git-provider tokens; providers not named are removed',
      tag: 'Secrets',
      guard: 'user',
      body: ProviderTokensUpdate,
      responses: {
        200: { description: 'Stored.', schema: Message },
        ...TOKEN_FAILURES,
      },
      async handle({ body, user }) {
        try {
          await storeProviderTokens(deps, user.userId, storable(body));
        } catch (error) {
          if (error instanceof InvalidProviderToken) throw new HttpError(401, error.message);
          throw error;
        }
        return message('Git providers stored');
      },
    }),
    route({
      method: 'delete',
      path,
      summary: 'Remove all git-provider tokens',
      tag: 'Secrets',
      guard: 'user',
      responses: { 200: { description: 'Removed.', schema: Message } },
      async handle({ user }) {
        await deps.secrets.replaceProviderTokens(user.userId, new Map());
        return message('Unset Git provider tokens');
      },
    }),
  ];
}
