/** Bitbucket Cloud: REST API 2.0, whose lists name their next page by an address. */
import pLimit from 'p-limit';
import { z } from 'zod';
import type { Branch, GitUser, Repository, SuggestedTask } from '../contract/git.js';
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
  type RepositorySort,
} from './git-provider-client.js';
import type { GuardedHttp } from './guarded-http.js';
import { pageNumber, ProviderApi, type Query } from './provider-api.js';
import { GitProviderError } from './provider-error.js';

export const BITBUCKET_API = 'https://api.bitbucket.org/2.0';
const MAX_PAGE = 100;
/** Workspaces that are looked through where none is named, and how many at a time. */
const MAX_WORKSPACES = 50;
const PARALLEL = 4;

const ORDERS: Record<RepositorySort, string> = {
  pushed: '-updated_on',
  updated: '-updated_on',
  created: '-created_on',
  full_name: 'name',
};

/** States of pull requests that are over. */
const ENDED: ReadonlySet<string> = new Set(['MERGED', 'DECLINED', 'SUPERSEDED']);

const Listed = <Item extends z.ZodType>(item: Item) =>
  z.object({ values: z.array(item), next: z.string().nullish(), size: z.int().nullish() });
const User = z.object({
  uuid: z.string(),
  account_id: z.string().nullish(),
  username: z.string().nullish(),
  nickname: z.string().nullish(),
  display_name: z.string().nullish(),
  links: z.object({ avatar: z.object({ href: z.string() }).nullish() }).nullish(),
});
const Access = z.object({ workspace: z.object({ slug: z.string() }) });
const Found = z.object({
  uuid: z.string(),
  full_name: z.string(),
  is_private: z.boolean(),
  updated_on: z.string().nullish(),
  owner: z.object({ type: z.string().nullish() }).nullish(),
  mainbranch: z.object({ name: z.string() }).nullish(),
});
const FoundBranch = z.object({
  name: z.string(),
  target: z.object({ hash: z.string(), date: z.string().nullish() }),
});
const PullRequest = z.object({
  id: z.int(),
  title: z.string(),
  task_count: z.int().nullish(),
  destination: z.object({ repository: z.object({ full_name: z.string() }) }),
});

export class BitbucketClient implements GitProviderClient {
  readonly provider = 'bitbucket';
  readonly #api: ProviderApi;

  /** @param token of a workspace or of OAuth; or `name:app password`, `e-mail:API token`. */
  constructor(http: Pick<GuardedHttp, 'send'>, base: string, token: string | null) {
    this.#api = new ProviderApi(http, {
      provider: 'bitbucket',
      base,
      headers: token === null ? {} : { Authorization: bitbucketAuthorization(token) },
    });
  }

  async currentUser(): Promise<GitUser> {
    const { data } = await this.#api.get('/user', User);
    return {
      id: data.account_id ?? data.uuid,
      login: data.username ?? data.nickname ?? '',
      avatar_url: data.links?.avatar?.href ?? '',
      company: null,
      name: data.display_name ?? null,
      email: null,
    };
  }

  /** Workspaces. */
  async installations({ page, perPage }: PageRequest): Promise<HostPage<string>> {
    const found = await this.#list('/user/workspaces', Access, {
      page,
      pagelen: Math.min(perPage, MAX_PAGE),
    });
    return { ...found, items: found.items.map(({ workspace }) => workspace.slug) };
  }

  async repositories(
    request: PageRequest & { installationId: string | null; sort: RepositorySort },
  ): Promise<HostPage<Repository>> {
    const workspaces = request.installationId === null ? await this.#workspaces() : [request.installationId];
    // A page of all workspaces has the same page of each: nothing is left out or shown twice between pages.
    const pagelen = Math.max(
      1,
      Math.floor(Math.min(request.perPage, MAX_PAGE) / Math.max(workspaces.length, 1)),
    );
    const pages = await this.#ofEach(workspaces, (workspace) =>
      this.#repositories(workspace, {
        role: 'member',
        sort: ORDERS[request.sort],
        page: request.page,
        pagelen,
      }),
    );
    const next = pages.some((page) => page.next !== null) ? request.page + 1 : null;
    const items = pages.flatMap((page) => page.items);
    return { items: withLink(items, linkTo(`${BITBUCKET_API}/repositories`, next)), next };
  }

  async searchRepositories({ query, limit, sort, order }: RepositorySearch): Promise<Repository[]> {
    const slash = query.indexOf('/');
    const workspaces = slash > 0 ? [query.slice(0, slash)] : await this.#workspaces();
    // Stars and forks are nothing that Bitbucket counts.
    const by = sort === 'updated' && order === 'asc' ? 'updated_on' : '-updated_on';
    const parameters = {
      q: `name ~ ${quoted(query.slice(slash + 1))}`,
      sort: by,
      pagelen: Math.min(limit, MAX_PAGE),
    };
    const pages = await this.#ofEach(workspaces, async (workspace) => {
      try {
        return await this.#repositories(workspace, parameters);
      } catch (error) {
        // A person may type the name of a workspace that is not there.
        if (slash > 0 && error instanceof GitProviderError && error.kind === 'not_found')
          return { items: [] };
        throw error;
      }
    });
    return pages.flatMap(({ items }) => items).slice(0, limit);
  }

  async repository(name: string): Promise<Repository> {
    return repositoryOf((await this.#api.get(repositoryPath(name), Found)).data);
  }

  async branches(repository: string, { page, perPage }: PageRequest): Promise<HostPage<Branch>> {
    return this.#branches(repository, { page, pagelen: Math.min(perPage, MAX_PAGE) });
  }

  async searchBranches(repository: string, query: string, limit: number): Promise<Branch[]> {
    const q = `name ~ ${quoted(query)}`;
    return (await this.#branches(repository, { q, pagelen: Math.min(limit, MAX_PAGE) })).items;
  }

  /** Own pull requests with open tasks; Bitbucket tells of conflicts only one by one. */
  async suggestedTasks(): Promise<SuggestedTask[]> {
    const [workspaces, { data: user }] = await Promise.all([
      this.#workspaces(),
      this.#api.get('/user', User),
    ]);
    const pages = await this.#ofEach(workspaces, (workspace) =>
      this.#list(
        `/workspaces/${encodeURIComponent(workspace)}/pullrequests/${encodeURIComponent(user.uuid)}`,
        PullRequest,
        { state: 'OPEN', pagelen: MAX_TASKS },
      ),
    );
    return pages
      .flatMap(({ items }) => items)
      .filter(({ task_count: tasks }) => (tasks ?? 0) > 0)
      .map(({ id, title, destination }) => ({
        git_provider: 'bitbucket',
        task_type: 'UNRESOLVED_COMMENTS',
        repo: destination.repository.full_name,
        issue_number: id,
        title,
      }));
  }

  async isPullRequestOpen(repository: string, number: number): Promise<boolean> {
    const { data } = await this.#api.get(
      `${repositoryPath(repository)}/pullrequests/${number}`,
      z.object({ state: z.string() }),
    );
    return !ENDED.has(data.state);
  }

  async listFolder(repository: string, path: string): Promise<FolderEntry[]> {
    const schema = z.object({ path: z.string(), type: z.string() });
    try {
      const { items } = await this.#list(`${await this.#head(repository)}/${encodePath(path)}`, schema, {
        pagelen: MAX_PAGE,
      });
      return items.map((entry) => ({
        name: entry.path.split('/').at(-1) ?? '',
        path: entry.path,
        isFile: entry.type === 'commit_file',
      }));
    } catch (error) {
      if (error instanceof GitProviderError && error.kind === 'not_found') return [];
      throw error;
    }
  }

  async readFile(repository: string, path: string): Promise<string> {
    return this.#api.text(`${await this.#head(repository)}/${encodePath(path)}`);
  }

  /** Sources are addressed by commits: a branch with a slash in its name would be read as a folder. */
  async #head(repository: string): Promise<string> {
    const path = repositoryPath(repository);
    const { mainbranch } = (await this.#api.get(path, Found)).data;
    const branch = `${path}/refs/branches/${encodeURIComponent(mainbranch?.name ?? 'main')}`;
    return `${path}/src/${(await this.#api.get(branch, FoundBranch)).data.target.hash}`;
  }

  async #repositories(workspace: string, query: Query): Promise<HostPage<Repository>> {
    const found = await this.#list(`/repositories/${encodeURIComponent(workspace)}`, Found, query);
    return { ...found, items: found.items.map(repositoryOf) };
  }

  async #branches(repository: string, query: Query): Promise<HostPage<Branch>> {
    const path = `${repositoryPath(repository)}/refs/branches`;
    const found = await this.#list(path, FoundBranch, { sort: '-target.date', ...query });
    return {
      ...found,
      items: found.items.map(({ name, target }) => ({
        name,
        commit_sha: target.hash,
        protected: false,
        last_push_date: target.date ?? null,
      })),
    };
  }

  async #workspaces(): Promise<string[]> {
    return (await this.installations({ page: 1, perPage: MAX_WORKSPACES })).items;
  }

  async #list<Item extends z.ZodType>(
    path: string,
    item: Item,
    query: Query,
  ): Promise<HostPage<z.output<Item>>> {
    const { data } = await this.#api.get(path, Listed(item), { query });
    const next = data.next && URL.canParse(data.next) ? new URL(data.next).searchParams.get('page') : null;
    return { items: data.values, next: pageNumber(next), total: data.size ?? null };
  }

  #ofEach<Result>(
    workspaces: readonly string[],
    work: (workspace: string) => Promise<Result>,
  ): Promise<Result[]> {
    const limit = pLimit(PARALLEL);
    return Promise.all(workspaces.map((workspace) => limit(() => work(workspace))));
  }
}

/** Tokens that carry the name they belong to are passwords; others stand for themselves. */
export function bitbucketAuthorization(token: string): string {
  return token.indexOf(':') > 0 ? `Basic ${Buffer.from(token).toString('base64')}` : `Bearer ${token}`;
}

/** A text in Bitbucket's query language. */
const quoted = (text: string): string => `"${text.replaceAll(/["\\]/g, String.raw`\$&`)}"`;

const repositoryPath = (name: string): string =>
  `/repositories/${repositorySegments('bitbucket', name).map(encodeURIComponent).join('/')}`;

const repositoryOf = (found: z.output<typeof Found>): Repository => ({
  id: found.uuid,
  full_name: found.full_name,
  git_provider: 'bitbucket',
  is_public: !found.is_private,
  stargazers_count: null,
  link_header: null,
  pushed_at: found.updated_on ?? null,
  owner_type: found.owner?.type === 'user' ? 'user' : 'organization',
  main_branch: found.mainbranch?.name ?? null,
});
