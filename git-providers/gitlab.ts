/** GitLab and self-managed GitLab: REST API v4, and GraphQL for merge requests that wait for their author. */
import { z } from 'zod';
import type { Branch, GitUser, Repository, SuggestedTask } from '../contract/git.js';
import { repositorySegments } from './clone-url.js';
import {
  MAX_TASKS,
  withLink,
  type FolderEntry,
  type GitProviderClient,
  type HostPage,
  type PageRequest,
  type RepositorySearch,
  type RepositorySort,
} from './git-provider-client.js';
import type { GuardedHttp } from './guarded-http.js';
import { pageNumber, ProviderApi, type ApiAnswer } from './provider-api.js';
import { GitProviderError, notUnderstood } from './provider-error.js';

const MAX_PAGE = 100;
const ORDERS: Record<RepositorySort, string> = {
  pushed: 'last_activity_at',
  updated: 'updated_at',
  created: 'created_at',
  full_name: 'path',
};
/** GitLab does not order by forks; the nearest is who is liked. */
const SEARCH_ORDERS: Record<RepositorySearch['sort'], string> = {
  stars: 'star_count',
  forks: 'star_count',
  updated: 'last_activity_at',
};

/** States of merge requests that are over; `locked` are those being merged. */
const ENDED: ReadonlySet<string> = new Set(['closed', 'merged']);

const User = z.object({
  id: z.int(),
  username: z.string(),
  avatar_url: z.string().nullish(),
  organization: z.string().nullish(),
  name: z.string().nullish(),
  email: z.string().nullish(),
});
const Project = z.object({
  id: z.int(),
  path_with_namespace: z.string(),
  visibility: z.string().nullish(),
  star_count: z.int().nullish(),
  last_activity_at: z.string().nullish(),
  namespace: z.object({ kind: z.string().nullish() }).nullish(),
  default_branch: z.string().nullish(),
});
const FoundBranch = z.object({
  name: z.string(),
  commit: z.object({ id: z.string(), committed_date: z.string().nullish() }),
  protected: z.boolean().nullish(),
});
const Issue = z.object({
  iid: z.int(),
  title: z.string(),
  references: z.object({ full: z.string() }),
});

const MERGE_REQUESTS = `query ($limit: Int!) {
  currentUser {
    authoredMergeRequests(state: opened, sort: UPDATED_DESC, first: $limit) {
      nodes {
        iid title conflicts
        project { fullPath }
        headPipeline { status }
        discussions(first: 50) { nodes { resolvable resolved } }
      }
    }
  }
}`;
const MergeRequest = z.object({
  iid: z.coerce.number().int(),
  title: z.string(),
  conflicts: z.boolean().nullish(),
  project: z.object({ fullPath: z.string() }),
  headPipeline: z.object({ status: z.string() }).nullish(),
  discussions: z
    .object({ nodes: z.array(z.object({ resolvable: z.boolean(), resolved: z.boolean() }).nullable()) })
    .nullish(),
});
const MergeRequests = z.object({
  data: z
    .object({
      currentUser: z
        .object({ authoredMergeRequests: z.object({ nodes: z.array(MergeRequest.nullable()) }) })
        .nullable(),
    })
    .nullish(),
});

export class GitLabClient implements GitProviderClient {
  readonly provider = 'gitlab';
  readonly #api: ProviderApi;

  /** @param base of the web address, with the path of instances that have one. */
  constructor(
    http: Pick<GuardedHttp, 'send'>,
    private readonly base: string,
    token: string | null,
  ) {
    this.#api = new ProviderApi(http, {
      provider: 'gitlab',
      base: `${base}/api/v4`,
      // Personal, project and group tokens are taken like those of OAuth.
      headers: token === null ? {} : { Authorization: `Bearer ${token}` },
    });
  }

  async currentUser(): Promise<GitUser> {
    const { data } = await this.#api.get('/user', User);
    return {
      id: String(data.id),
      login: data.username,
      avatar_url: data.avatar_url ?? '',
      company: data.organization || null,
      name: data.name ?? null,
      email: data.email ?? null,
    };
  }

  installations(): Promise<never> {
    return Promise.reject(noInstallations('gitlab'));
  }

  async repositories({
    page,
    perPage,
    sort,
  }: PageRequest & { sort: RepositorySort }): Promise<HostPage<Repository>> {
    const answer = await this.#api.get('/projects', z.array(Project), {
      query: {
        membership: true,
        archived: false,
        order_by: ORDERS[sort],
        sort: sort === 'full_name' ? 'asc' : 'desc',
        page,
        per_page: Math.min(perPage, MAX_PAGE),
      },
    });
    const link = [answer.headers.link ?? []].flat().join(', ');
    return pageOf(answer, (projects) => withLink(projects.map(repositoryOf), link || null));
  }

  async searchRepositories({ query, limit, sort, order }: RepositorySearch): Promise<Repository[]> {
    const search = (membership: boolean) =>
      this.#api.get('/projects', z.array(Project), {
        query: {
          search: query,
          search_namespaces: query.includes('/'),
          ...(membership ? { membership } : {}),
          order_by: SEARCH_ORDERS[sort],
          sort: order,
          per_page: Math.min(limit, MAX_PAGE),
        },
      });
    const found = (await search(true)).data;
    // GitLab searches from three letters on.
    if (found.length < limit && query.length >= 3) found.push(...(await search(false)).data);
    return [...new Map(found.map((project) => [project.id, repositoryOf(project)])).values()].slice(0, limit);
  }

  async repository(name: string): Promise<Repository> {
    return repositoryOf((await this.#api.get(projectPath(name), Project)).data);
  }

  async branches(repository: string, { page, perPage }: PageRequest): Promise<HostPage<Branch>> {
    const answer = await this.#branches(repository, { page, per_page: Math.min(perPage, MAX_PAGE) });
    return pageOf(answer, (branches) => branches.map(branchOf));
  }

  async searchBranches(repository: string, query: string, limit: number): Promise<Branch[]> {
    const { data } = await this.#branches(repository, { search: query, per_page: Math.min(limit, MAX_PAGE) });
    return data.map(branchOf);
  }

  async suggestedTasks(): Promise<SuggestedTask[]> {
    const [answer, { data: issues }] = await Promise.all([
      this.#api.post(`${this.base}/api/graphql`, MergeRequests, {
        query: MERGE_REQUESTS,
        variables: { limit: MAX_TASKS },
      }),
      this.#api.get('/issues', z.array(Issue), {
        query: { scope: 'assigned_to_me', state: 'opened', order_by: 'updated_at', per_page: MAX_TASKS },
      }),
    ]);
    if (!answer.data) throw notUnderstood('gitlab', new Error('GraphQL gave no data'));
    const mergeRequests = answer.data.currentUser?.authoredMergeRequests.nodes ?? [];
    return [
      ...mergeRequests.flatMap((one) => {
        const type = one && typeOf(one);
        return type ? [task(type, one.project.fullPath, one)] : [];
      }),
      ...issues.map((issue) => task('OPEN_ISSUE', issue.references.full.replace(/#\d+$/, ''), issue)),
    ];
  }

  async isPullRequestOpen(repository: string, number: number): Promise<boolean> {
    const { data } = await this.#api.get(
      `${projectPath(repository)}/merge_requests/${number}`,
      z.object({ state: z.string() }),
    );
    return !ENDED.has(data.state);
  }

  async listFolder(repository: string, path: string): Promise<FolderEntry[]> {
    const Entry = z.object({ name: z.string(), path: z.string(), type: z.string() });
    try {
      const { data } = await this.#api.get(`${projectPath(repository)}/repository/tree`, z.array(Entry), {
        query: { path, per_page: MAX_PAGE },
      });
      return data.map(({ name, path: at, type }) => ({ name, path: at, isFile: type === 'blob' }));
    } catch (error) {
      if (error instanceof GitProviderError && error.kind === 'not_found') return [];
      throw error;
    }
  }

  readFile(repository: string, path: string): Promise<string> {
    return this.#api.text(
      `${projectPath(repository)}/repository/files/${encodeURIComponent(path)}/raw?ref=HEAD`,
    );
  }

  #branches(repository: string, query: Record<string, string | number>) {
    return this.#api.get(`${projectPath(repository)}/repository/branches`, z.array(FoundBranch), { query });
  }
}

/** What providers answer that have no installations (contract 11.1). */
export const noInstallations = (provider: 'gitlab' | 'forgejo'): GitProviderError =>
  new GitProviderError('unsupported', provider, `Provider ${provider} doesn't support installations`);

/** The next page is named by a header that is empty on the last one; totals are left out of large lists. */
function pageOf<Data, Item>(
  { data, headers }: ApiAnswer<Data>,
  items: (data: Data) => Item[],
): HostPage<Item> {
  const header = (name: string): number | null => {
    const value = headers[name];
    return typeof value === 'string' ? pageNumber(value) : null;
  };
  return { items: items(data), next: header('x-next-page'), total: header('x-total') };
}

const projectPath = (name: string): string =>
  `/projects/${encodeURIComponent(repositorySegments('gitlab', name).join('/'))}`;

const repositoryOf = (project: z.output<typeof Project>): Repository => ({
  id: String(project.id),
  full_name: project.path_with_namespace,
  git_provider: 'gitlab',
  is_public: project.visibility === 'public',
  stargazers_count: project.star_count ?? null,
  link_header: null,
  pushed_at: project.last_activity_at ?? null,
  owner_type: project.namespace?.kind === 'group' ? 'organization' : 'user',
  main_branch: project.default_branch ?? null,
});

const branchOf = (branch: z.output<typeof FoundBranch>): Branch => ({
  name: branch.name,
  commit_sha: branch.commit.id,
  protected: branch.protected ?? false,
  last_push_date: branch.commit.committed_date ?? null,
});

function typeOf(one: z.output<typeof MergeRequest>): SuggestedTask['task_type'] | null {
  if (one.conflicts) return 'MERGE_CONFLICTS';
  if (one.headPipeline?.status === 'FAILED') return 'FAILING_CHECKS';
  const open = one.discussions?.nodes.some((thread) => thread?.resolvable && !thread.resolved);
  return open ? 'UNRESOLVED_COMMENTS' : null;
}

const task = (
  type: SuggestedTask['task_type'],
  repo: string,
  { iid, title }: { iid: number; title: string },
): SuggestedTask => ({ git_provider: 'gitlab', task_type: type, repo, issue_number: iid, title });
