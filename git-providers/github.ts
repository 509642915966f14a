/** GitHub and GitHub Enterprise: REST API 2022-11-28 and GraphQL. */
import { z } from 'zod';
import type { Branch, GitUser, Repository, SuggestedTask } from '../contract/git.js';
import { repositorySegments } from './clone-url.js';
import {
  encodePath,
  MAX_TASKS,
  withLink,
  type FolderEntry,
  type GitProviderClient,
  type HostPage,
  type PageRequest,
  type RepositorySearch,
  type RepositorySort,
} from './git-provider-client.js';
import {
  branchesOf,
  FoundBranches,
  FoundTasks,
  GraphQlAnswer,
  SEARCH_BRANCHES,
  SUGGESTED_TASKS,
  tasksOf,
} from './github-queries.js';
import type { GuardedHttp } from './guarded-http.js';
import { nextPageOfLink, ProviderApi } from './provider-api.js';
import { errorOfAnswer, GitProviderError, notUnderstood } from './provider-error.js';

/** Where GitHub's two APIs are. */
export interface GitHubAddresses {
  rest: string;
  graphql: string;
}

/** github.com, an enterprise server, or a tenant of ghe.com. */
export function gitHubAddresses({ origin, hostname, host }: URL): GitHubAddresses {
  if (/^(www\.|api\.)?github\.com$/.test(hostname)) {
    return { rest: 'https://api.github.com', graphql: 'https://api.github.com/graphql' };
  }
  if (hostname.endsWith('.ghe.com')) {
    const rest = `https://${host.startsWith('api.') ? host : `api.${host}`}`;
    return { rest, graphql: `${rest}/graphql` };
  }
  return { rest: `${origin}/api/v3`, graphql: `${origin}/api/graphql` };
}

const MAX_PAGE = 100;
/** Longest search that GitHub takes, in characters. */
const LONGEST_SEARCH = 256;

const User = z.object({
  id: z.int(),
  login: z.string(),
  avatar_url: z.string().nullish(),
  company: z.string().nullish(),
  name: z.string().nullish(),
  email: z.string().nullish(),
});
const Found = z.object({
  id: z.int(),
  full_name: z.string(),
  private: z.boolean(),
  stargazers_count: z.int().nullish(),
  pushed_at: z.string().nullish(),
  owner: z.object({ type: z.string().nullish() }).nullish(),
  default_branch: z.string().nullish(),
});
const FoundBranch = z.object({
  name: z.string(),
  commit: z.object({ sha: z.string() }),
  protected: z.boolean().nullish(),
});
const Entry = z.object({ name: z.string(), path: z.string(), type: z.string() });

export class GitHubClient implements GitProviderClient {
  readonly provider = 'github';
  readonly #api: ProviderApi;

  constructor(
    http: Pick<GuardedHttp, 'send'>,
    private readonly addresses: GitHubAddresses,
    token: string | null,
  ) {
    this.#api = new ProviderApi(http, {
      provider: 'github',
      base: addresses.rest,
      headers: {
        Accept: 'application/vnd.github+json',
        'X-GitHub-Api-Version': '2022-11-28',
        ...(token === null ? {} : { Authorization: `Bearer ${token}` }),
      },
    });
  }

  async currentUser(): Promise<GitUser> {
    const { data } = await this.#api.get('/user', User);
    return {
      id: String(data.id),
      login: data.login,
      avatar_url: data.avatar_url ?? '',
      company: data.company ?? null,
      name: data.name ?? null,
      email: data.email ?? null,
    };
  }

  /** Installations of the GitHub App that made the token; tokens of other kinds have none. */
  async installations({ page, perPage }: PageRequest): Promise<HostPage<string>> {
    const schema = z.object({
      installations: z.array(z.object({ id: z.int() })),
      total_count: z.int().nullish(),
    });
    try {
      const { data, headers } = await this.#api.get('/user/installations', schema, {
        query: { page, per_page: Math.min(perPage, MAX_PAGE) },
      });
      return {
        items: data.installations.map(({ id }) => String(id)),
        next: nextPageOfLink(headers.link),
        total: data.total_count ?? null,
      };
    } catch (error) {
      // GitHub's answer to tokens that are not of a GitHub App.
      if (error instanceof GitProviderError && error.kind === 'forbidden') return { items: [], next: null };
      throw error;
    }
  }

  async repositories({
    page,
    perPage,
    installationId,
    sort,
  }: PageRequest & { installationId: string | null; sort: RepositorySort }): Promise<HostPage<Repository>> {
    const query = { page, per_page: Math.min(perPage, MAX_PAGE) };
    const { data, headers } =
      installationId === null
        ? await this.#api.get('/user/repos', z.array(Found), { query: { ...query, sort } })
        : await this.#api.get(
            `/user/installations/${encodeURIComponent(installationId)}/repositories`,
            z.object({ repositories: z.array(Found) }).transform(({ repositories }) => repositories),
            { query },
          );
    const link = [headers.link ?? []].flat().join(', ');
    return { items: withLink(data.map(repositoryOf), link || null), next: nextPageOfLink(headers.link) };
  }

  /** The user's own and those of the user's organizations first, then all others. */
  async searchRepositories(search: RepositorySearch): Promise<Repository[]> {
    const { words, owner } = searchTerms(search.query);
    if (owner !== '') return this.#search(`${words} user:${owner}`, search);
    if (words === '') return [];
    const { data: organizations } = await this.#api.get(
      '/user/orgs',
      z.array(z.object({ login: z.string() })),
      { query: { per_page: MAX_PAGE } },
    );
    let own = `${words} user:@me`;
    for (const { login } of organizations) {
      if (own.length + login.length + 5 <= LONGEST_SEARCH) own += ` org:${login}`;
    }
    const found = await this.#search(own, search);
    if (found.length < search.limit) found.push(...(await this.#search(words, search)));
    return [...new Map(found.map((repository) => [repository.id, repository])).values()].slice(
      0,
      search.limit,
    );
  }

  async repository(name: string): Promise<Repository> {
    return repositoryOf((await this.#api.get(repositoryPath(name), Found)).data);
  }

  async branches(repository: string, { page, perPage }: PageRequest): Promise<HostPage<Branch>> {
    const { data, headers } = await this.#api.get(
      `${repositoryPath(repository)}/branches`,
      z.array(FoundBranch),
      { query: { page, per_page: Math.min(perPage, MAX_PAGE) } },
    );
    return {
      items: data.map((branch) => ({
        name: branch.name,
        commit_sha: branch.commit.sha,
        protected: branch.protected ?? false,
        last_push_date: null,
      })),
      next: nextPageOfLink(headers.link),
    };
  }

  async searchBranches(repository: string, query: string, limit: number): Promise<Branch[]> {
    const [owner, name] = repositorySegments('github', repository);
    const variables = { owner, name, query, limit: Math.min(limit, MAX_PAGE) };
    return branchesOf(await this.#graphql(SEARCH_BRANCHES, variables, FoundBranches));
  }

  async suggestedTasks(): Promise<SuggestedTask[]> {
    return tasksOf(await this.#graphql(SUGGESTED_TASKS, { limit: MAX_TASKS }, FoundTasks));
  }

  async isPullRequestOpen(repository: string, number: number): Promise<boolean> {
    const { data } = await this.#api.get(
      `${repositoryPath(repository)}/pulls/${number}`,
      z.object({ state: z.string() }),
    );
    return data.state !== 'closed';
  }

  async listFolder(repository: string, path: string): Promise<FolderEntry[]> {
    const address = `${repositoryPath(repository)}/contents${path === '' ? '' : `/${encodePath(path)}`}`;
    try {
      const { data } = await this.#api.get(address, z.union([z.array(Entry), Entry]));
      return [data].flat().map(({ name, path: at, type }) => ({ name, path: at, isFile: type === 'file' }));
    } catch (error) {
      if (error instanceof GitProviderError && error.kind === 'not_found') return [];
      throw error;
    }
  }

  readFile(repository: string, path: string): Promise<string> {
    return this.#api.text(`${repositoryPath(repository)}/contents/${encodePath(path)}`, {
      headers: { Accept: 'application/vnd.github.raw+json' },
    });
  }

  async #search(q: string, { limit, sort, order }: RepositorySearch): Promise<Repository[]> {
    const { data } = await this.#api.get('/search/repositories', z.object({ items: z.array(Found) }), {
      query: { q: `${q} in:name fork:true`, per_page: Math.min(limit, MAX_PAGE), sort, order },
    });
    return data.items.map(repositoryOf);
  }

  /** GraphQL tells its errors in an answer with status 200, and some beside data that are good. */
  async #graphql<Data extends z.ZodType>(
    query: string,
    variables: Record<string, unknown>,
    schema: Data,
  ): Promise<z.output<Data>> {
    const answer = await this.#api.post(this.addresses.graphql, GraphQlAnswer(schema), { query, variables });
    const data = answer.data;
    if (data !== null && data !== undefined) return data;
    const type = answer.errors?.[0]?.type ?? '';
    const status = GRAPHQL_ERRORS[type];
    if (status !== undefined) throw errorOfAnswer('github', status, {});
    throw notUnderstood('github', new Error(`GraphQL error ${type}`));
  }
}

const GRAPHQL_ERRORS: Record<string, number> = {
  RATE_LIMITED: 429,
  FORBIDDEN: 403,
  INSUFFICIENT_SCOPES: 403,
  NOT_FOUND: 404,
};

const repositoryPath = (name: string): string =>
  `/repos/${repositorySegments('github', name).map(encodeURIComponent).join('/')}`;

const repositoryOf = (found: z.output<typeof Found>): Repository => ({
  id: String(found.id),
  full_name: found.full_name,
  git_provider: 'github',
  is_public: !found.private,
  stargazers_count: found.stargazers_count ?? null,
  link_header: null,
  pushed_at: found.pushed_at ?? null,
  owner_type: found.owner?.type === 'Organization' ? 'organization' : 'user',
  main_branch: found.default_branch ?? null,
});

/** What a person typed, as words: qualifiers of GitHub's search have no effect, and `owner/name` looks at that owner. */
function searchTerms(typed: string): { words: string; owner: string } {
  const words = (text: string): string =>
    text
      .replaceAll(/[^\p{L}\p{N}._-]+/gu, ' ')
      .trim()
      .slice(0, 100);
  const slash = typed.indexOf('/');
  return slash <= 0
    ? { words: words(typed), owner: '' }
    : { words: words(typed.slice(slash + 1)), owner: words(typed.slice(0, slash)).replaceAll(' ', '') };
}
