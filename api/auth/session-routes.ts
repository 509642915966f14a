import { z } from 'zod';
import type { OrganizationDirectory } from '../../identity/organizations.js';
import type { UserRepository } from '../../identity/users.js';
import { route, type RouteDefinition } from '../route.js';

export interface SessionRouteDeps {
  users: Pick<UserRepository, 'find'>;
  organizations: Pick<OrganizationDirectory, 'membershipsOf'>;
}

const SessionView = z.object({
  auth_type: z.string(),
  user: z
    .object({
      id: z.string(),
      login: z.string().nullable(),
      name: z.string().nullable(),
      email: z.string().nullable(),
    })
    .nullable(),
  organizations: z.array(z.object({ name: z.string(), role: z.string(), active: z.boolean() })),
});

/** Who a client acts as, and in whose name. Another organization is chosen by signing in with its name. */
export const sessionRoutes = ({ users, organizations }: SessionRouteDeps): RouteDefinition[] => [
  route({
    method: 'get',
    path: '/api/auth/session',
    summary: 'Tell who is signed in, and which organization is active',
    tag: 'Signing in',
    guard: 'user',
    responses: {
      200: { description: 'The caller.', schema: SessionView },
      401: { description: 'Not signed in.' },
    },
    async handle({ user }): Promise<z.infer<typeof SessionView>> {
      if (user.userId === null) return { auth_type: user.authType, user: null, organizations: [] };
      const [profile, memberships] = await Promise.all([
        users.find(user.userId),
        user.organization ? organizations.membershipsOf(user.userId) : [],
      ]);
      return {
        auth_type: user.authType,
        user: profile ?? { id: user.userId, login: null, name: null, email: null },
        organizations: memberships.map(({ organizationId, name, role }) => ({
          name,
          role,
          active: organizationId === user.organization?.activeOrganizationId,
        })),
      };
    },
  }),
];
