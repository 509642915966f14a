import type { Config } from '../config/config.js';
import { AddressPolicy } from '../git-providers/address-policy.js';
import { GitProviderClients } from '../git-providers/clients.js';
import { GuardedHttp } from '../git-providers/guarded-http.js';
import { gitHubOAuth } from './core.js';

/** The addresses that users may name. */
export function gitAddressPolicy({ git, auth }: Pick<Config, 'git' | 'auth'>): AddressPolicy {
  const gitHub = gitHubOAuth(auth);
  // Where people sign in is a host that the operator named.
  const operators = gitHub ? [auth.githubUrl, ...(auth.githubApiUrl ? [auth.githubApiUrl] : [])] : [];
  return new AddressPolicy([...git.allowedPrivateHosts, ...operators.map(hostOf)]);
}

/** Clients of git providers, which ask no address but those that users may name (docs/git-providers.md). */
export function createGitProviders({ git, auth }: Pick<Config, 'git' | 'auth'>): GitProviderClients {
  const policy = gitAddressPolicy({ git, auth });
  return new GitProviderClients({
    http: new GuardedHttp(policy, git.timeoutSeconds * 1000),
    ...(auth.githubApiUrl ? { gitHub: { url: auth.githubUrl, apiUrl: auth.githubApiUrl } } : {}),
  });
}

function hostOf(address: string) {
  const { hostname, port, protocol } = new URL(address);
  return { host: hostname, port: port === '' ? null : Number(port), http: protocol === 'http:' };
}
