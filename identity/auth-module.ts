/** A company's own way of signing in, loaded from a module that the configuration names. */
import { isAbsolute, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { AuthStrategy } from './auth-strategy.js';
import type { OrganizationDirectory } from './organizations.js';
import type { TokensOf } from './secrets-token-provider.js';
import type { SessionStore } from './sessions.js';
import type { SignInStates } from './sign-in-states.js';
import type { UserRepository } from './users.js';

/** What a module may build on; it need use none of it. */
export interface AuthModuleServices {
  /** `[auth.module_settings]` of the configuration, plain. */
  settings: Readonly<Record<string, string>>;
  /** Public address of the API, without trailing slash; null on a machine of one's own. */
  publicUrl: string | null;
  users: UserRepository;
  organizations: OrganizationDirectory;
  /** Sessions by signed cookie. */
  sessions: SessionStore;
  /** Sign-ins under way. */
  signInStates: SignInStates;
  /** Provider tokens that users stored; a module may bring a {@link TokenProvider} of its own instead. */
  tokensOf: TokensOf;
  log: {
    info(fields: Record<string, unknown>, message: string): void;
    warn(fields: Record<string, unknown>, message: string): void;
  };
}

/** What such a module exports. */
export interface AuthModule {
  /**
   * Called once, when the API starts. The strategy learns from the headers of each request who calls, and throws
   * {@link Unauthenticated}, or any error named so, when they prove nobody.
   */
  createAuthStrategy(services: AuthModuleServices): AuthStrategy | Promise<AuthStrategy>;
}

/** The configured module cannot be used: the API does not start, rather than run open. */
export class AuthModuleError extends Error {
  override readonly name = 'AuthModuleError';
}

/**
 * Loads the strategy of a module.
 * @param name a path, relative to `directory` unless absolute, or the name of a package.
 * @throws {AuthModuleError}
 */
export async function loadAuthModule(
  name: string,
  directory: string,
  services: AuthModuleServices,
): Promise<AuthStrategy> {
  const isPath = isAbsolute(name) || /^\.\.?\//.test(name);
  const location = isPath ? pathToFileURL(resolve(directory, name)).href : name;
  const problem = (what: string, cause?: unknown): AuthModuleError =>
    new AuthModuleError(`The auth module ${name} ${what}: mend it, or choose another strategy.`, { cause });

  const loaded: unknown = await import(location).catch((error: unknown) => {
    throw problem(`cannot be loaded (${reasonOf(error)})`, error);
  });
  if (!isAuthModule(loaded)) throw problem('does not export a function createAuthStrategy');
  const strategy: unknown = await Promise.resolve()
    .then(() => loaded.createAuthStrategy(services))
    .catch((error: unknown) => {
      throw problem(`could not make a strategy (${reasonOf(error)})`, error);
    });
  if (!isStrategy(strategy))
    throw problem('made no strategy: an object with a function authenticate is needed');
  return strategy;
}

const isAuthModule = (value: unknown): value is AuthModule => hasFunction(value, 'createAuthStrategy');
const isStrategy = (value: unknown): value is AuthStrategy => hasFunction(value, 'authenticate');

const hasFunction = (value: unknown, name: string): boolean =>
  typeof value === 'object' &&
  value !== null &&
  typeof (value as Record<string, unknown>)[name] === 'function';

const reasonOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
