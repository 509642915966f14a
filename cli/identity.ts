import { dirname } from 'node:path';
import type { Logger } from 'pino';
import type { ReadinessCheck } from '../api/status-routes.js';
import type { Config } from '../config/config.js';
import { ApiKeyCredentials, withCredentials } from '../identity/api-key-credentials.js';
import { ApiKeyStore } from '../identity/api-keys.js';
import { loadAuthModule } from '../identity/auth-module.js';
import type { AuthStrategy, CredentialResolver } from '../identity/auth-strategy.js';
import { GITHUB_REALM, GitHubIdentityProvider, isAllowed } from '../identity/github-identity-provider.js';
import { NoneStrategy } from '../identity/none-strategy.js';
import { OrganizationDirectory } from '../identity/organizations.js';
import { CookieSigner } from '../identity/session-cookie.js';
import { SessionStrategy } from '../identity/session-strategy.js';
import { SessionStore } from '../identity/sessions.js';
import { BrowserSignIn } from '../identity/sign-in.js';
import { SignInStates } from '../identity/sign-in-states.js';
import { UserRepository, type UserProfile } from '../identity/users.js';
import { gitHubOAuth, type Core } from './core.js';
import { UserError } from './user-error.js';

/** Who may call this server, and what knows it. */
export interface Identity {
  auth: AuthStrategy;
  users: UserRepository;
  organizations: OrganizationDirectory;
  /** Keys of users; where nobody is known there are none. */
  apiKeys: ApiKeyStore;
  /** What has to answer before people can sign in. */
  checks: ReadinessCheck[];
}

const HOUR_MS = 3_600_000;

/**
 * Makes the strategy that the configuration names.
 * @throws {AuthModuleError} {UserError} when it cannot be made: an instance that was meant to be closed never runs open
 */
export async function openIdentity({
  config,
  core,
  logger,
}: {
  config: Config;
  core: Core;
  logger: Logger;
}): Promise<Identity> {
  const { database } = core.connection;
  const { vault, tokensOf } = core;
  const users = new UserRepository(database);
  const organizations = new OrganizationDirectory(database);
  const sessions = new SessionStore({
    database,
    vault,
    signer: new CookieSigner(core.keys),
    limits: {
      lifetimeMs: config.auth.sessionHours * HOUR_MS,
      idleMs: config.auth.sessionIdleHours * HOUR_MS,
    },
  });
  const states = new SignInStates({ database, vault });
  const stores = { users, organizations, sessions, states, tokensOf, providerTokens: core.secrets };
  const apiKeys = new ApiKeyStore({ database, vault, realm: realmOf(config.auth) });
  const known = { users, organizations, apiKeys, checks: [] };

  switch (config.auth.strategy) {
    case 'none':
      return { ...known, auth: new NoneStrategy(tokensOf) };
    case 'single_user_github': {
      const { allowed } = config.auth;
      const github = gitHubOAuth(config.auth);
      if (allowed === null || github === null) throw incomplete('single_user_github');
      // The configuration may name somebody else by now.
      const admits = (user: UserProfile): boolean => isAllowed(allowed, user);
      return {
        ...known,
        auth: new SessionStrategy({
          ...stores,
          realm: GITHUB_REALM,
          signIn: new BrowserSignIn({ ...stores, provider: new GitHubIdentityProvider(github, allowed) }),
          admits,
          organizations: null,
          renew: null,
          credentials: [new ApiKeyCredentials({ apiKeys, tokensOf, organizations: null, admits })],
        }),
      };
    }
    case 'multi_user': {
      const keyCredentials = new ApiKeyCredentials({ apiKeys, tokensOf, organizations, admits: () => true });
      if (config.auth.module !== null) {
        const services = {
          settings: Object.fromEntries(
            Object.entries(config.auth.moduleSettings).map(([name, value]) => [name, value.reveal()]),
          ),
          publicUrl: config.server.publicUrl,
          users,
          organizations,
          sessions,
          signInStates: states,
          tokensOf,
          log: logger,
        };
        const directory = config.file === null ? process.cwd() : dirname(config.file);
        const auth = await loadAuthModule(config.auth.module, directory, services);
        return { ...known, auth: withCredentials(auth, [keyCredentials]) };
      }
      return { ...known, ...(await openIdConnect(config, logger, stores, [keyCredentials])) };
    }
  }
}

interface Stores {
  users: UserRepository;
  organizations: OrganizationDirectory;
  sessions: SessionStore;
  states: SignInStates;
  tokensOf: Core['tokensOf'];
  providerTokens: Core['secrets'];
}

/** Loaded only where it is used. */
async function openIdConnect(
  { auth }: Pick<Config, 'auth'>,
  logger: Logger,
  stores: Stores,
  credentials: readonly CredentialResolver[],
): Promise<Pick<Identity, 'auth' | 'checks'>> {
  const [{ OidcClient }, { OidcIdentityProvider }, { OidcBearer }] = await Promise.all([
    import('../identity/oidc-client.js'),
    import('../identity/oidc-identity-provider.js'),
    import('../identity/oidc-bearer.js'),
  ]);
  if (auth.oidcIssuer === null || auth.oidcClientId === null) throw incomplete('multi_user');
  const client = new OidcClient({
    issuer: auth.oidcIssuer,
    discoveryUrl: auth.oidcDiscoveryUrl,
    clientId: auth.oidcClientId,
    clientSecret: auth.oidcClientSecret?.reveal() ?? null,
  });
  const provider = new OidcIdentityProvider({
    ...stores,
    client,
    scopes: auth.oidcScopes,
    organizationsClaim: auth.oidcOrganizationsClaim,
    log: logger,
  });
  const bearer =
    auth.oidcAudience === null ? [] : [new OidcBearer({ ...stores, client, audience: auth.oidcAudience })];
  return {
    auth: new SessionStrategy({
      ...stores,
      realm: auth.oidcIssuer,
      signIn: new BrowserSignIn({ ...stores, provider }),
      admits: () => true,
      renew: (session, held) => provider.renew(session, held),
      credentials: [...credentials, ...bearer],
    }),
    checks: [{ name: 'identity provider', check: () => client.configuration() }],
  };
}

/** The way of signing in by which API keys know their users. */
function realmOf({ strategy, module, oidcIssuer }: Config['auth']): string {
  if (strategy === 'single_user_github') return GITHUB_REALM;
  if (strategy === 'none') return 'none';
  return module === null ? (oidcIssuer ?? '') : 'module';
}

/** The configuration is checked when it is read; this holds for one made by hand. */
const incomplete = (strategy: string): UserError =>
  new UserError(`The auth strategy ${strategy} is not configured completely: see docs/identity.md.`);
