/** Makes the client of a provider from a token: its kind, its address. */
import type { GitProvider } from '../contract/primitives.js';
import type { ProviderToken } from '../identity/user-context.js';
import { AzureDevOpsClient } from './azure-devops.js';
import { BITBUCKET_API, BitbucketClient } from './bitbucket.js';
import { BitbucketDataCenterClient } from './bitbucket-data-center.js';
import { ForgejoClient } from './forgejo.js';
import type { GitProviderClient } from './git-provider-client.js';
import { gitHubAddresses, GitHubClient, type GitHubAddresses } from './github.js';
import { GitLabClient } from './gitlab.js';
import type { GuardedHttp } from './guarded-http.js';
import { addressText, InvalidRepository, providerAddress } from './host-address.js';
import { GitProviderError, noSuchProvider } from './provider-error.js';

export interface GitProviderClientsOptions {
  http: Pick<GuardedHttp, 'send'>;
  /** A GitHub server of the operator whose API is not where GitHub has it. */
  gitHub?: { url: string; apiUrl: string };
}

export class GitProviderClients {
  constructor(private readonly options: GitProviderClientsOptions) {}

  /** Whether there is anything to ask: an identity provider for companies has no repositories. */
  supports(provider: GitProvider): boolean {
    return provider in CLIENTS;
  }

  /**
   * @param token null asks as nobody, who sees what is public.
   * @throws {GitProviderError} when there is no such client, or the host beside the token is none.
   */
  open(provider: GitProvider, token: Pick<ProviderToken, 'token' | 'host'> | null): GitProviderClient {
    const make = CLIENTS[provider];
    if (!make) {
      throw new GitProviderError('unsupported', provider, `${provider} has no repositories of its own.`);
    }
    return make(this.options, addressOf(provider, token?.host ?? null), token?.token || null);
  }

  /**
   * Whether a provider knows a token. One that may not read its own user is known all the same.
   * @throws {GitProviderError} when that cannot be found out
   */
  async verify(provider: GitProvider, token: Pick<ProviderToken, 'token' | 'host'>): Promise<boolean> {
    if (!this.supports(provider)) return true;
    try {
      await this.open(provider, token).currentUser();
    } catch (error) {
      if (!(error instanceof GitProviderError)) throw error;
      if (error.kind === 'token') return false;
      if (error.kind === 'not_found') throw noSuchProvider(provider);
      if (error.kind !== 'forbidden') throw error;
    }
    return true;
  }
}

type Make = (options: GitProviderClientsOptions, address: URL, token: string | null) => GitProviderClient;

const CLIENTS: Partial<Record<GitProvider, Make>> = {
  github: ({ http, gitHub }, address, token) =>
    new GitHubClient(http, configured(gitHub, address) ?? gitHubAddresses(address), token),
  gitlab: ({ http }, address, token) => new GitLabClient(http, addressText(address), token),
  bitbucket: ({ http }, address, token) => new BitbucketClient(http, bitbucketApi(address), token),
  bitbucket_data_center: ({ http }, address, token) =>
    new BitbucketDataCenterClient(http, addressText(address), token),
  azure_devops: ({ http }, address, token) => new AzureDevOpsClient(http, address, token),
  forgejo: ({ http }, address, token) => new ForgejoClient(http, addressText(address), token),
};

/** Bitbucket Cloud has one API; another host is a look-alike with the API below it. */
const bitbucketApi = (address: URL): string =>
  /^(www\.|api\.)?bitbucket\.org$/.test(address.hostname) ? BITBUCKET_API : `${addressText(address)}/2.0`;

function configured(gitHub: GitProviderClientsOptions['gitHub'], address: URL): GitHubAddresses | null {
  if (!gitHub || addressText(new URL(gitHub.url)) !== addressText(address)) return null;
  const graphql = /\/api\/v3$/.test(gitHub.apiUrl)
    ? gitHub.apiUrl.replace(/v3$/, 'graphql')
    : `${gitHub.apiUrl}/graphql`;
  return { rest: gitHub.apiUrl, graphql };
}

function addressOf(provider: GitProvider, host: string | null): URL {
  try {
    return providerAddress(provider, host);
  } catch (error) {
    if (!(error instanceof InvalidRepository)) throw error;
    throw new GitProviderError('host', provider, `${capitalized(error.message)}.`);
  }
}

const capitalized = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);
