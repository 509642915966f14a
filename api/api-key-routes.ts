/** The API keys of the caller, in the form of the 2025-11 web client (contract 16.11). */
import { z } from 'zod';
import { wireDate } from '../contract/dates.js';
import { WireDateTime } from '../contract/primitives.js';
import { apiKeyOf } from '../identity/api-key-credentials.js';
import {
  SYSTEM_NAME_PREFIX,
  TooManyApiKeys,
  type ApiKeyInfo,
  type ApiKeyStore,
} from '../identity/api-keys.js';
import type { UserContext } from '../identity/user-context.js';
import type { UserRepository } from '../identity/users.js';
import { HttpError, notFound } from './http-error.js';
import { route, type RouteDefinition } from './route.js';
import { storable } from './storable-text.js';

export interface ApiKeyRouteDeps {
  apiKeys: Pick<ApiKeyStore, 'create' | 'list' | 'delete'>;
  users: Pick<UserRepository, 'ensure'>;
  now?: () => Date;
}

const ApiKeyView = z.object({
  id: z.string(),
  name: z.string(),
  prefix: z.string(),
  created_at: z.string(),
  last_used_at: z.string().nullable(),
  expires_at: z.string().nullable(),
});
const Message = z.object({ message: z.string() });

/** Name of a key: what its owner, or a service, tells it by. */
export const ApiKeyName = z
  .string()
  .transform((name) => name.trim())
  .refine((name) => name !== '', {
    error: 'name is required and cannot be empty',
    params: { type: 'value_error' },
  })
  .pipe(z.string().max(200));

const NewApiKey = z.object({
  name: ApiKeyName.refine((name) => !name.startsWith(SYSTEM_NAME_PREFIX), {
    error: `names that begin with ${SYSTEM_NAME_PREFIX} are for keys of the system`,
    params: { type: 'value_error' },
  }),
  expires_at: WireDateTime.nullish(),
});

/** Makes, lists and deletes keys; those of the service API are neither shown nor touched. */
export const apiKeyRoutes = ({
  apiKeys,
  users,
  now = () => new Date(),
}: ApiKeyRouteDeps): RouteDefinition[] => [
  route({
    method: 'get',
    path: '/api/keys',
    summary: 'List the API keys of the caller, without the keys themselves',
    tag: 'API keys',
    guard: 'user',
    responses: { 200: { description: 'Oldest first.', schema: z.array(ApiKeyView) } },
    async handle({ user }) {
      if (user.userId === null) return [];
      return (await apiKeys.list(user.userId)).map(view);
    },
  }),
  route({
    method: 'post',
    path: '/api/keys',
    summary: 'Make an API key; the answer is the only one that holds it',
    tag: 'API keys',
    guard: 'user',
    body: NewApiKey,
    responses: {
      200: { description: 'Made.', schema: ApiKeyView.extend({ key: z.string() }) },
      403: { description: 'The caller shows an API key: no key makes another one.' },
      404: { description: 'This server knows no users.' },
      409: { description: 'The caller has too many keys.' },
    },
    async handle({ body, user, request }) {
      const userId = known(user);
      // A key that leaked could otherwise live on in others after it was deleted.
      if (apiKeyOf(request.headers) !== null) {
        throw new HttpError(403, 'An API key cannot make another one: sign in with a browser for that.');
      }
      const { name, expires_at: expiresAt = null } = storable(body);
      if (expiresAt !== null && expiresAt <= now()) throw new HttpError(400, 'expires_at is in the past.');
      // Users of a company's own strategy may never have signed in here.
      await users.ensure({ id: userId, login: null, name: null, email: null });
      const owner = { userId, organizationId: user.organization?.activeOrganizationId ?? null };
      const { key, ...info } = await apiKeys.create(owner, { name, expiresAt }).catch((error: unknown) => {
        throw error instanceof TooManyApiKeys ? new HttpError(409, error.message) : error;
      });
      return { ...view(info), key };
    },
  }),
  route({
    method: 'delete',
    path: '/api/keys/{key_id}',
    summary: 'Delete an API key; it is refused from then on',
    tag: 'API keys',
    guard: 'user',
    params: z.object({ key_id: z.string() }),
    responses: {
      200: { description: 'Deleted.', schema: Message },
      404: { description: 'The caller has no such key.' },
    },
    async handle({ params, user }) {
      if (user.userId === null || !(await apiKeys.delete(user.userId, storable(params.key_id)))) {
        throw notFound('API key not found');
      }
      return { message: 'API key deleted successfully' };
    },
  }),
];

function known({ userId }: UserContext): string {
  if (userId !== null) return userId;
  throw notFound(
    'There are no API keys here, because this server knows no users: SESSION_API_KEY is its one key.',
  );
}

const view = (info: ApiKeyInfo): z.infer<typeof ApiKeyView> => ({
  id: info.id,
  name: info.name,
  prefix: info.prefix,
  created_at: wireDate(info.createdAt),
  last_used_at: info.lastUsedAt && wireDate(info.lastUsedAt),
  expires_at: info.expiresAt && wireDate(info.expiresAt),
});
