import type { Request } from 'express';
import { z } from 'zod';
import { QueryBoolean } from '../contract/primitives.js';
import type { SandboxRepository } from '../db/sandbox-repository.js';
import type { SettingsStore } from '../identity/settings-store.js';
import type { UserContext } from '../identity/user-context.js';
import { HttpError } from './http-error.js';
import { route, type RouteDefinition } from './route.js';
import { requireRunningSandbox } from './sandbox-key-guard.js';
import { userView } from './settings-view.js';

export interface UserRouteDeps {
  settings: Pick<SettingsStore, 'read'>;
  sandboxes: Pick<SandboxRepository, 'findBySessionKeyHash'>;
}

/** The caller, with settings in both forms (contract 9). */
export const userRoutes = ({ settings, sandboxes }: UserRouteDeps): RouteDefinition[] => [
  route({
    method: 'get',
    path: '/api/v1/users/me',
    summary: 'Read the caller and the settings; keys are masked',
    tag: 'Users',
    guard: 'user',
    query: z.object({ expose_secrets: QueryBoolean.default(false) }),
    responses: {
      200: { description: 'The caller.', schema: z.looseObject({ id: z.string().nullable() }) },
      401: { description: 'Plain values were asked for without the key of a running sandbox.' },
      403: { description: 'The sandbox is not the caller’s.' },
    },
    async handle({ query, user, request }) {
      if (query.expose_secrets) await requireOwnSandbox(sandboxes, user, request);
      return userView(await settings.read(user.userId), user.userId, { exposeSecrets: query.expose_secrets });
    },
  }),
];

/** Plain values go to a running sandbox of the caller and to nobody else. */
async function requireOwnSandbox(
  sandboxes: UserRouteDeps['sandboxes'],
  user: UserContext,
  request: Pick<Request, 'get'>,
): Promise<void> {
  const sandbox = await requireRunningSandbox(sandboxes, request);
  if (sandbox.createdByUserId !== user.userId) {
    throw new HttpError(403, 'Session API key does not belong to the authenticated user');
  }
}
