/** Git providers as the clients of release 1.11 ask for them (contract 9, 11.1). */
import { z } from 'zod';
import { Branch, GitUser, Repository, RepositoryOrder, SuggestedTask } from '../contract/git.js';
import { GitProvider, pageOf, PageLimit } from '../contract/primitives.js';
import { cutOf, type HostPage, type RepositorySearch } from '../git-providers/git-provider-client.js';
import type { ProviderHandler } from '../git-providers/provider-handler.js';
import { GitProviderError } from '../git-providers/provider-error.js';
import type { UserContext } from '../identity/user-context.js';
import { HttpError } from './http-error.js';
import { route, type RouteDefinition } from './route.js';

export interface GitRouteDeps {
  /** The git providers of whoever acts. */
  providersOf: (user: UserContext) => ProviderHandler;
}

const common = { method: 'get', tag: 'Git', guard: 'user' } as const;
const V1 = '/api/v1/git';

const failures = {
  400: { description: 'What is asked for is contradictory, or the provider has no such thing.' },
  401: { description: 'The provider does not know the token.', schema: z.string() },
  403: { description: 'No token, or one that may not do this.' },
  404: { description: 'The provider has no such thing.' },
  429: { description: 'The provider takes no more requests; `Retry-After` says when it does.' },
  502: { description: 'The provider does not answer as it should.' },
  503: { description: 'The provider is away; `Retry-After` says for how long.' },
};

const ShortLimit = z.coerce.number<string>().int().gt(0).lte(100).default(30);

/** Pages of providers are numbers, sent as `Mg` for `2` (contract 1.4); what cannot be read is the first one. */
const PageId = z
  .string()
  .nullish()
  .transform((id) => {
    const text = Buffer.from(id ?? '', 'base64url').toString('latin1');
    return /^[1-9]\d{0,8}$/.test(text) ? Number(text) : 1;
  });

const answerOf = <Item>({ items, next }: HostPage<Item>) => ({
  items,
  next_page_id: next === null ? null : Buffer.from(String(next)).toString('base64url'),
});

export const gitRoutes = ({ providersOf }: GitRouteDeps): RouteDefinition[] => [
  route({
    ...common,
    path: `${V1}/installations/search`,
    summary: 'List what repositories can be narrowed down to: installations, workspaces, projects',
    query: z.object({ provider: GitProvider, page_id: PageId, limit: PageLimit }),
    responses: { 200: { description: 'A page of names or ids.', schema: pageOf(z.string()) }, ...failures },
    handle: async ({ query: { provider, page_id: page, limit }, user }) =>
      answerOf(await providersOf(user).installations(provider, { page, perPage: limit })),
  }),
  route({
    ...common,
    path: `${V1}/repositories/search`,
    summary: 'List or find repositories of a provider',
    query: z.object({
      provider: GitProvider,
      query: z.string().max(1000).nullish(),
      installation_id: z.string().max(200).nullish(),
      page_id: PageId,
      limit: PageLimit,
      sort_order: RepositoryOrder.nullish(),
    }),
    responses: { 200: { description: 'A page of repositories.', schema: pageOf(Repository) }, ...failures },
    async handle({ query: { provider, query, page_id: page, limit, sort_order: order, ...rest }, user }) {
      if (query) {
        const search = { query, limit, ...orderOf(order ?? 'stars-desc') };
        // What a search finds beyond its first page is not what was looked for.
        const items = page === 1 ? await providersOf(user).searchRepositories(provider, search) : [];
        return answerOf({ items, next: null });
      }
      if (order) throw new HttpError(400, 'sort_order requires query');
      return answerOf(
        await providersOf(user).repositories({
          provider,
          installationId: rest.installation_id || null,
          sort: 'pushed',
          page,
          perPage: limit,
        }),
      );
    },
  }),
  route({
    ...common,
    path: `${V1}/branches/search`,
    summary: 'List or find branches of a repository',
    query: z.object({
      provider: GitProvider,
      repository: z.string().max(500),
      query: z.string().max(255),
      page_id: PageId,
      limit: ShortLimit,
    }),
    responses: { 200: { description: 'A page of branches.', schema: pageOf(Branch) }, ...failures },
    async handle({ query: { provider, repository, query, page_id: page, limit }, user }) {
      const providers = providersOf(user);
      if (query === '') {
        return answerOf(await providers.branches(provider, repository, { page, perPage: limit }));
      }
      if (page > 1) throw new HttpError(400, 'A search for branches has one page: leave page_id out.');
      const items = await providers.searchBranches(provider, repository, query, limit);
      return answerOf({ items, next: null });
    },
  }),
  route({
    ...common,
    path: `${V1}/suggested-tasks/search`,
    summary: 'List pull requests and issues that wait for the caller',
    query: z.object({ page_id: PageId, limit: ShortLimit }),
    responses: { 200: { description: 'A page of tasks.', schema: pageOf(SuggestedTask) }, ...failures },
    handle: async ({ query: { page_id: page, limit }, user }) =>
      answerOf(cutOf(await providersOf(user).suggestedTasks(), { page, perPage: limit })),
  }),
  route({
    ...common,
    path: '/api/v1/users/git-info',
    tag: 'Users',
    summary: 'Read who the caller is at the git provider',
    responses: { 200: { description: 'The user there.', schema: GitUser }, ...failures },
    async handle({ user }) {
      try {
        return await providersOf(user).currentUser();
      } catch (error) {
        // 401 would sign the web client out of this server (contract 9).
        if (error instanceof GitProviderError && error.kind === 'token')
          throw new HttpError(403, error.message);
        if (error instanceof Error && error.name === 'ProviderNotConnected') {
          throw new HttpError(403, 'Git provider not connected');
        }
        throw error;
      }
    },
  }),
];

/** `stars-desc` in two words. */
export function orderOf(order: RepositoryOrder): Pick<RepositorySearch, 'sort' | 'order'> {
  const [sort, direction] = order.split('-') as [RepositorySearch['sort'], RepositorySearch['order']];
  return { sort, order: direction };
}
