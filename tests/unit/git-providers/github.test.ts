import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { GitProviderClients } from '../../../git-providers/clients.js';
import type { GitProviderClient } from '../../../git-providers/git-provider-client.js';
import { gitHubAddresses } from '../../../git-providers/github.js';
import { httpFor } from '../../support/git-hosts/fake-git-host.js';
import { GITHUB_TOKEN, GitHubHost, repository } from '../../support/git-hosts/github-host.js';

let host: GitHubHost;
let client: GitProviderClient;

beforeAll(async () => {
  host = await new GitHubHost().listen();
});
afterAll(() => host.close());
beforeEach(() => {
  host.asked();
  client = open(GITHUB_TOKEN);
});

const open = (token: string | null) =>
  new GitProviderClients({ http: httpFor(host) }).open('github', { token: token ?? '', host: host.url });
const page = (number: number, perPage = 2) => ({
  page: number,
  perPage,
  installationId: null,
  sort: 'pushed' as const,
});

describe('GitHub', () => {
  it.each([
    ['https://github.com', 'https://api.github.com', 'https://api.github.com/graphql'],
    ['https://www.github.com', 'https://api.github.com', 'https://api.github.com/graphql'],
    ['https://ghe.corp:8443', 'https://ghe.corp:8443/api/v3', 'https://ghe.corp:8443/api/graphql'],
    ['https://ghe.corp/api/v3', 'https://ghe.corp/api/v3', 'https://ghe.corp/api/graphql'],
    ['https://octo.ghe.com', 'https://api.octo.ghe.com', 'https://api.octo.ghe.com/graphql'],
  ])('at %s has its API at %s', (address, rest, graphql) => {
    expect(gitHubAddresses(new URL(address))).toEqual({ rest, graphql });
  });

  it('tells whose token it is, by a header and not by the address', async () => {
    expect(await client.currentUser()).toEqual({
      id: '42',
      login: 'octocat',
      avatar_url: 'https://a/42',
      company: null,
      name: 'Octo',
      email: null,
    });
    expect(host.requests[0]?.headers).toMatchObject({
      authorization: `Bearer ${GITHUB_TOKEN}`,
      'x-github-api-version': '2022-11-28',
    });
    expect(host.asked()).toEqual(['GET /api/v3/user']);
  });

  it('lists repositories page by page until there is none', async () => {
    const names: string[] = [];
    for (let next: number | null = 1; next !== null;) {
      const found = await client.repositories(page(next));
      names.push(...found.items.map(({ full_name: name }) => name));
      expect(found.items[0]?.link_header === null).toBe(found.next === null);
      next = found.next;
    }
    expect(names).toEqual([1, 2, 3, 4, 5].map((id) => `acme/rocket-${id}`));
    expect(host.asked()).toEqual(
      [1, 2, 3].map((n) => `GET /api/v3/user/repos?page=${n}&per_page=2&sort=pushed`),
    );
  });

  it('describes a repository, and hands on the Link header on the first one', async () => {
    const { items } = await client.repositories(page(1));
    expect(items[0]).toEqual({
      id: '1',
      full_name: 'acme/rocket-1',
      git_provider: 'github',
      is_public: true,
      stargazers_count: 1,
      link_header: expect.stringMatching(/page=2.*rel="next"/) as string,
      pushed_at: '2026-01-02T03:04:05Z',
      owner_type: 'organization',
      main_branch: 'main',
    });
    expect(items[1]?.link_header).toBeNull();
  });

  it('has installations for tokens of a GitHub App, and none for others', async () => {
    expect(await client.installations(page(1))).toEqual({ items: [], next: null });
    host.installations = [11, 12];
    expect(await client.installations(page(1))).toMatchObject({ items: ['11', '12'], next: null });
    expect(await client.repositories({ ...page(1), installationId: '11' })).toMatchObject({
      items: [{ full_name: 'installed-11/app' }],
    });
    host.installations = null;
  });

  it('finds the user’s own repositories before those of others', async () => {
    const search = { query: 'rocket', limit: 6, sort: 'stars', order: 'desc' } as const;
    const found = await client.searchRepositories(search);
    expect(found.map(({ full_name: name }) => name)).toEqual([
      ...[1, 2, 3, 4, 5].map((id) => `acme/rocket-${id}`),
      'others/rocket',
    ]);
    expect(host.asked()[1]).toBe(
      'GET /api/v3/search/repositories?q=rocket+user:@me+org:acme+in:name+fork:true&per_page=6&sort=stars&order=desc'.replaceAll(
        '%20',
        ' ',
      ),
    );
  });

  it('takes what a person types for words, not for qualifiers of its search', async () => {
    await client.searchRepositories({ query: 'a"b org:x', limit: 1, sort: 'stars', order: 'desc' });
    await client.searchRepositories({ query: 'acme/rocket', limit: 1, sort: 'forks', order: 'asc' });
    const searches = host.requests.map(({ query }) => query.get('q')).filter(Boolean);
    expect(searches[0]).toMatch(/^a b org x user:@me/);
    expect(searches.at(-1)).toBe('rocket user:acme in:name fork:true');
  });

  it('lists branches, and finds them with the dates of their last commits', async () => {
    expect(await client.branches('acme/rocket-1', { page: 1, perPage: 2 })).toEqual({
      items: [
        { name: 'main', commit_sha: 'main-sha', protected: true, last_push_date: null },
        { name: 'next', commit_sha: 'next-sha', protected: false, last_push_date: null },
      ],
      next: 2,
    });
    host.graphql = {
      data: {
        repository: {
          refs: {
            nodes: [
              {
                name: 'next',
                branchProtectionRule: null,
                target: { oid: 'abc', committedDate: '2026-01-01T00:00:00Z' },
              },
            ],
          },
        },
      },
    };
    expect(await client.searchBranches('acme/rocket-1', 'ne', 5)).toEqual([
      { name: 'next', commit_sha: 'abc', protected: false, last_push_date: '2026-01-01T00:00:00Z' },
    ]);
    expect(JSON.parse(host.requests.at(-1)?.body ?? '')).toMatchObject({
      variables: { owner: 'acme', name: 'rocket-1', query: 'ne', limit: 5 },
    });
  });

  it('suggests pull requests by what is most in their way, and issues assigned', async () => {
    const pull = (number: number, more: object) => ({
      number,
      title: `pull ${number}`,
      mergeable: 'MERGEABLE',
      repository: { nameWithOwner: 'acme/rocket' },
      reviewThreads: { nodes: [] },
      commits: { nodes: [{ commit: { statusCheckRollup: { state: 'SUCCESS' } } }] },
      ...more,
    });
    const failing = { commits: { nodes: [{ commit: { statusCheckRollup: { state: 'FAILURE' } } }] } };
    host.graphql = {
      data: {
        viewer: {
          pullRequests: {
            nodes: [
              pull(1, { mergeable: 'CONFLICTING', ...failing }),
              pull(2, failing),
              pull(3, { reviewThreads: { nodes: [{ isResolved: true }, { isResolved: false }] } }),
              pull(4, { reviewDecision: 'CHANGES_REQUESTED' }),
              pull(5, {}),
              null,
            ],
          },
        },
        search: {
          nodes: [{ number: 6, title: 'issue 6', repository: { nameWithOwner: 'acme/rocket' } }],
        },
      },
    };
    const tasks = await client.suggestedTasks();
    expect(tasks.map(({ issue_number: number, task_type: type }) => [number, type])).toEqual([
      [1, 'MERGE_CONFLICTS'],
      [2, 'FAILING_CHECKS'],
      [3, 'UNRESOLVED_COMMENTS'],
      [4, 'UNRESOLVED_COMMENTS'],
      [6, 'OPEN_ISSUE'],
    ]);
    expect(tasks[0]).toEqual({
      git_provider: 'github',
      task_type: 'MERGE_CONFLICTS',
      repo: 'acme/rocket',
      issue_number: 1,
      title: 'pull 1',
    });
  });

  it.each([
    ['open', true],
    ['closed', false],
  ])('tells of a pull request that is %s whether it is open: %s', async (state, isOpen) => {
    host.pulls = { 7: state };
    expect(await client.isPullRequestOpen('acme/rocket-1', 7)).toBe(isOpen);
    expect(host.asked()).toEqual(['GET /api/v3/repos/acme/rocket-1/pulls/7']);
    await expect(client.isPullRequestOpen('acme/rocket-1', 404)).rejects.toMatchObject({ kind: 'not_found' });
  });

  it('lists folders and reads files', async () => {
    host.files = { '.openhands/microagents/a.md': '# A', '.openhands/microagents/b.md': '# B' };
    expect(await client.listFolder('acme/rocket-1', '.openhands/microagents')).toEqual([
      { name: 'a.md', path: '.openhands/microagents/a.md', isFile: true },
      { name: 'b.md', path: '.openhands/microagents/b.md', isFile: true },
    ]);
    expect(await client.listFolder('acme/rocket-1', 'nowhere')).toEqual([]);
    expect(await client.readFile('acme/rocket-1', '.openhands/microagents/a.md')).toBe('# A');
    await expect(client.readFile('acme/rocket-1', 'none.md')).rejects.toMatchObject({ kind: 'not_found' });
  });

  it('follows repositories that were renamed', async () => {
    host.instead.push({ status: 301, headers: { Location: '/api/v3/repos/acme/rocket-2' } });
    expect(await client.repository('acme/old-name')).toMatchObject({ full_name: 'acme/rocket-2' });
  });

  it('is asked without a token for what is public', async () => {
    host.repositories.push(repository(7, 'public/one'));
    expect(await open(null).repository('public/one')).toMatchObject({ id: '7' });
    expect(host.requests[0]?.headers.authorization).toBeUndefined();
    host.repositories.pop();
  });

  it.each([
    ['a token that it does not know', 401, {}, 'token', null],
    ['a token without the scope', 403, {}, 'forbidden', null],
    ['a rate limit', 403, { 'X-RateLimit-Remaining': '0', 'X-RateLimit-Reset': '1' }, 'rate', 1],
    ['a rate limit, and how long to wait', 429, { 'Retry-After': '17' }, 'rate', 17],
    ['a secondary rate limit', 403, { 'Retry-After': '30' }, 'rate', 30],
    ['a rate limit without saying how long', 429, {}, 'rate', 60],
    ['trouble of its own', 500, {}, 'unavailable', null],
    ['maintenance', 503, { 'Retry-After': '120' }, 'unavailable', 120],
  ])('answers %s with status %i, which is told as such', async (_name, status, headers, kind, seconds) => {
    host.instead.push({ status, headers: headers, body: { message: 'x' } });
    await expect(client.currentUser()).rejects.toMatchObject({ kind, retryAfterSeconds: seconds });
  });

  it.each([
    ['not JSON', { body: '<html>a proxy</html>' }],
    ['JSON of another form', { body: { login: 1 } }],
  ])('is not trusted when it answers %s', async (_name, answer) => {
    host.instead.push(answer);
    await expect(client.currentUser()).rejects.toMatchObject({ kind: 'unavailable' });
  });

  it.each([
    ['RATE_LIMITED', 'rate'],
    ['NOT_FOUND', 'not_found'],
    ['FORBIDDEN', 'forbidden'],
    ['SOMETHING', 'unavailable'],
  ])('says %s in a good answer of GraphQL, which is told as %s', async (type, kind) => {
    host.graphql = { data: null, errors: [{ type, message: 'x' }] };
    await expect(client.suggestedTasks()).rejects.toMatchObject({ kind });
  });

  it.each(['../../user', 'acme', 'acme/..', 'acme/a/b', 'acme/a?b'])(
    'is not asked for %s, which is no repository',
    async (name) => {
      await expect(client.repository(name)).rejects.toThrow('is not a repository of github');
      expect(host.asked()).toEqual([]);
    },
  );

  it('is not asked at a private address that the operator did not allow', async () => {
    const stranger = new GitProviderClients({ http: httpFor() }).open('github', {
      token: GITHUB_TOKEN,
      host: host.url.replace('http:', 'https:'),
    });
    await expect(stranger.currentUser()).rejects.toMatchObject({ kind: 'host' });
    expect(host.asked()).toEqual([]);
  });

  it('gets tokens checked: known, unknown, or not to be found out', async () => {
    const clients = new GitProviderClients({ http: httpFor(host) });
    const verify = (token: string) => clients.verify('github', { token, host: host.url });
    expect(await verify(GITHUB_TOKEN)).toBe(true);
    expect(await verify('wrong')).toBe(false);
    host.instead.push({ status: 403 });
    expect(await verify(GITHUB_TOKEN)).toBe(true); // of an app's installation, which is no user
    host.instead.push({ status: 404 });
    await expect(verify(GITHUB_TOKEN)).rejects.toMatchObject({ kind: 'host' });
    host.instead.push({ status: 502 });
    await expect(verify(GITHUB_TOKEN)).rejects.toMatchObject({ kind: 'unavailable' });
    expect(await clients.verify('enterprise_sso', { token: 't', host: null })).toBe(true);
    await expect(clients.verify('github', { token: 't', host: 'no host' })).rejects.toMatchObject({
      kind: 'host',
      message: 'The host configured for github is not a host name or an http(s) address.',
    });
  });

  it('is never told about in words that hold the token', async () => {
    const secret = 'ghp_secretOfSomebody';
    host.instead.push({ status: 500, body: secret }, { body: `"${secret}` });
    for (let attempt = 0; attempt < 3; attempt++) {
      const error: unknown = await open(secret)
        .currentUser()
        .catch((one: unknown) => one);
      expect(error).toBeInstanceOf(Error);
      for (let cause = error; cause instanceof Error; cause = cause.cause) {
        expect(`${cause.message} ${cause.stack ?? ''} ${JSON.stringify(cause)}`).not.toContain(secret);
      }
    }
  });
});
