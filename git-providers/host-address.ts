/** Where a git provider lives: its own address, or the one that a user entered beside a token. */
import type { GitProvider } from '../contract/primitives.js';

/** The repository or host cannot be made into an address; the message says why, for people. */
export class InvalidRepository extends Error {
  override readonly name = 'InvalidRepository';
}

const DEFAULT_HOSTS: Partial<Record<GitProvider, string>> = {
  github: 'github.com',
  gitlab: 'gitlab.com',
  bitbucket: 'bitbucket.org',
  forgejo: 'codeberg.org',
  azure_devops: 'dev.azure.com',
};

/**
 * The address of a provider. Users enter a host bare, with a port, with a scheme, or with a path below which the
 * provider lives.
 * @param host null or empty for the provider's own.
 * @throws {InvalidRepository} when it is not a host, or the provider has none of its own.
 */
export function providerAddress(provider: GitProvider, host: string | null): URL {
  const given = host?.trim() || DEFAULT_HOSTS[provider];
  if (given === undefined) {
    throw new InvalidRepository(
      provider === 'bitbucket_data_center'
        ? 'the host of Bitbucket Data Center is not set: add it beside its token in the settings'
        : `repositories cannot be cloned from ${provider}`,
    );
  }
  const text = /^[a-z][a-z0-9+.-]*:\/\//i.test(given) ? given : `https://${given}`;
  const url = URL.canParse(text) ? new URL(text) : null;
  if (
    url === null ||
    !/^https?:$/.test(url.protocol) ||
    url.username !== '' ||
    url.search !== '' ||
    url.hash !== ''
  ) {
    throw new InvalidRepository(
      `the host configured for ${provider} is not a host name or an http(s) address`,
    );
  }
  return url;
}

/** The address as a text without trailing slash. */
export const addressText = (url: URL): string => `${url.origin}${url.pathname.replace(/\/+$/, '')}`;
