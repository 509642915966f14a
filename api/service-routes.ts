/** What trusted services do in the name of users (contract 12): they get keys for them, and take them back. */
import type { Request } from 'express';
import type { Logger } from 'pino';
import { z } from 'zod';
import { dashedId, isUuid } from '../contract/ids.js';
import type { Secret } from '../contract/masking.js';
import type { ApiKeyStore } from '../identity/api-keys.js';
import type { OrganizationDirectory } from '../identity/organizations.js';
import type { UserRepository } from '../identity/users.js';
import { ApiKeyName } from './api-key-routes.js';
import { HttpError, notFound } from './http-error.js';
import { isSameKey } from './middleware/instance-key.js';
import { isDatabaseOutage } from './outages.js';
import { route, type RouteDefinition } from './route.js';
import { storable } from './storable-text.js';

export interface ServiceRouteDeps {
  /** Shared secret of the automations service; null where there is no such service. */
  serviceKey: Secret | null;
  apiKeys: Pick<ApiKeyStore, 'getOrCreateSystem' | 'deleteSystem'>;
  users: Pick<UserRepository, 'find'>;
  organizations: Pick<OrganizationDirectory, 'isMember'>;
  logger: Pick<Logger, 'info' | 'warn' | 'error'>;
}

/** What the log calls the one service there is. */
const SERVICE = 'automations-service';
const KEYS_PATH = '/api/service/users/{user_id}/orgs/{org_id}/api-keys';

/** A UUID in any spelling; in answers, and in the database, with dashes. */
const OrganizationId = z
  .string()
  .refine(isUuid, { error: 'Input should be a valid UUID', params: { type: 'uuid_parsing' } })
  .transform(dashedId);
const Params = z.object({ user_id: z.string(), org_id: OrganizationId });

export const serviceRoutes = (deps: ServiceRouteDeps): RouteDefinition[] => [
  healthRoute(deps),
  getOrCreateRoute(deps),
  deleteRoute(deps),
];

const healthRoute = ({ serviceKey }: ServiceRouteDeps): RouteDefinition =>
  route({
    method: 'get',
    path: '/api/service/health',
    summary: 'Tell whether services can authenticate',
    tag: 'Service API',
    guard: 'open',
    responses: {
      200: {
        description: 'The service API is there.',
        schema: z.object({ status: z.literal('ok'), service_auth_configured: z.boolean() }),
      },
    },
    handle: () => Promise.resolve({ status: 'ok', service_auth_configured: serviceKey !== null }),
  });

const refusals = {
  401: { description: 'No service key, or a wrong one.' },
  503: { description: 'No service key is configured.' },
};

function getOrCreateRoute(deps: ServiceRouteDeps): RouteDefinition {
  const { apiKeys, users, organizations, logger } = deps;
  return route({
    method: 'post',
    path: KEYS_PATH,
    summary: 'Get the system key of a name for a user, made if there is none',
    tag: 'Service API',
    guard: 'self',
    limit: 'secret',
    params: Params,
    body: z.object({ name: ApiKeyName }),
    responses: {
      200: {
        description: 'The key.',
        schema: z.object({
          key: z.string(),
          user_id: z.string(),
          org_id: z.string(),
          name: z.string(),
        }),
      },
      ...refusals,
      403: { description: 'The user does not belong to the organization.' },
      404: { description: 'There is no such user.' },
      500: { description: 'The key could not be stored or read.' },
    },
    async handle({ params: { user_id: userId, org_id: organizationId }, body, request }) {
      requireService(deps, request);
      const { name } = storable(body);
      const about = { service_id: SERVICE, user_id: userId, org_id: organizationId, key_name: name };
      if (!(await users.find(userId))) {
        logger.warn(about, 'a service asked for a key of a user who does not exist');
        throw notFound(`User ${userId} not found`);
      }
      if (!(await organizations.isMember(organizationId, userId))) {
        logger.warn(about, 'a service asked for a key of a user who is not in the organization');
        throw new HttpError(403, `User ${userId} is not a member of org ${organizationId}`);
      }
      const { key, isNew } = await apiKeys
        .getOrCreateSystem({ userId, organizationId, name })
        .catch((error: unknown) => {
          if (isDatabaseOutage(error)) throw error; // 503: it is worth trying again
          logger.error({ err: error, ...about }, 'a key for a service could not be made');
          throw new HttpError(500, 'Failed to get or create API key');
        });
      logger.info(
        about,
        isNew ? 'a service made an API key for a user' : 'a service read an API key of a user',
      );
      return { key, user_id: userId, org_id: organizationId, name };
    },
  });
}

function deleteRoute(deps: ServiceRouteDeps): RouteDefinition {
  return route({
    method: 'delete',
    path: `${KEYS_PATH}/{key_name}`,
    summary: 'Delete a system key',
    tag: 'Service API',
    guard: 'self',
    limit: 'secret',
    params: Params.extend({ key_name: z.string() }),
    responses: {
      200: { description: 'Deleted.', schema: z.object({ message: z.string() }) },
      ...refusals,
      404: { description: 'There is no such key.' },
    },
    async handle({ params, request }) {
      requireService(deps, request);
      const { user_id: userId, org_id: organizationId, key_name: name } = storable(params);
      if (!(await deps.apiKeys.deleteSystem({ userId, organizationId, name }))) {
        throw notFound(`API key with name "${name}" not found for user ${userId} in org ${organizationId}`);
      }
      deps.logger.info(
        { service_id: SERVICE, user_id: userId, org_id: organizationId, key_name: name },
        'a service deleted an API key of a user',
      );
      return { message: 'API key deleted successfully' };
    },
  });
}

/** @throws {HttpError} 503 where no service key is configured, 401 without it or with another one */
function requireService({ serviceKey, logger }: ServiceRouteDeps, request: Pick<Request, 'get'>): void {
  if (serviceKey === null) {
    logger.warn('the service API was called, but AUTOMATIONS_SERVICE_API_KEY is not set');
    throw new HttpError(503, 'Service authentication not configured');
  }
  const given = request.get('X-Service-API-Key');
  if (!given) throw new HttpError(401, 'X-Service-API-Key header is required');
  if (isSameKey(given, serviceKey.reveal())) return;
  logger.warn('the service API was called with a wrong key');
  throw new HttpError(401, 'Invalid service API key');
}
