/** Where agents fetch a user's git token when they need it (contract 8.1). */
import { z } from 'zod';
import { InvalidAccessToken, type AccessTokens } from '../identity/access-token.js';
import type { TokenProvider } from '../identity/user-context.js';
import { HttpError, notFound } from './http-error.js';
import { route, type RouteDefinition } from './route.js';

export interface LookupSecretDeps {
  accessTokens: Pick<AccessTokens, 'verify'>;
  /** The tokens of a user; null is the one user of an instance without identity. */
  tokensOf: (userId: string | null) => Pick<TokenProvider, 'get'>;
  /** Whether a user still belongs to an organization. */
  isMember: (organizationId: string, userId: string) => Promise<boolean>;
}

/** The holder of a valid access token gets the provider's newest token as plain text. */
export const lookupSecretRoutes = ({
  accessTokens,
  tokensOf,
  isMember,
}: LookupSecretDeps): RouteDefinition[] => [
  route({
    method: 'get',
    path: '/api/v1/webhooks/secrets',
    summary: 'Fetch the git token that an access token was issued for',
    tag: 'Webhooks',
    guard: 'self',
    responses: {
      200: { description: "The provider's newest token", schema: z.string(), contentType: 'text/plain' },
      401: { description: 'No access token, or not a good one' },
      404: { description: 'The user has no token of this provider' },
    },
    async handle({ request, response }) {
      const token = request.get('X-Access-Token');
      if (!token) throw new HttpError(401, 'Unauthorized');
      const grant = await accessTokens.verify(token).catch((error: unknown) => {
        if (error instanceof InvalidAccessToken) throw new HttpError(401, 'Unauthorized');
        throw error;
      });
      const { organizationId, userId } = grant;
      if (organizationId && (userId === null || !(await isMember(organizationId, userId)))) {
        throw new HttpError(401, 'Unauthorized');
      }
      const held = await tokensOf(grant.userId).get(grant.providerType);
      if (!held?.token) throw notFound('No such provider');
      response.type('text/plain; charset=utf-8').send(held.token);
      return undefined;
    },
  }),
];
