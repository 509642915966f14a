/** Git providers as the 2025-11 clients ask for them (contract 16.1). */
import { z } from 'zod';
import {
  Branch,
  GitUser,
  Microagent,
  MicroagentContent,
  Repository,
  SuggestedTask,
} from '../../contract/git.js';
import { GitProvider } from '../../contract/primitives.js';
import { InvalidRepository } from '../../git-providers/host-address.js';
import {
  CURSOR_RULES,
  isMicroagent,
  isRepositoryPath,
  microagentFolder,
  microagentName,
  parseMicroagent,
} from '../../git-providers/microagents.js';
import type { RepositorySearch } from '../../git-providers/git-provider-client.js';
import type { ProviderHandler } from '../../git-providers/provider-handler.js';
import { GitProviderError, ProviderNotConnected } from '../../git-providers/provider-error.js';
import { gitAnswer } from '../git-errors.js';
import type { GitRouteDeps } from '../git-routes.js';
import { HttpError } from '../http-error.js';
import { route, type RouteDefinition } from '../route.js';

const common = { method: 'get', tag: 'Legacy', guard: 'user' } as const;

/** A bare text (contract 1.5, shape D). */
const shapeD = (status: number, text: string, headers: Record<string, string> = {}) =>
  new HttpError(status, text, text, headers);

const failures = {
  400: { description: 'What is asked for is not possible.', schema: z.string() },
  401: { description: 'No token, or one that the provider does not know.', schema: z.string() },
  403: { description: 'The token may not do this.', schema: z.string() },
  404: { description: 'The provider has no such thing.', schema: z.string() },
  429: { description: 'The provider takes no more requests.', schema: z.string() },
  500: { description: 'The provider does not answer as it should.', schema: z.string() },
};

/** What is said where there is no token; the client compares nothing, people read it. */
const TOKEN_REQUIRED = 'Git provider token required. (such as GitHub).';
const TOKEN_REQUIRED_TO_SEARCH = 'Git provider token required.';

/** Runs a request to providers; failures are bare texts. */
async function answering<Result>(
  work: () => Promise<Result>,
  tokenRequired = TOKEN_REQUIRED,
): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof ProviderNotConnected) {
      throw shapeD(401, error.provider === null ? tokenRequired : error.message);
    }
    const answer = gitAnswer(error);
    if (!answer || !(error instanceof GitProviderError || error instanceof InvalidRepository)) throw error;
    throw shapeD(answer.status > 500 ? 500 : answer.status, error.message, { ...answer.headers });
  }
}

const PageNumber = z.coerce.number<string>().int().gt(0).lte(1_000_000_000).default(1);
const perPage = (usual: number) => z.coerce.number<string>().int().gt(0).lte(100).default(usual);
const Name = z.string().max(500);
const SearchSort = z
  .string()
  .nullish()
  .transform((sort): RepositorySearch['sort'] => (sort === 'forks' || sort === 'updated' ? sort : 'stars'));

export const legacyGitRoutes = (deps: GitRouteDeps): RouteDefinition[] => [
  ...repositoryRoutes(deps),
  ...branchRoutes(deps),
  ...microagentRoutes(deps),
];

function repositoryRoutes({ providersOf }: GitRouteDeps): RouteDefinition[] {
  return [
    route({
      ...common,
      path: '/api/user/info',
      summary: 'Read who the caller is at the git provider',
      responses: { 200: { description: 'The user there.', schema: GitUser }, ...failures },
      handle: ({ user }) => answering(() => providersOf(user).currentUser()),
    }),
    route({
      ...common,
      path: '/api/user/installations',
      summary: 'List installations, workspaces or projects of a provider',
      query: z.object({ provider: GitProvider }),
      responses: { 200: { description: 'Names or ids.', schema: z.array(z.string()) }, ...failures },
      handle: ({ query: { provider }, user }) =>
        answering(
          async () => (await providersOf(user).installations(provider, { page: 1, perPage: 100 })).items,
        ),
    }),
    route({
      ...common,
      path: '/api/user/repositories',
      summary: 'List repositories; the next page is in `link_header` of the first one',
      query: z.object({
        sort: z.string().max(50).default('pushed'),
        selected_provider: GitProvider.nullish(),
        page: PageNumber,
        per_page: perPage(30),
        installation_id: z.string().max(200).nullish(),
      }),
      responses: { 200: { description: 'Repositories.', schema: z.array(Repository) }, ...failures },
      handle: ({ query, user }) =>
        answering(async () => {
          const { items } = await providersOf(user).repositories({
            provider: query.selected_provider ?? null,
            installationId: query.installation_id || null,
            sort: query.sort,
            page: query.page,
            perPage: query.per_page,
          });
          return items;
        }),
    }),
    route({
      ...common,
      path: '/api/user/search/repositories',
      summary: 'Find repositories by name or address',
      query: z.object({
        query: z.string().max(1000),
        per_page: perPage(5),
        sort: SearchSort,
        order: z.enum(['asc', 'desc']).catch('desc'),
        selected_provider: GitProvider.nullish(),
      }),
      responses: { 200: { description: 'Repositories.', schema: z.array(Repository) }, ...failures },
      handle: ({ query: { query, per_page: limit, sort, order, selected_provider: provider }, user }) =>
        answering(
          () => providersOf(user).searchRepositories(provider ?? null, { query, limit, sort, order }),
          TOKEN_REQUIRED_TO_SEARCH,
        ),
    }),
    route({
      ...common,
      path: '/api/user/suggested-tasks',
      summary: 'List pull requests and issues that wait for the caller',
      responses: { 200: { description: 'Tasks.', schema: z.array(SuggestedTask) }, ...failures },
      handle: ({ user }) => answering(() => providersOf(user).suggestedTasks(), 'No providers set.'),
    }),
  ];
}

function branchRoutes({ providersOf }: GitRouteDeps): RouteDefinition[] {
  return [
    route({
      ...common,
      path: '/api/user/repository/branches',
      summary: 'List branches of a repository',
      query: z.object({ repository: Name, page: PageNumber, per_page: perPage(30) }),
      responses: {
        200: {
          description: 'A page of branches.',
          schema: z.object({
            branches: z.array(Branch),
            has_next_page: z.boolean(),
            current_page: z.int(),
            per_page: z.int(),
            total_count: z.int().nullable(),
          }),
        },
        ...failures,
      },
      handle: ({ query: { repository, page, per_page }, user }) =>
        answering(async () => {
          const found = await providersOf(user).branches(null, repository, { page, perPage: per_page });
          return {
            branches: found.items,
            has_next_page: found.next !== null,
            current_page: page,
            per_page,
            total_count: found.total ?? null,
          };
        }),
    }),
    route({
      ...common,
      path: '/api/user/search/branches',
      summary: 'Find branches of a repository by name',
      query: z.object({
        repository: Name,
        query: z.string().max(255),
        per_page: perPage(30),
        selected_provider: GitProvider.nullish(),
      }),
      responses: { 200: { description: 'Branches.', schema: z.array(Branch) }, ...failures },
      handle: ({ query: { repository, query, per_page: limit, selected_provider: provider }, user }) =>
        answering(
          () => providersOf(user).searchBranches(provider ?? null, repository, query, limit),
          TOKEN_REQUIRED_TO_SEARCH,
        ),
    }),
  ];
}

function microagentRoutes({ providersOf }: GitRouteDeps): RouteDefinition[] {
  const path = '/api/user/repository/{repository_name:path}/microagents';
  const params = z.object({ repository_name: Name });
  return [
    route({
      ...common,
      path,
      summary: 'List the microagents of a repository',
      params,
      responses: { 200: { description: 'The microagents.', schema: z.array(Microagent) }, ...failures },
      handle: ({ params: { repository_name: name }, user }) =>
        answering(() => microagentsOf(providersOf(user), name)),
    }),
    route({
      ...common,
      path: `${path}/content`,
      summary: 'Read a microagent of a repository',
      params,
      query: z.object({ file_path: z.string() }),
      responses: { 200: { description: 'The microagent.', schema: MicroagentContent }, ...failures },
      handle: ({ params: { repository_name: name }, query: { file_path: file }, user }) =>
        answering(async () => {
          if (!isRepositoryPath(file)) throw shapeD(400, 'file_path must be a path inside of the repository');
          const { client } = await providersOf(user).homeOf(name);
          const text = await client.readFile(name, file);
          return { ...parseMicroagent(text), path: file, git_provider: client.provider };
        }),
    }),
  ];
}

async function microagentsOf(
  providers: ProviderHandler,
  name: string,
): Promise<z.infer<typeof Microagent>[]> {
  const { client, repository } = await providers.homeOf(name);
  const folder = microagentFolder(client.provider, name);
  const [entries, root] = await Promise.all([client.listFolder(name, folder), client.listFolder(name, '')]);
  const rules = root.filter(({ path, isFile }) => isFile && path === CURSOR_RULES);
  return [...rules, ...entries.filter((entry) => entry.isFile && isMicroagent(entry.name))].map((entry) => ({
    name: microagentName(entry.path, folder),
    path: entry.path,
    // Providers do not say when a file was made, only when its repository was last pushed to.
    created_at: repository.pushed_at ?? new Date().toISOString(),
    git_provider: client.provider,
  }));
}
