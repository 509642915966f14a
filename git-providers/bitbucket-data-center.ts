/** Bitbucket Data Center: REST API 1.0, whose lists go on at `nextPageStart` until `isLastPage`. */
import { z } from 'zod';
import type { Branch, GitUser, Repository, SuggestedTask } from '../contract/git.js';
import { bitbucketAuthorization } from './bitbucket.js';
import { repositorySegments } from './clone-url.js';
import {
  encodePath,
  linkTo,
  MAX_TASKS,
  withLink,
  type FolderEntry,
  type GitProviderClient,
  type HostPage,
  type PageRequest,
  type RepositorySearch,
} from './git-provider-client.js';
import type { GuardedHttp } from './guarded-http.js';
import { ProviderApi, type Query } from './provider-api.js';
import { GitProviderError, tokenRefused } from './provider-error.js';

const MAX_PAGE = 100;
const MAX_ENTRIES = 500;
const LATEST_COMMIT = 'com.atlassian.bitbucket.server.bitbucket-branch:latest-commit-metadata';

/** States of pull requests that are over. */
const ENDED: ReadonlySet<string> = new Set(['MERGED', 'DECLINED']);

const Listed = <Item extends z.ZodType>(item: Item) =>
  z.object({
    values: z.array(item),
    isLastPage: z.boolean().nullish(),
    nextPageStart: z.int().nullish(),
  });
const Found = z.object({
  id: z.int(),
  slug: z.string(),
  public: z.boolean().nullish(),
  project: z.object({ key: z.string(), type: z.string().nullish() }),
});
const FoundBranch = z.object({
  displayId: z.string(),
  latestCommit: z.string(),
  metadata: z
    .object({ [LATEST_COMMIT]: z.object({ committerTimestamp: z.number().nullish() }).nullish() })
    .nullish(),
});
const PullRequest = z.object({
  id: z.int(),
  title: z.string(),
  toRef: z.object({ repository: Found }),
  properties: z
    .object({
      mergeResult: z.object({ outcome: z.string().nullish() }).nullish(),
      openTaskCount: z.int().nullish(),
    })
    .nullish(),
});

export class BitbucketDataCenterClient implements GitProviderClient {
  readonly provider = 'bitbucket_data_center';
  readonly #api: ProviderApi;
  readonly #root: string;

  /** @param base of the web address, with its context path. @param token HTTP access token, or `name:password`. */
  constructor(http: Pick<GuardedHttp, 'send'>, base: string, token: string | null) {
    this.#root = `${base}/rest/api/1.0`;
    this.#api = new ProviderApi(http, {
      provider: 'bitbucket_data_center',
      base: this.#root,
      headers: token === null ? {} : { Authorization: bitbucketAuthorization(token) },
    });
  }

  /** There is no route for the user of a token; every answer names the user in a header. */
  async currentUser(): Promise<GitUser> {
    const { headers } = await this.#api.get('/projects', z.looseObject({}), { query: { limit: 1 } });
    const header = headers['x-ausername'];
    if (typeof header !== 'string' || header === '') throw tokenRefused('bitbucket_data_center');
    const login = decodeURIComponent(header);
    const User = z.object({
      id: z.int(),
      name: z.string(),
      displayName: z.string().nullish(),
      emailAddress: z.string().nullish(),
    });
    const { items } = await this.#list('/users', User, { filter: login, limit: MAX_PAGE });
    const user = items.find(({ name }) => name.toLowerCase() === login.toLowerCase());
    return {
      // Tokens of projects and repositories belong to nobody who is listed.
      id: user ? String(user.id) : login,
      login,
      avatar_url: '',
      company: null,
      name: user?.displayName ?? null,
      email: user?.emailAddress ?? null,
    };
  }

  /** Projects. */
  async installations(page: PageRequest): Promise<HostPage<string>> {
    const found = await this.#list('/projects', z.object({ key: z.string() }), fromPosition(page));
    return { ...found, items: found.items.map(({ key }) => key) };
  }

  async repositories({
    installationId,
    ...page
  }: PageRequest & { installationId: string | null }): Promise<HostPage<Repository>> {
    const path = installationId === null ? '/repos' : `/projects/${encodeURIComponent(installationId)}/repos`;
    const { items, next } = await this.#list(path, Found, { permission: 'REPO_READ', ...fromPosition(page) });
    return { items: withLink(items.map(repositoryOf), linkTo(`${this.#root}/repos`, next)), next };
  }

  async searchRepositories({ query, limit }: RepositorySearch): Promise<Repository[]> {
    const slash = query.indexOf('/');
    const { items } = await this.#list('/repos', Found, {
      name: query.slice(slash + 1) || null,
      ...(slash > 0 ? { projectkey: query.slice(0, slash) } : {}),
      permission: 'REPO_READ',
      limit: Math.min(limit, MAX_PAGE),
    });
    return items.map(repositoryOf);
  }

  async repository(name: string): Promise<Repository> {
    const path = repositoryPath(name);
    const [{ data }, main] = await Promise.all([this.#api.get(path, Found), this.#defaultBranch(path)]);
    return { ...repositoryOf(data), main_branch: main };
  }

  async branches(repository: string, { page, perPage }: PageRequest): Promise<HostPage<Branch>> {
    const limit = Math.min(perPage, MAX_PAGE);
    const found = await this.#branches(repository, { start: (page - 1) * limit, limit });
    // Branches are hidden from nobody, so their pages have no gaps and can be counted.
    return { items: found.items, next: found.next === null ? null : page + 1 };
  }

  async searchBranches(repository: string, query: string, limit: number): Promise<Branch[]> {
    return (await this.#branches(repository, { filterText: query, limit: Math.min(limit, MAX_PAGE) })).items;
  }

  async suggestedTasks(): Promise<SuggestedTask[]> {
    const { items } = await this.#list('/dashboard/pull-requests', PullRequest, {
      role: 'AUTHOR',
      state: 'OPEN',
      limit: MAX_TASKS,
    });
    return items.flatMap(({ id, title, toRef, properties }) => {
      const conflicts = properties?.mergeResult?.outcome === 'CONFLICTED';
      if (!conflicts && !properties?.openTaskCount) return [];
      return [
        {
          git_provider: 'bitbucket_data_center' as const,
          task_type: conflicts ? ('MERGE_CONFLICTS' as const) : ('UNRESOLVED_COMMENTS' as const),
          repo: repositoryOf(toRef.repository).full_name,
          issue_number: id,
          title,
        },
      ];
    });
  }

  async isPullRequestOpen(repository: string, number: number): Promise<boolean> {
    const { data } = await this.#api.get(
      `${repositoryPath(repository)}/pull-requests/${number}`,
      z.object({ state: z.string() }),
    );
    return !ENDED.has(data.state);
  }

  async listFolder(repository: string, path: string): Promise<FolderEntry[]> {
    const Entry = z.object({ path: z.object({ toString: z.string() }), type: z.string() });
    const schema = z.object({ children: Listed(Entry).nullish() });
    try {
      const { data } = await this.#api.get(
        `${repositoryPath(repository)}/browse/${encodePath(path)}`,
        schema,
        {
          query: { limit: MAX_ENTRIES },
        },
      );
      return (data.children?.values ?? []).map(({ path: { toString: name }, type }) => ({
        name,
        path: path === '' ? name : `${path}/${name}`,
        isFile: type === 'FILE',
      }));
    } catch (error) {
      if (error instanceof GitProviderError && error.kind === 'not_found') return [];
      throw error;
    }
  }

  readFile(repository: string, path: string): Promise<string> {
    return this.#api.text(`${repositoryPath(repository)}/raw/${encodePath(path)}`);
  }

  async #defaultBranch(path: string): Promise<string | null> {
    try {
      return (await this.#api.get(`${path}/default-branch`, z.object({ displayId: z.string() }))).data
        .displayId;
    } catch (error) {
      // An empty repository has none, and servers before 7.5 do not tell.
      if (error instanceof GitProviderError && error.kind === 'not_found') return null;
      throw error;
    }
  }

  async #branches(repository: string, query: Query): Promise<HostPage<Branch>> {
    const found = await this.#list(`${repositoryPath(repository)}/branches`, FoundBranch, {
      details: true,
      orderBy: 'MODIFICATION',
      ...query,
    });
    return {
      next: found.next,
      items: found.items.map(({ displayId, latestCommit, metadata }) => {
        const at = metadata?.[LATEST_COMMIT]?.committerTimestamp;
        return {
          name: displayId,
          commit_sha: latestCommit,
          protected: false,
          last_push_date: at ? new Date(at).toISOString() : null,
        };
      }),
    };
  }

  async #list<Item extends z.ZodType>(
    path: string,
    item: Item,
    query: Query,
  ): Promise<HostPage<z.output<Item>>> {
    const { data } = await this.#api.get(path, Listed(item), { query });
    const start = data.isLastPage === false ? (data.nextPageStart ?? null) : null;
    return { items: data.values, next: start === null ? null : start + 1 };
  }
}

/**
 * What the user may not see is left out of pages, so the next one does not begin where this one seems to end: pages are
 * asked for by the position of their first item, counted from 1.
 */
const fromPosition = ({ page, perPage }: PageRequest): Query => ({
  start: page - 1,
  limit: Math.min(perPage, MAX_PAGE),
});

function repositoryPath(name: string): string {
  const [project = '', slug = ''] = repositorySegments('bitbucket_data_center', name);
  return `/projects/${encodeURIComponent(project)}/repos/${encodeURIComponent(slug)}`;
}

const repositoryOf = ({ id, slug, project, public: isPublic }: z.output<typeof Found>): Repository => ({
  id: String(id),
  full_name: `${project.key}/${slug}`,
  git_provider: 'bitbucket_data_center',
  is_public: isPublic ?? false,
  stargazers_count: null,
  link_header: null,
  pushed_at: null,
  owner_type: project.type === 'PERSONAL' ? 'user' : 'organization',
  main_branch: null,
});
