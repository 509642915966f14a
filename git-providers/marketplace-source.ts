/** From the source of a marketplace, as users enter it, to where it is fetched. */
import { GIT_PROVIDERS, type GitProvider } from '../contract/primitives.js';
import type { TokenProvider } from '../identity/user-context.js';
import { cloneSource, type GitCredentials } from './clone-url.js';
import { InvalidRepository, providerAddress } from './host-address.js';

export interface MarketplaceAddress {
  url: string;
  /** Of the user at that host; null where there are none. */
  credentials: GitCredentials | null;
}

/**
 * `github:owner/repository` (or another provider's name), or the http(s) address of a repository.
 * @throws {InvalidRepository} for a path, or an address that cannot be one
 */
export async function marketplaceAddress(source: string, tokens: TokenProvider): Promise<MarketplaceAddress> {
  const [, name = '', repository = ''] = /^([a-z_]+):(?!\/\/)(.+)$/.exec(source) ?? [];
  if (isProvider(name)) {
    const { url, credentials } = cloneSource(name, repository, await tokens.get(name));
    return { url, credentials };
  }
  const url = URL.canParse(source) ? new URL(source) : null;
  if (!url || !/^https?:$/.test(url.protocol)) {
    throw new InvalidRepository(
      'only github:owner/repository (or another provider), or an https address, can be looked into from here',
    );
  }
  if (url.username !== '' || url.password !== '') {
    throw new InvalidRepository(
      'the address holds credentials: leave them out, and store a token for the provider',
    );
  }
  return { url: url.href, credentials: await credentialsAt(url, tokens) };
}

const isProvider = (name: string): name is GitProvider => (GIT_PROVIDERS as readonly string[]).includes(name);

/** A token goes to the host it was stored for, and to no other. */
async function credentialsAt(url: URL, tokens: TokenProvider): Promise<GitCredentials | null> {
  for (const [provider, token] of await tokens.getAll()) {
    if (provider === 'enterprise_sso') continue;
    if (originOf(provider, token.host) !== url.origin) continue;
    return cloneSource(provider, provider === 'azure_devops' ? 'a/b/c' : 'a/b', token).credentials;
  }
  return null;
}

function originOf(provider: GitProvider, host: string | null): string | null {
  try {
    return providerAddress(provider, host).origin;
  } catch (error) {
    if (error instanceof InvalidRepository) return null; // a host that was never right
    throw error;
  }
}
