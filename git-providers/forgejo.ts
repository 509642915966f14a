/** Forgejo and Gitea: REST API v1. */
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
} from './git-provider-client.js';
import { noInstallations } from './gitlab.js';
import type { GuardedHttp } from './guarded-http.js';
import { nextPageOfLink, ProviderApi } from './provider-api.js';
import { GitProviderError } from './provider-error.js';

/** Servers cut pages at 50 unless their operator says otherwise; a larger page would skip nothing, but be cut. */
const MAX_PAGE = 50;
/** Pages of branches that are looked through for a name: the API cannot search them. */
const SEARCHED_PAGES = 10;
/** Pull requests that are looked at one by one for conflicts. */
const MAX_PULL_REQUESTS = 10;

const User = z.object({
  id: z.int(),
  login: z.string(),
  avatar_url: z.string().nullish(),
  full_name: z.string().nullish(),
  email: z.string().nullish(),
});
const Found = z.object({
  id: z.int(),
  full_name: z.string(),
  private: z.boolean(),
  internal: z.boolean().nullish(),
  stars_count: z.int().nullish(),
  updated_at: z.string().nullish(),
  owner: z.object({ login: z.string(), email: z.string().nullish() }).nullish(),
  default_branch: z.string().nullish(),
});
const FoundBranch = z.object({
  name: z.string(),
  commit: z.object({ id: z.string(), timestamp: z.string().nullish() }).nullish(),
  protected: z.boolean().nullish(),
});
const Issue = z.object({
  number: z.int(),
  title: z.string(),
  repository: z.object({ full_name: z.string() }).nullish(),
});
const Entry = z.object({ name: z.string(), path: z.string(), type: z.string() });

export class ForgejoClient implements GitProviderClient {
  readonly provider = 'forgejo';
  readonly #api: ProviderApi;

  /** @param base of the web address, with the path of servers that have one. */
  constructor(http: Pick<GuardedHttp, 'send'>, base: string, token: string | null) {
    this.#api = new ProviderApi(http, {
      provider: 'forgejo',
      base: `${base}/api/v1`,
      headers: token === null ? {} : { Authorization: `token ${token}` },
    });
  }

  async currentUser(): Promise<GitUser> {
    const { data } = await this.#api.get('/user', User);
    return {
      id: String(data.id),
      login: data.login,
      avatar_url: data.avatar_url ?? '',
      company: null,
      name: data.full_name || null,
      email: data.email || null,
    };
  }

  installations(): Promise<never> {
    return Promise.reject(noInstallations('forgejo'));
  }

  async repositories({ page, perPage }: PageRequest): Promise<HostPage<Repository>> {
    const { data, headers } = await this.#api.get('/user/repos', z.array(Found), {
      query: { page, limit: Math.min(perPage, MAX_PAGE) },
    });
    const link = [headers.link ?? []].flat().join(', ');
    return { items: withLink(data.map(repositoryOf), link || null), next: nextPageOfLink(headers.link) };
  }

  async searchRepositories({ query, limit, sort, order }: RepositorySearch): Promise<Repository[]> {
    const { data } = await this.#api.get('/repos/search', z.object({ data: z.array(Found) }), {
      // It looks at names without owners.
      query: { q: query.split('/').at(-1), sort, order, limit: Math.min(limit, MAX_PAGE) },
    });
    const owner = query.includes('/') ? `${query.split('/')[0]?.toLowerCase() ?? ''}/` : '';
    return data.data.map(repositoryOf).filter(({ full_name: name }) => name.toLowerCase().startsWith(owner));
  }

  async repository(name: string): Promise<Repository> {
    return repositoryOf((await this.#api.get(repositoryPath(name), Found)).data);
  }

  async branches(repository: string, { page, perPage }: PageRequest): Promise<HostPage<Branch>> {
    const { data, headers } = await this.#api.get(
      `${repositoryPath(repository)}/branches`,
      z.array(FoundBranch),
      { query: { page, limit: Math.min(perPage, MAX_PAGE) } },
    );
    const total = headers['x-total-count'];
    return {
      items: data.map((branch) => ({
        name: branch.name,
        commit_sha: branch.commit?.id ?? '',
        protected: branch.protected ?? false,
        last_push_date: branch.commit?.timestamp ?? null,
      })),
      next: nextPageOfLink(headers.link),
      total: typeof total === 'string' && /^\d+$/.test(total) ? Number(total) : null,
    };
  }

  async searchBranches(repository: string, query: string, limit: number): Promise<Branch[]> {
    const found: Branch[] = [];
    let page: number | null = 1;
    for (let count = 0; page !== null && count < SEARCHED_PAGES && found.length < limit; count++) {
      const part: HostPage<Branch> = await this.branches(repository, { page, perPage: MAX_PAGE });
      found.push(...part.items.filter(({ name }) => name.toLowerCase().includes(query.toLowerCase())));
      page = part.next;
    }
    return found.slice(0, limit);
  }

  async suggestedTasks(): Promise<SuggestedTask[]> {
    const search = (query: Record<string, string | boolean>) =>
      this.#api.get('/repos/issues/search', z.array(Issue), {
        query: { state: 'open', limit: MAX_TASKS, ...query },
      });
    const [{ data: pulls }, { data: issues }] = await Promise.all([
      search({ type: 'pulls', created: true }),
      search({ type: 'issues', assigned: true }),
    ]);
    const conflicts = await Promise.all(
      pulls.slice(0, MAX_PULL_REQUESTS).map(async (pull) => ((await this.#conflicts(pull)) ? [pull] : [])),
    );
    return [
      ...conflicts.flat().flatMap((pull) => task('MERGE_CONFLICTS', pull)),
      ...issues.flatMap((issue) => task('OPEN_ISSUE', issue)),
    ];
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
    return this.#api.text(`${repositoryPath(repository)}/raw/${encodePath(path)}`);
  }

  async #conflicts({ number, repository }: z.output<typeof Issue>): Promise<boolean> {
    if (!repository) return false;
    const { data } = await this.#api.get(
      `${repositoryPath(repository.full_name)}/pulls/${number}`,
      z.object({ mergeable: z.boolean().nullish(), draft: z.boolean().nullish() }),
    );
    // Drafts count as not mergeable whatever they change.
    return data.mergeable === false && !data.draft;
  }
}

const repositoryPath = (name: string): string =>
  `/repos/${repositorySegments('forgejo', name).map(encodeURIComponent).join('/')}`;

const repositoryOf = (found: z.output<typeof Found>): Repository => ({
  id: String(found.id),
  full_name: found.full_name,
  git_provider: 'forgejo',
  is_public: !found.private && !found.internal,
  stargazers_count: found.stars_count ?? null,
  link_header: null,
  pushed_at: found.updated_at ?? null,
  // The API does not tell users and organizations apart here.
  owner_type: null,
  main_branch: found.default_branch || null,
});

const task = (
  type: SuggestedTask['task_type'],
  { number, title, repository }: z.output<typeof Issue>,
): SuggestedTask[] =>
  repository
    ? [{ git_provider: 'forgejo', task_type: type, repo: repository.full_name, issue_number: number, title }]
    : [];
