/** The one interface of all git providers: what a user's token lets the user see there. */
import type { Branch, GitUser, Repository, SuggestedTask } from '../contract/git.js';
import type { GitProvider } from '../contract/primitives.js';

/** A part of a list. */
export interface PageRequest {
  /** 1 is the first one; else what `next` of the page before it said, which need not be the next number. */
  page: number;
  perPage: number;
}

export interface HostPage<Item> {
  items: Item[];
  /** What to ask for the page after it; null on the last one. */
  next: number | null;
  /** How many there are in all, where the provider says so. */
  total?: number | null;
}

/** Orders of a user's repositories; providers that do not have one take their nearest. */
export const REPOSITORY_SORTS = ['pushed', 'updated', 'created', 'full_name'] as const;
export type RepositorySort = (typeof REPOSITORY_SORTS)[number];

export interface RepositorySearch {
  query: string;
  limit: number;
  sort: 'stars' | 'forks' | 'updated';
  order: 'asc' | 'desc';
}

/** A thing in a folder of a repository. */
export interface FolderEntry {
  name: string;
  /** From the root of the repository. */
  path: string;
  isFile: boolean;
}

/**
 * A provider seen with one token, or with none. Every method throws {@link GitProviderError}; repositories are named as
 * the provider's users select them (`full_name`), and a name that cannot be one throws `InvalidRepository`.
 */
export interface GitProviderClient {
  readonly provider: GitProvider;
  /** Whose token it is. */
  currentUser(): Promise<GitUser>;
  /** Where an app is installed, workspaces, projects, organizations: what repositories can be narrowed down to. */
  installations(page: PageRequest): Promise<HostPage<string>>;
  /** Repositories that the user works in. `link_header` is set on the first one while there is a next page. */
  repositories(
    request: PageRequest & { installationId: string | null; sort: RepositorySort },
  ): Promise<HostPage<Repository>>;
  searchRepositories(search: RepositorySearch): Promise<Repository[]>;
  repository(name: string): Promise<Repository>;
  branches(repository: string, page: PageRequest): Promise<HostPage<Branch>>;
  /** Branches whose names contain a text. */
  searchBranches(repository: string, query: string, limit: number): Promise<Branch[]>;
  /** What waits for the user: own pull requests that cannot be merged, issues assigned. */
  suggestedTasks(): Promise<SuggestedTask[]>;
  /** Whether a pull request is neither merged nor closed in another way. @param number as people see it. */
  isPullRequestOpen(repository: string, number: number): Promise<boolean>;
  /** What a folder of the main branch holds; empty when there is none. */
  listFolder(repository: string, path: string): Promise<FolderEntry[]>;
  /** A file of the main branch, as text. */
  readFile(repository: string, path: string): Promise<string>;
}

/** Suggested tasks asked of one provider, of each kind. */
export const MAX_TASKS = 50;

/** Each segment of a path as part of an address. */
export const encodePath = (path: string): string => path.split('/').map(encodeURIComponent).join('/');

/** Puts the header by which older clients find the next page on the first repository. */
export function withLink(repositories: Repository[], link: string | null): Repository[] {
  return repositories.map((repository, place) =>
    place === 0 ? { ...repository, link_header: link } : repository,
  );
}

/** A `Link` header for providers that send none. */
export const linkTo = (address: string, next: number | null): string | null =>
  next === null ? null : `<${address}?page=${next}>; rel="next"`;

/** A page cut from a list that the provider gives whole. */
export function cutOf<Item>(all: readonly Item[], { page, perPage }: PageRequest): HostPage<Item> {
  const end = page * perPage;
  return {
    items: all.slice(end - perPage, end),
    next: all.length > end ? page + 1 : null,
    total: all.length,
  };
}
