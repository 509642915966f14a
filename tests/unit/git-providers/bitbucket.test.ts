import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { GitProviderClients } from '../../../git-providers/clients.js';
import type { GitProviderClient } from '../../../git-providers/git-provider-client.js';
import { FakeGitHost, httpFor, pageOf, type HostRequest } from '../../support/git-hosts/fake-git-host.js';

const TOKEN = 'person@x.example:ATATT-theTokenOfTheTests';
const UUID = '{0000-1111}';

let host: FakeGitHost;
let client: GitProviderClient;

const repository = (workspace: string, id: number) => ({
  uuid: `{${workspace}-${id}}`,
  full_name: `${workspace}/rocket-${id}`,
  is_private: true,
  updated_on: '2026-01-02T03:04:05.000000+00:00',
  owner: { type: 'team' },
  mainbranch: { name: 'release/main' },
});
const workspaces: Record<string, ReturnType<typeof repository>[]> = {
  acme: [1, 2, 3].map((id) => repository('acme', id)),
  tools: [repository('tools', 1)],
};
const branches = ['release/main', 'next', 'old'].map((name) => ({
  name,
  target: { hash: `${name.replace('/', '-')}-sha`, date: '2026-01-01T00:00:00+00:00' },
}));

/** Pages name the next one by its whole address. */
function paged(request: HostRequest, items: readonly unknown[]) {
  const { part, page, next } = pageOf(items, request.query, 'pagelen');
  const url = new URL(request.path, host.url);
  url.searchParams.set('page', String(next));
  return { body: { values: part, page, size: items.length, ...(next === null ? {} : { next: url.href }) } };
}
const named = (request: HostRequest): string =>
  /^name ~ "(.*)"$/.exec(request.query.get('q') ?? '')?.[1] ?? '';

beforeAll(async () => {
  const basic = `Basic ${Buffer.from(TOKEN).toString('base64')}`;
  host = await new FakeGitHost(({ authorization }) => authorization === basic, {
    status: 401,
    body: { type: 'error' },
  }).listen();
  host.on('GET /2.0/user', () => ({
    body: {
      uuid: UUID,
      account_id: 'acc-1',
      nickname: 'pat',
      display_name: 'Pat',
      links: { avatar: { href: 'https://a/1' } },
    },
  }));
  host.on('GET /2.0/user/workspaces', (request) =>
    paged(
      request,
      Object.keys(workspaces).map((slug) => ({ type: 'workspace_access', workspace: { slug } })),
    ),
  );
  host.on('GET /2.0/workspaces/*/pullrequests/*', (request, [workspace, user]) =>
    paged(
      request,
      workspace === 'acme' && user === UUID
        ? [
            {
              id: 1,
              title: 'one',
              task_count: 2,
              destination: { repository: { full_name: 'acme/rocket-1' } },
            },
            {
              id: 2,
              title: 'two',
              task_count: 0,
              destination: { repository: { full_name: 'acme/rocket-1' } },
            },
          ]
        : [],
    ),
  );
  host.on('GET /2.0/repositories/*', (request, [workspace]) => {
    const all = workspaces[workspace ?? ''];
    if (!all) return { status: 404, body: { type: 'error' } };
    return paged(
      request,
      all.filter(({ full_name: name }) => name.includes(named(request))),
    );
  });
  host.on('GET /2.0/repositories/*/*', (_request, [workspace, slug]) => {
    const found = workspaces[workspace ?? '']?.find(({ full_name: name }) => name.endsWith(`/${slug ?? ''}`));
    return found ? { body: found } : { status: 404, body: { type: 'error' } };
  });
  host.on('GET /2.0/repositories/*/*/refs/branches', (request) =>
    paged(
      request,
      branches.filter(({ name }) => name.includes(named(request))),
    ),
  );
  host.on('GET /2.0/repositories/*/*/refs/branches/*', (_request, [, , name]) => ({
    body: branches.find((branch) => branch.name === name),
  }));
  host.on('GET /2.0/repositories/*/*/src/release-main-sha/docs', (request) =>
    paged(request, [
      { path: 'docs/a.md', type: 'commit_file' },
      { path: 'docs/more', type: 'commit_directory' },
    ]),
  );
  host.on('GET /2.0/repositories/*/*/src/release-main-sha/docs/a.md', () => ({ body: '# A' }));
  client = new GitProviderClients({ http: httpFor(host) }).open('bitbucket', {
    token: TOKEN,
    host: host.url,
  });
});
afterAll(() => host.close());
beforeEach(() => void host.asked());

const all = { installationId: null, sort: 'pushed' } as const;

describe('Bitbucket Cloud', () => {
  it('tells whose token it is', async () => {
    expect(await client.currentUser()).toEqual({
      id: 'acc-1',
      login: 'pat',
      avatar_url: 'https://a/1',
      company: null,
      name: 'Pat',
      email: null,
    });
  });

  it('lists workspaces, and the repositories of one page by page', async () => {
    expect(await client.installations({ page: 1, perPage: 10 })).toMatchObject({
      items: ['acme', 'tools'],
      next: null,
    });
    const first = await client.repositories({ ...all, installationId: 'acme', page: 1, perPage: 2 });
    expect(first).toMatchObject({ next: 2, items: [{ full_name: 'acme/rocket-1' }, {}] });
    expect(first.items[0]?.link_header).toContain('page=2>; rel="next"');
    expect(await client.repositories({ ...all, installationId: 'acme', page: 2, perPage: 2 })).toMatchObject({
      next: null,
      items: [{ full_name: 'acme/rocket-3', main_branch: 'release/main' }],
    });
  });

  it('lists the repositories of all workspaces without leaving any out', async () => {
    const names: string[] = [];
    for (let page: number | null = 1; page !== null;) {
      const found = await client.repositories({ ...all, page, perPage: 2 });
      expect(found.items.length).toBeLessThanOrEqual(2);
      names.push(...found.items.map(({ full_name: name }) => name));
      page = found.next;
    }
    expect(names.sort()).toEqual(['acme/rocket-1', 'acme/rocket-2', 'acme/rocket-3', 'tools/rocket-1']);
  });

  it('finds repositories in all workspaces, or in the one that is named', async () => {
    const search = { limit: 5, sort: 'stars', order: 'desc' } as const;
    expect(await client.searchRepositories({ ...search, query: 'rocket-1' })).toHaveLength(2);
    expect(await client.searchRepositories({ ...search, query: 'tools/rocket' })).toMatchObject([
      { full_name: 'tools/rocket-1' },
    ]);
    expect(await client.searchRepositories({ ...search, query: 'nowhere/rocket' })).toEqual([]);
    host.asked();
    await client.searchRepositories({ ...search, query: 'acme/a" OR name ~ "b' });
    expect(host.requests[0]?.query.get('q')).toBe(String.raw`name ~ "a\" OR name ~ \"b"`);
  });

  it('lists and finds branches', async () => {
    expect(await client.branches('acme/rocket-1', { page: 1, perPage: 2 })).toMatchObject({
      items: [{ name: 'release/main', commit_sha: 'release-main-sha', protected: false }, { name: 'next' }],
      next: 2,
      total: 3,
    });
    expect(await client.searchBranches('acme/rocket-1', 'ol', 5)).toMatchObject([{ name: 'old' }]);
  });

  it('suggests own pull requests with open tasks', async () => {
    expect(await client.suggestedTasks()).toEqual([
      {
        git_provider: 'bitbucket',
        task_type: 'UNRESOLVED_COMMENTS',
        repo: 'acme/rocket-1',
        issue_number: 1,
        title: 'one',
      },
    ]);
  });

  it.each([
    ['OPEN', true],
    ['MERGED', false],
    ['DECLINED', false],
    ['SUPERSEDED', false],
  ])('tells of a pull request that is %s whether it is open: %s', async (state, isOpen) => {
    host.instead.push({ body: { id: 7, state: state } });
    expect(await client.isPullRequestOpen('acme/rocket-1', 7)).toBe(isOpen);
    expect(host.asked()).toEqual(['GET /2.0/repositories/acme/rocket-1/pullrequests/7']);
    await expect(client.isPullRequestOpen('acme/rocket-1', 404)).rejects.toMatchObject({ kind: 'not_found' });
  });

  it('lists folders and reads files of the main branch, whatever it is called', async () => {
    expect(await client.listFolder('acme/rocket-1', 'docs')).toEqual([
      { name: 'a.md', path: 'docs/a.md', isFile: true },
      { name: 'more', path: 'docs/more', isFile: false },
    ]);
    expect(await client.readFile('acme/rocket-1', 'docs/a.md')).toBe('# A');
    expect(await client.listFolder('acme/rocket-1', 'none')).toEqual([]);
  });

  it('takes tokens without a name as they are', async () => {
    const clients = new GitProviderClients({ http: httpFor(host) });
    expect(await clients.verify('bitbucket', { token: 'workspace-token', host: host.url })).toBe(false);
    expect(host.requests[0]?.headers.authorization).toBe('Bearer workspace-token');
  });

  it.each([
    [429, 'rate'],
    [403, 'forbidden'],
    [500, 'unavailable'],
  ])('answers with status %i, which is told as such', async (status, kind) => {
    host.instead.push({ status });
    await expect(client.currentUser()).rejects.toMatchObject({ kind });
  });
});
