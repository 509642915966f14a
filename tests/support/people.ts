/** Users, organizations and sessions as signing in leaves them, without an identity provider. */
import { randomUUID } from 'node:crypto';
import { organizations } from '../../db/schema/index.js';
import { CookieSigner } from '../../identity/session-cookie.js';
import { SessionStore } from '../../identity/sessions.js';
import type { IdentityServer } from './identity-server.js';

const ISSUER = 'https://login.invalid/realms/tests';
const HOUR_MS = 3_600_000;

/** Settings of an instance for many; its identity provider is never asked. */
export const MULTI_USER = {
  OPENHANDS_AUTH_MODE: 'mu',
  OIDC_ISSUER: ISSUER,
  OIDC_CLIENT_ID: 'callboard',
};

type Server = Pick<IdentityServer, 'core' | 'identity'>;

/** Stores a user, and makes them a member. */
export async function addPerson(server: Server, id: string, organizationId?: string): Promise<string> {
  await server.identity.users.save({ id, login: id, name: null, email: null });
  if (organizationId) await server.identity.organizations.addMember(organizationId, id);
  return id;
}

/** @returns its id */
export async function addOrganization(server: Server, name: string): Promise<string> {
  const id = randomUUID();
  await server.core.connection.database.insert(organizations).values({ id, name });
  return id;
}

/** A session that began `ageHours` ago. @returns the value of the `Cookie` header of its browser */
export async function signedIn(
  { core }: Server,
  userId: string,
  activeOrganizationId: string | null = null,
  ageHours = 0,
): Promise<string> {
  const sessions = new SessionStore({
    database: core.connection.database,
    vault: core.vault,
    signer: new CookieSigner(core.keys),
    limits: { lifetimeMs: 24 * HOUR_MS, idleMs: 24 * HOUR_MS },
    now: () => new Date(Date.now() - ageHours * HOUR_MS),
  });
  const { cookie } = await sessions.begin({
    userId,
    realm: ISSUER,
    providerSession: null,
    tokens: null,
    tokensExpireAt: null,
    activeOrganizationId,
  });
  return `callboard_session=${cookie}`;
}
