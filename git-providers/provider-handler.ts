/**
 * A user's git providers: the only way for routes to learn which are connected and to act with their tokens. Tokens come
 * from the user's {@link TokenProvider} and go into the headers of requests to their own hosts, nowhere else.
 */
import type { Branch, GitUser, Repository, SuggestedTask } from '../contract/git.js';
import type { GitProvider } from '../contract/primitives.js';
import type { TokenProvider } from '../identity/user-context.js';
import type { GitProviderClients } from './clients.js';
import {
  REPOSITORY_SORTS,
  type GitProviderClient,
  type HostPage,
  type PageRequest,
  type RepositorySearch,
} from './git-provider-client.js';
import { InvalidRepository, providerAddress } from './host-address.js';
import { GitProviderError, ProviderNotConnected } from './provider-error.js';

export interface ProviderHandlerLog {
  warn(details: object, message: string): void;
}

export interface RepositoryList extends PageRequest {
  /** Null: of all connected providers. */
  provider: GitProvider | null;
  installationId: string | null;
  /** One of {@link REPOSITORY_SORTS}; anything else counts as `pushed`. */
  sort: string;
}

/** Every method throws {@link ProviderNotConnected} where there is no token to act with. */
export class ProviderHandler {
  constructor(
    private readonly tokens: TokenProvider,
    private readonly clients: Pick<GitProviderClients, 'open' | 'supports'>,
    private readonly log: ProviderHandlerLog,
  ) {}

  /** The user at the first connected provider that answers. */
  async currentUser(): Promise<GitUser> {
    return this.#first(await this.connected(), (client) => client.currentUser());
  }

  async installations(provider: GitProvider, page: PageRequest): Promise<HostPage<string>> {
    return (await this.client(provider)).installations(page);
  }

  async repositories({
    provider,
    installationId,
    sort,
    ...page
  }: RepositoryList): Promise<HostPage<Repository>> {
    const request = {
      ...page,
      installationId,
      sort: REPOSITORY_SORTS.find((known) => known === sort) ?? 'pushed',
    };
    if (provider !== null) return (await this.client(provider)).repositories(request);
    const pages = await this.#all((client) => client.repositories(request));
    return {
      items: pages.flatMap(({ items }) => items),
      next: pages.some(({ next }) => next !== null) ? page.page + 1 : null,
    };
  }

  /** Repositories that match what a person typed or pasted: words, `owner/name`, an address. */
  async searchRepositories(provider: GitProvider | null, search: RepositorySearch): Promise<Repository[]> {
    if (provider !== null) return this.#search(await this.client(provider), search);
    return (await this.#all((client) => this.#search(client, search))).flat();
  }

  async branches(
    provider: GitProvider | null,
    repository: string,
    page: PageRequest,
  ): Promise<HostPage<Branch>> {
    return this.#at(provider, repository, (client) => client.branches(repository, page));
  }

  async searchBranches(
    provider: GitProvider | null,
    repository: string,
    query: string,
    limit: number,
  ): Promise<Branch[]> {
    return this.#at(provider, repository, (client) => client.searchBranches(repository, query, limit));
  }

  /** What waits for the user at all connected providers. */
  async suggestedTasks(): Promise<SuggestedTask[]> {
    return (await this.#all((client) => client.suggestedTasks())).flat();
  }

  /**
   * The provider that has a repository: of those connected, else GitHub as anybody sees it.
   * @throws {GitProviderError} when none has it
   */
  async homeOf(repository: string): Promise<{ client: GitProviderClient; repository: Repository }> {
    const connected = await this.#clients();
    const candidates = connected.length > 0 ? connected : [this.clients.open('github', null)];
    return this.#first(candidates, async (client) => ({
      client,
      repository: await client.repository(repository),
    }));
  }

  /** Clients of all connected providers that have repositories. */
  async connected(): Promise<GitProviderClient[]> {
    const clients = await this.#clients();
    if (clients.length === 0) throw new ProviderNotConnected(null);
    return clients;
  }

  /** The client of one provider. */
  async client(provider: GitProvider): Promise<GitProviderClient> {
    const token = await this.tokens.get(provider);
    if (token) return this.clients.open(provider, token);
    const others = await this.tokens.getAll();
    throw new ProviderNotConnected(others.size === 0 ? null : provider);
  }

  async #clients(): Promise<GitProviderClient[]> {
    const tokens = await this.tokens.getAll();
    return [...tokens].flatMap(([provider, token]) => {
      if (!this.clients.supports(provider)) return [];
      try {
        return [this.clients.open(provider, token)];
      } catch (error) {
        this.#report(error); // what was stored as its host is none
        return [];
      }
    });
  }

  async #at<Result>(
    provider: GitProvider | null,
    repository: string,
    work: (client: GitProviderClient) => Promise<Result>,
  ): Promise<Result> {
    if (provider !== null) return work(await this.client(provider));
    const [only, ...others] = await this.connected();
    if (only && others.length === 0) return work(only);
    return work((await this.homeOf(repository)).client);
  }

  /** An address or `owner/name` is looked up as such before it is searched for. */
  async #search(client: GitProviderClient, search: RepositorySearch): Promise<Repository[]> {
    const query = search.query.trim();
    const pasted = nameInAddress(query);
    if (pasted === null) return query === '' ? [] : client.searchRepositories({ ...search, query });
    const token = await this.tokens.get(client.provider);
    if (pasted.host !== providerAddress(client.provider, token?.host ?? null).host) return [];
    try {
      return [await client.repository(pasted.name)];
    } catch (error) {
      if (error instanceof InvalidRepository) return [];
      if (error instanceof GitProviderError && error.kind === 'not_found') return [];
      throw error;
    }
  }

  /** The results of all providers that answer; when none does, the first error. */
  async #all<Result>(work: (client: GitProviderClient) => Promise<Result>): Promise<Result[]> {
    const clients = await this.connected();
    const settled = await Promise.allSettled(clients.map(work));
    const results = settled.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
    const failed = settled.filter((one) => one.status === 'rejected');
    if (results.length === 0) throw failed[0]?.reason;
    for (const { reason } of failed) this.#report(reason);
    return results;
  }

  /** The first good result; when there is none, the error that says most. */
  async #first<Result>(
    clients: readonly GitProviderClient[],
    work: (client: GitProviderClient) => Promise<Result>,
  ): Promise<Result> {
    const errors: unknown[] = [];
    for (const client of clients) {
      try {
        return await work(client);
      } catch (error) {
        if (!(error instanceof GitProviderError) && !(error instanceof InvalidRepository)) throw error;
        errors.push(error);
      }
    }
    const telling = errors.find((error) => error instanceof GitProviderError && error.kind !== 'not_found');
    throw telling ?? errors[0];
  }

  #report(error: unknown): void {
    if (!(error instanceof GitProviderError)) throw error;
    this.log.warn(
      { provider: error.provider, kind: error.kind, reason: error.message },
      'a git provider is left out of an answer',
    );
  }
}

/** Host and repository name in a pasted web or clone address; null when it is none. */
function nameInAddress(text: string): { host: string; name: string } | null {
  if (!/^https?:\/\//i.test(text) || !URL.canParse(text)) return null;
  const { host, pathname } = new URL(text);
  const path = decoded(pathname)
    .replace(/^\/|\/$/g, '')
    .replace(/\/(-\/)?(tree|blob|src|pull|pulls|issues|merge_requests|pull-requests)(\/.*)?$/, '')
    .replace('/_git/', '/')
    .replace(/\.git$/, '');
  return { host: host.replace(/^www\./, ''), name: path };
}

function decoded(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch (error) {
    if (error instanceof URIError) return path;
    throw error;
  }
}
