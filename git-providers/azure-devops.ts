/** Azure DevOps Services and Server: REST API 7.0, on organizations with projects with repositories. */
import pLimit from 'p-limit';
import { z } from 'zod';
import type { Branch, GitUser, Repository, SuggestedTask } from '../contract/git.js';
import {
  Connected,
  Found,
  Listed,
  Profile,
  PullRequest,
  Reference,
  repositoryOf,
  userOf,
} from './azure-devops-schemas.js';
import { repositorySegments } from './clone-url.js';
import {
  cutOf,
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
import { InvalidRepository } from './host-address.js';
import { ProviderApi, type ApiOptions, type Query } from './provider-api.js';
import { GitProviderError } from './provider-error.js';

/** The newest that Azure DevOps Server 2022 knows as well. */
const VERSION = { 'api-version': '7.0' };
/** Where Azure DevOps Services knows people and their organizations. */
export const AZURE_PROFILES = 'https://app.vssps.visualstudio.com';
const MAX_ORGANIZATIONS = 20;
const PARALLEL = 4;
/** Pages of references that are read, each of 1000. */
const MAX_REFERENCE_PAGES = 20;
const HEADS = 'refs/heads/';
/** States of pull requests that are over. */
const ENDED: ReadonlySet<string> = new Set(['completed', 'abandoned']);

export class AzureDevOpsClient implements GitProviderClient {
  readonly provider = 'azure_devops';
  readonly #api: ProviderApi;
  readonly #profiles: ProviderApi;
  /** The organization, or collection, that the address names; null where it names none. */
  readonly #organization: string | null;
  readonly #root: string;

  /** @param address with the organization in its path or its name, or without. */
  constructor(
    http: Pick<GuardedHttp, 'send'>,
    address: URL,
    token: string | null,
    profiles = AZURE_PROFILES,
  ) {
    const [, subdomain] = /^([^.]+)\.visualstudio\.com$/.exec(address.hostname) ?? [];
    const path = address.pathname.split('/').filter(Boolean).map(decodeURIComponent);
    this.#organization = subdomain ?? path.at(-1) ?? null;
    const above = subdomain === undefined ? path.slice(0, -1) : [];
    this.#root = [subdomain === undefined ? address.origin : 'https://dev.azure.com', ...above].join('/');
    const options: Omit<ApiOptions, 'base'> = {
      provider: 'azure_devops',
      headers: token === null ? {} : { Authorization: authorizationOf(token) },
      // An unknown token gets the page to sign in, or is sent there.
      refusesToken: ({ status }) => status === 203 || status === 302,
    };
    this.#api = new ProviderApi(http, { ...options, base: this.#root });
    this.#profiles = new ProviderApi(http, { ...options, base: profiles });
  }

  async currentUser(): Promise<GitUser> {
    if (this.#organization === null) {
      const profile = await this.#profile();
      return userOf(profile.id, profile.emailAddress ?? '', profile.displayName ?? null);
    }
    const path = `/${encodeURIComponent(this.#organization)}/_apis/connectionData`;
    const { authenticatedUser: user } = (await this.#api.get(path, Connected)).data;
    return userOf(user.id, user.properties?.Account?.$value ?? '', user.providerDisplayName ?? null);
  }

  /** Organizations. */
  async installations(page: PageRequest): Promise<HostPage<string>> {
    return cutOf(await this.#organizations(), page);
  }

  /** All repositories of an organization come at once; pages are cut here. */
  async repositories({
    installationId,
    ...page
  }: PageRequest & { installationId: string | null }): Promise<HostPage<Repository>> {
    const found = cutOf(await this.#repositories(installationId), page);
    return {
      ...found,
      items: withLink(found.items, linkTo(`${this.#root}/_apis/git/repositories`, found.next)),
    };
  }

  async searchRepositories({ query, limit }: RepositorySearch): Promise<Repository[]> {
    const words = query.toLowerCase();
    const all = await this.#repositories(null);
    return all.filter(({ full_name: name }) => name.toLowerCase().includes(words)).slice(0, limit);
  }

  async repository(name: string): Promise<Repository> {
    const { organization, path } = this.#place(name);
    return repositoryOf(organization, (await this.#get(path, Found)).data);
  }

  async branches(repository: string, page: PageRequest): Promise<HostPage<Branch>> {
    return cutOf(await this.#branches(repository, {}), page);
  }

  async searchBranches(repository: string, query: string, limit: number): Promise<Branch[]> {
    return (await this.#branches(repository, { filterContains: query })).slice(0, limit);
  }

  /** Own pull requests with conflicts; work items belong to no repository. */
  async suggestedTasks(): Promise<SuggestedTask[]> {
    const { id } = await this.currentUser();
    const found = await this.#ofEach(async (organization) => {
      const path = `/${encodeURIComponent(organization)}/_apis/git/pullrequests`;
      const { data } = await this.#get(path, Listed(PullRequest), {
        'searchCriteria.creatorId': id,
        'searchCriteria.status': 'active',
        $top: MAX_TASKS,
      });
      return data.value.flatMap(({ pullRequestId, title, mergeStatus, repository }) =>
        mergeStatus === 'conflicts'
          ? [
              {
                git_provider: 'azure_devops' as const,
                task_type: 'MERGE_CONFLICTS' as const,
                repo: `${organization}/${repository.project.name}/${repository.name}`,
                issue_number: pullRequestId,
                title,
              },
            ]
          : [],
      );
    });
    return found.flat();
  }

  async isPullRequestOpen(repository: string, number: number): Promise<boolean> {
    const { data } = await this.#get(
      `${this.#place(repository).path}/pullrequests/${number}`,
      z.object({ status: z.string() }),
    );
    return !ENDED.has(data.status);
  }

  async listFolder(repository: string, path: string): Promise<FolderEntry[]> {
    const Item = z.object({ path: z.string(), gitObjectType: z.string().nullish() });
    try {
      const { data } = await this.#get(`${this.#place(repository).path}/items`, Listed(Item), {
        scopePath: `/${path}`,
        recursionLevel: 'OneLevel',
      });
      return data.value
        .map((item) => ({ ...item, path: item.path.replace(/^\//, '') }))
        .filter((item) => item.path !== path)
        .map((item) => ({
          name: item.path.split('/').at(-1) ?? '',
          path: item.path,
          isFile: item.gitObjectType === 'blob',
        }));
    } catch (error) {
      if (error instanceof GitProviderError && error.kind === 'not_found') return [];
      throw error;
    }
  }

  readFile(repository: string, path: string): Promise<string> {
    return this.#api.text(`${this.#place(repository).path}/items`, {
      query: { path: `/${path}`, $format: 'octetStream', ...VERSION },
    });
  }

  /** References come with a token for what follows them. */
  async #branches(repository: string, query: Query): Promise<Branch[]> {
    const path = `${this.#place(repository).path}/refs`;
    const branches: Branch[] = [];
    let continuationToken: string | undefined;
    for (let page = 0; page < MAX_REFERENCE_PAGES; page++) {
      const { data, headers } = await this.#get(path, Listed(Reference), {
        filter: 'heads/',
        $top: 1000,
        ...query,
        continuationToken,
      });
      branches.push(
        ...data.value.map(({ name, objectId }) => ({
          name: name.startsWith(HEADS) ? name.slice(HEADS.length) : name,
          commit_sha: objectId,
          protected: false,
          last_push_date: null,
        })),
      );
      const next = headers['x-ms-continuationtoken'];
      if (typeof next !== 'string' || next === '') break;
      continuationToken = next;
    }
    return branches;
  }

  async #repositories(organization: string | null): Promise<Repository[]> {
    const found = await this.#ofEach(
      async (one) => {
        const { data } = await this.#get(`/${encodeURIComponent(one)}/_apis/git/repositories`, Listed(Found));
        return data.value
          .filter(({ isDisabled }) => !isDisabled)
          .map((repository) => repositoryOf(one, repository));
      },
      organization === null ? undefined : [organization],
    );
    return found.flat().sort((a, b) => (a.full_name < b.full_name ? -1 : 1));
  }

  async #organizations(): Promise<string[]> {
    if (this.#organization !== null) return [this.#organization];
    const { data } = await this.#profiles.get(
      '/_apis/accounts',
      Listed(z.object({ accountName: z.string() })),
      { query: { memberId: (await this.#profile()).id, ...VERSION } },
    );
    return data.value.map(({ accountName }) => accountName);
  }

  async #profile(): Promise<z.output<typeof Profile>> {
    return (await this.#profiles.get('/_apis/profile/profiles/me', Profile, { query: VERSION })).data;
  }

  async #ofEach<Result>(
    work: (organization: string) => Promise<Result>,
    organizations?: string[],
  ): Promise<Result[]> {
    const limit = pLimit(PARALLEL);
    const all = (organizations ?? (await this.#organizations())).slice(0, MAX_ORGANIZATIONS);
    return Promise.all(all.map((organization) => limit(() => work(organization))));
  }

  /** `organization/project/name`, or `project/name` where the address names the organization. */
  #place(repository: string): { organization: string; path: string } {
    const segments = repositorySegments('azure_devops', repository);
    const [name = '', project = '', organization = this.#organization] = [...segments].reverse();
    if (organization === null) {
      throw new InvalidRepository(`"${repository}" names no organization: write organization/project/name`);
    }
    const [one, two, three] = [organization, project, name].map(encodeURIComponent);
    return { organization, path: `/${one ?? ''}/${two ?? ''}/_apis/git/repositories/${three ?? ''}` };
  }

  #get<S extends z.ZodType>(path: string, schema: S, query: Query = {}) {
    return this.#api.get(path, schema, { query: { ...query, ...VERSION } });
  }
}

/** Tokens of Microsoft Entra are JWTs and stand for themselves; personal ones are passwords without a name. */
function authorizationOf(token: string): string {
  const isJwt = /^eyJ[\w-]+\.[\w-]+\.[\w-]*$/.test(token);
  return isJwt ? `Bearer ${token}` : `Basic ${Buffer.from(`:${token}`).toString('base64')}`;
}
