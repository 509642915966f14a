/** Secrets and git-provider tokens as the 2025-11 clients manage them (contract 16.10). */
import { z } from 'zod';
import type { SecretsStore } from '../../identity/secrets-store.js';
import { GitProviderError } from '../../git-providers/provider-error.js';
import { gitAnswer } from '../git-errors.js';
import {
  InvalidProviderToken,
  ProviderTokensUpdate,
  storeProviderTokens,
  TOKEN_FAILURES,
} from '../git-provider-tokens.js';
import type { ProviderTokenDeps } from '../git-provider-tokens.js';
import { HttpError } from '../http-error.js';
import { route, type RouteDefinition } from '../route.js';
import { NewSecret, SecretChange } from '../secrets-routes.js';
import { shapeC } from '../settings-routes.js';
import { storable } from '../storable-text.js';

export type LegacySecretsDeps = ProviderTokenDeps & {
  secrets: Pick<SecretsStore, 'searchCustom' | 'createCustom' | 'updateCustom' | 'deleteCustom'>;
};

const common = { tag: 'Legacy', guard: 'user' } as const;
const Message = z.object({ message: z.string() });
const done = (description: string) => ({ 200: { description, schema: Message } });
/** A conflict in the form `{"message": text}` (contract 1.5, shape E). */
const taken = (name: string) => {
  const text = `Secret ${name} already exists`;
  return new HttpError(400, text, { message: text });
};
const unknown = (name: string) => shapeC(404, `Secret with ID ${name} not found`);

export const legacySecretsRoutes = (deps: LegacySecretsDeps): RouteDefinition[] => {
  const { secrets } = deps;
  const params = z.object({ secret_id: z.string() });
  return [
    route({
      ...common,
      method: 'get',
      path: '/api/secrets',
      summary: 'List custom secrets, without values',
      responses: { 200: { description: 'The secrets.', schema: z.looseObject({}) } },
      handle: async ({ user }) => ({ custom_secrets: await secrets.searchCustom(user.userId) }),
    }),
    route({
      ...common,
      method: 'post',
      path: '/api/secrets',
      summary: 'Store a custom secret under a name that is not taken',
      body: NewSecret,
      responses: {
        201: { description: 'Stored.', schema: Message },
        400: { description: 'The name is taken.' },
      },
      async handle({ body, user }) {
        if (!(await secrets.createCustom(user.userId, storable(body)))) throw taken(body.name);
        return { message: 'Secret created successfully' };
      },
    }),
    route({
      ...common,
      method: 'put',
      path: '/api/secrets/{secret_id}',
      summary: 'Rename or describe a custom secret; its value stays',
      params,
      body: SecretChange,
      responses: { ...done('Changed.'), 404: { description: 'There is no such secret.' } },
      async handle({ params: { secret_id }, body, user }) {
        const change = storable({ name: body.name, description: body.description ?? '' });
        const outcome = await secrets.updateCustom(user.userId, storable(secret_id), change);
        if (outcome === 'missing') throw unknown(secret_id);
        if (outcome === 'taken') throw taken(body.name);
        return { message: 'Secret updated successfully' };
      },
    }),
    route({
      ...common,
      method: 'delete',
      path: '/api/secrets/{secret_id}',
      summary: 'Delete a custom secret',
      params,
      responses: { ...done('Deleted.'), 404: { description: 'There is no such secret.' } },
      async handle({ params: { secret_id }, user }) {
        if (!(await secrets.deleteCustom(user.userId, storable(secret_id)))) throw unknown(secret_id);
        return { message: 'Secret deleted successfully' };
      },
    }),
    route({
      ...common,
      method: 'post',
      path: '/api/add-git-providers',
      summary: 'Store git-provider tokens; providers not named are removed',
      body: ProviderTokensUpdate,
      responses: { ...done('Stored.'), ...TOKEN_FAILURES },
      async handle({ body, user }) {
        try {
          await storeProviderTokens(deps, user.userId, storable(body));
        } catch (error) {
          if (error instanceof InvalidProviderToken) throw shapeC(401, error.message);
          if (error instanceof GitProviderError) throw shapeC(gitAnswer(error)?.status ?? 502, error.message);
          throw error;
        }
        return { message: 'Git providers stored' };
      },
    }),
    route({
      ...common,
      method: 'post',
      path: '/api/unset-provider-tokens',
      summary: 'Remove all git-provider tokens',
      responses: done('Removed.'),
      async handle({ user }) {
        await secrets.replaceProviderTokens(user.userId, new Map());
        return { message: 'Unset Git provider tokens' };
      },
    }),
  ];
};
