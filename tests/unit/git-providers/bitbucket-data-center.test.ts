import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { GitProviderClients } from '../../../git-providers/clients.js';
import type { GitProviderClient } from '../../../git-providers/git-provider-client.js';
import { FakeGitHost, httpFor, type HostRequest } from '../../support/git-hosts/fake-git-host.js';

const TOKEN = 'theDataCenterTokenOfTheTests';
const API = '/bitbucket/rest/api/1.0';

let host: FakeGitHost;
let client: GitProviderClient;

const repository = (id: number) => ({
  id,
  slug: `rocket-${id}`,
  public: false,
  project: { key: 'ACME', type: 'NORMAL' },
});
/** Every second one is hidden from the user: pages have gaps, and `nextPageStart` is not where they end. */
const repositories = [1, 2, 3, 4, 5].map((id) => ({ ...repository(id), hidden: id % 2 === 0 }));
const branches = ['main', 'next', 'old'].map((displayId) => ({
  displayId,
  latestCommit: `${displayId}-sha`,
  metadata: {
    'com.atlassian.bitbucket.server.bitbucket-branch:latest-commit-metadata': {
      committerTimestamp: 1_767_225_600_000,
    },
  },
}));

function listed<Item extends object>(request: HostRequest, items: readonly Item[]) {
  const start = Number(request.query.get('start') ?? 0);
  const limit = Number(request.query.get('limit') ?? 25);
  const values: Item[] = [];
  let at = start;
  for (; at < items.length && values.length < limit; at++) {
    const item = items[at];
    if (item && !('hidden' in item && item.hidden)) values.push(item);
  }
  const isLastPage = at >= items.length;
  return {
    body: { values, size: values.length, start, limit, isLastPage, nextPageStart: isLastPage ? null : at },
    headers: { 'X-AUSERNAME': 'pat' },
  };
}

beforeAll(async () => {
  host = await new FakeGitHost(({ authorization }) => authorization === `Bearer ${TOKEN}`).listen();
  host.on(`GET ${API}/projects`, (request) => listed(request, [{ key: 'ACME' }, { key: 'TOOLS' }]));
  host.on(`GET ${API}/users`, (request) =>
    listed(request, [
      { id: 1, name: 'patricia' },
      { id: 2, name: 'Pat', displayName: 'Pat P.', emailAddress: 'p@x.example' },
    ]),
  );
  host.on(`GET ${API}/repos`, (request) => {
    const name = request.query.get('name') ?? '';
    return listed(
      request,
      repositories.filter(({ slug }) => slug.includes(name)),
    );
  });
  host.on(`GET ${API}/projects/*/repos`, (request) => listed(request, repositories.slice(0, 1)));
  host.on(`GET ${API}/projects/*/repos/*`, (_request, [, slug]) => {
    const found = repositories.find((one) => one.slug === slug);
    return found ? { body: found } : { status: 404 };
  });
  host.on(`GET ${API}/projects/*/repos/*/default-branch`, (_request, [, slug]) =>
    slug === 'rocket-1' ? { body: { displayId: 'main' } } : { status: 404 },
  );
  host.on(`GET ${API}/projects/*/repos/*/branches`, (request) => {
    const text = request.query.get('filterText') ?? '';
    return listed(
      request,
      branches.filter(({ displayId }) => displayId.includes(text)),
    );
  });
  host.on(`GET ${API}/dashboard/pull-requests`, (request) =>
    listed(
      request,
      [
        { mergeResult: { outcome: 'CONFLICTED' } },
        { openTaskCount: 1 },
        { mergeResult: { outcome: 'CLEAN' }, openTaskCount: 0 },
      ].map((properties, index) => ({
        id: index + 1,
        title: 't',
        toRef: { repository: repository(1) },
        properties,
      })),
    ),
  );
  host.on(`GET ${API}/projects/*/repos/*/browse/docs`, () => ({
    body: {
      children: {
        values: [{ path: { toString: 'a.md', components: ['a.md'] }, type: 'FILE' }],
        isLastPage: true,
      },
    },
  }));
  host.on(`GET ${API}/projects/*/repos/*/raw/docs/a.md`, () => ({ body: '# A' }));
  client = new GitProviderClients({ http: httpFor(host) }).open('bitbucket_data_center', {
    token: TOKEN,
    host: `${host.url}/bitbucket`,
  });
});
afterAll(() => host.close());
beforeEach(() => void host.asked());

describe('Bitbucket Data Center', () => {
  it('tells whose token it is by a header, and refuses who is nobody', async () => {
    expect(await client.currentUser()).toEqual({
      id: '2',
      login: 'pat',
      avatar_url: '',
      company: null,
      name: 'Pat P.',
      email: 'p@x.example',
    });
    host.instead.push({ body: { values: [] } }); // what anybody may see
    await expect(client.currentUser()).rejects.toMatchObject({ kind: 'token' });
  });

  it('lists repositories across the gaps of what is hidden', async () => {
    const ids: string[] = [];
    for (let page: number | null = 1; page !== null;) {
      const found = await client.repositories({ page, perPage: 2, installationId: null, sort: 'pushed' });
      ids.push(...found.items.map(({ id }) => id));
      page = found.next;
    }
    expect(ids).toEqual(['1', '3', '5']);
    expect(host.requests.map(({ query }) => query.get('start'))).toEqual(['0', '3']);
  });

  it('lists projects, and the repositories of one', async () => {
    expect(await client.installations({ page: 1, perPage: 1 })).toEqual({ items: ['ACME'], next: 2 });
    expect(await client.installations({ page: 2, perPage: 1 })).toEqual({ items: ['TOOLS'], next: null });
    expect(
      await client.repositories({ page: 1, perPage: 5, installationId: 'ACME', sort: 'pushed' }),
    ).toMatchObject({ items: [{ full_name: 'ACME/rocket-1', owner_type: 'organization' }], next: null });
  });

  it('finds repositories, and knows their main branch where they have one', async () => {
    const search = { limit: 5, sort: 'stars', order: 'desc' } as const;
    expect(await client.searchRepositories({ ...search, query: 'ACME/rocket-3' })).toMatchObject([
      { id: '3' },
    ]);
    expect(host.asked()[0]).toContain('name=rocket-3&projectkey=ACME');
    expect(await client.repository('ACME/rocket-1')).toMatchObject({ main_branch: 'main' });
    expect(await client.repository('ACME/rocket-3')).toMatchObject({ main_branch: null });
  });

  it('lists branches by numbers of pages, and finds them', async () => {
    expect(await client.branches('ACME/rocket-1', { page: 1, perPage: 2 })).toMatchObject({
      items: [{ name: 'main', commit_sha: 'main-sha', last_push_date: '2026-01-01T00:00:00.000Z' }, {}],
      next: 2,
    });
    expect(await client.branches('ACME/rocket-1', { page: 2, perPage: 2 })).toMatchObject({
      items: [{ name: 'old' }],
      next: null,
    });
    expect(await client.searchBranches('ACME/rocket-1', 'ne', 5)).toMatchObject([{ name: 'next' }]);
  });

  it('suggests own pull requests with conflicts or open tasks', async () => {
    expect(
      (await client.suggestedTasks()).map(({ issue_number: number, task_type: type }) => [number, type]),
    ).toEqual([
      [1, 'MERGE_CONFLICTS'],
      [2, 'UNRESOLVED_COMMENTS'],
    ]);
  });

  it.each([
    ['OPEN', true],
    ['MERGED', false],
    ['DECLINED', false],
  ])('tells of a pull request that is %s whether it is open: %s', async (state, isOpen) => {
    host.instead.push({ body: { id: 7, state: state } });
    expect(await client.isPullRequestOpen('ACME/rocket-1', 7)).toBe(isOpen);
    expect(host.asked()).toEqual([
      'GET /bitbucket/rest/api/1.0/projects/ACME/repos/rocket-1/pull-requests/7',
    ]);
    await expect(client.isPullRequestOpen('ACME/rocket-1', 404)).rejects.toMatchObject({ kind: 'not_found' });
  });

  it('lists folders and reads files', async () => {
    expect(await client.listFolder('ACME/rocket-1', 'docs')).toEqual([
      { name: 'a.md', path: 'docs/a.md', isFile: true },
    ]);
    expect(await client.listFolder('ACME/rocket-1', 'none')).toEqual([]);
    expect(await client.readFile('ACME/rocket-1', 'docs/a.md')).toBe('# A');
  });

  it.each([
    [401, 'token'],
    [429, 'rate'],
    [500, 'unavailable'],
  ])('answers with status %i, which is told as such', async (status, kind) => {
    host.instead.push({ status });
    await expect(client.currentUser()).rejects.toMatchObject({ kind });
  });

  it('has no host of its own', () => {
    const clients = new GitProviderClients({ http: httpFor() });
    expect(() => clients.open('bitbucket_data_center', { token: 't', host: null })).toThrow(
      'The host of Bitbucket Data Center is not set: add it beside its token in the settings.',
    );
  });
});
