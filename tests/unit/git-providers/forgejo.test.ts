import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { GitProviderClients } from '../../../git-providers/clients.js';
import type { GitProviderClient } from '../../../git-providers/git-provider-client.js';
import {
  FakeGitHost,
  httpFor,
  linkHeader,
  pageOf,
  type HostRequest,
} from '../../support/git-hosts/fake-git-host.js';

const TOKEN = 'theForgejoTokenOfTheTests';
/** Servers cut pages at this size, whatever is asked for. */
const SERVER_LIMIT = 2;

let host: FakeGitHost;
let client: GitProviderClient;

const repositories = [1, 2, 3].map((id) => ({
  id,
  full_name: `acme/rocket-${id}`,
  private: id === 2,
  internal: false,
  stars_count: id,
  updated_at: '2026-01-02T03:04:05Z',
  owner: { login: 'acme', email: '' },
  default_branch: 'main',
}));
const branches = ['main', 'next', 'Feature/x'].map((name) => ({
  name,
  commit: { id: `${name}-sha`, timestamp: '2026-01-01T00:00:00Z' },
  protected: name === 'main',
}));
const issue = (number: number) => ({
  number,
  title: `t${number}`,
  repository: { full_name: 'acme/rocket-1' },
});

function paged(request: HostRequest, items: readonly unknown[]) {
  const query = new URLSearchParams(request.query);
  query.set('limit', String(Math.min(Number(query.get('limit') ?? 30), SERVER_LIMIT)));
  const { part, next } = pageOf(items, query, 'limit');
  return {
    body: part,
    headers: { ...linkHeader(request, host.url, next), 'X-Total-Count': String(items.length) },
  };
}

beforeAll(async () => {
  host = await new FakeGitHost(({ authorization }) => authorization === `token ${TOKEN}`, {
    status: 401,
    body: { message: 'invalid username, password or token' },
  }).listen();
  host.on('GET /api/v1/user', () => ({
    body: { id: 3, login: 'gopher', full_name: '', email: 'g@x.example', avatar_url: 'https://a/3' },
  }));
  host.on('GET /api/v1/user/repos', (request) => paged(request, repositories));
  host.on('GET /api/v1/repos/search', ({ query }) => ({
    body: {
      ok: true,
      data: repositories.filter(({ full_name: name }) => name.split('/')[1]?.includes(query.get('q') ?? '')),
    },
  }));
  host.on('GET /api/v1/repos/issues/search', ({ query }) => ({
    body: query.get('type') === 'pulls' ? [issue(1), issue(2), issue(3)] : [issue(4)],
  }));
  host.on('GET /api/v1/repos/*/*', (_request, [, name]) => {
    const found = repositories.find(({ full_name: one }) => one === `acme/${name ?? ''}`);
    return found ? { body: found } : { status: 404, body: { message: 'not found' } };
  });
  host.on('GET /api/v1/repos/*/*/branches', (request) => paged(request, branches));
  host.on('GET /api/v1/repos/*/*/pulls/*', (_request, [, , number]) =>
    number === '404'
      ? { status: 404, body: { message: 'not found' } }
      : { body: { mergeable: number === '2', draft: number === '3' } },
  );
  host.on('GET /api/v1/repos/*/*/contents/*', () => ({
    body: [{ name: 'a.md', path: 'docs/a.md', type: 'file' }],
  }));
  host.on('GET /api/v1/repos/*/*/raw/*/*', () => ({ body: '# A' }));
  client = new GitProviderClients({ http: httpFor(host) }).open('forgejo', { token: TOKEN, host: host.url });
});
afterAll(() => host.close());
beforeEach(() => void host.asked());

describe('Forgejo and Gitea', () => {
  it('tell whose token it is', async () => {
    expect(await client.currentUser()).toEqual({
      id: '3',
      login: 'gopher',
      avatar_url: 'https://a/3',
      company: null,
      name: null,
      email: 'g@x.example',
    });
  });

  it('list repositories by their own pages, which may be smaller than was asked for', async () => {
    const all = { perPage: 30, installationId: null, sort: 'pushed' } as const;
    const first = await client.repositories({ ...all, page: 1 });
    expect(first).toMatchObject({ next: 2, items: [{ full_name: 'acme/rocket-1' }, { is_public: false }] });
    expect(first.items[0]?.link_header).toContain('page=2');
    expect(await client.repositories({ ...all, page: 2 })).toMatchObject({
      next: null,
      items: [{ full_name: 'acme/rocket-3', stargazers_count: 3, main_branch: 'main' }],
    });
  });

  it('find repositories by name, of one owner where that is named', async () => {
    const search = { limit: 5, sort: 'stars', order: 'desc' } as const;
    expect(await client.searchRepositories({ ...search, query: 'rocket-2' })).toMatchObject([{ id: '2' }]);
    expect(await client.searchRepositories({ ...search, query: 'acme/rocket' })).toHaveLength(3);
    expect(await client.searchRepositories({ ...search, query: 'other/rocket' })).toEqual([]);
    expect(await client.repository('acme/rocket-1')).toMatchObject({ id: '1' });
  });

  it('list branches, and have them looked through for a name', async () => {
    expect(await client.branches('acme/rocket-1', { page: 1, perPage: 2 })).toEqual({
      items: ['main', 'next'].map((name) => ({
        name,
        commit_sha: `${name}-sha`,
        protected: name === 'main',
        last_push_date: '2026-01-01T00:00:00Z',
      })),
      next: 2,
      total: 3,
    });
    host.asked();
    expect(await client.searchBranches('acme/rocket-1', 'FEAT', 5)).toMatchObject([{ name: 'Feature/x' }]);
    expect(host.asked()).toHaveLength(2);
  });

  it('suggest own pull requests with conflicts, and issues assigned', async () => {
    const tasks = await client.suggestedTasks();
    expect(tasks.map(({ issue_number: number, task_type: type }) => [number, type])).toEqual([
      [1, 'MERGE_CONFLICTS'],
      [4, 'OPEN_ISSUE'],
    ]);
  });

  it.each([
    ['open', true],
    ['closed', false],
  ])('tell of a pull request that is %s whether it is open: %s', async (state, isOpen) => {
    host.instead.push({ body: { number: 7, state } });
    expect(await client.isPullRequestOpen('acme/rocket-1', 7)).toBe(isOpen);
    expect(host.asked()).toEqual(['GET /api/v1/repos/acme/rocket-1/pulls/7']);
    await expect(client.isPullRequestOpen('acme/rocket-1', 404)).rejects.toMatchObject({ kind: 'not_found' });
  });

  it('list folders and give files', async () => {
    expect(await client.listFolder('acme/rocket-1', 'docs')).toEqual([
      { name: 'a.md', path: 'docs/a.md', isFile: true },
    ]);
    expect(await client.listFolder('acme/rocket-1', 'docs/none')).toEqual([]);
    expect(await client.readFile('acme/rocket-1', 'docs/a.md')).toBe('# A');
  });

  it.each([
    [401, 'token'],
    [403, 'forbidden'],
    [429, 'rate'],
    [500, 'unavailable'],
  ])('answer with status %i, which is told as such', async (status, kind) => {
    host.instead.push({ status });
    await expect(client.currentUser()).rejects.toMatchObject({ kind });
  });

  it('have no installations', async () => {
    await expect(client.installations({ page: 1, perPage: 1 })).rejects.toMatchObject({
      kind: 'unsupported',
    });
  });
});
