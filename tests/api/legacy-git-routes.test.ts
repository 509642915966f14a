import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { legacyGitRoutes } from '../../api/legacy/git-routes.js';
import type { GitProvider } from '../../contract/primitives.js';
import { GitProviderClients } from '../../git-providers/clients.js';
import { ProviderHandler } from '../../git-providers/provider-handler.js';
import type { AuthStrategy } from '../../identity/auth-strategy.js';
import type { ProviderToken, UserContext } from '../../identity/user-context.js';
import { httpFor } from '../support/git-hosts/fake-git-host.js';
import { GITHUB_TOKEN, GitHubHost } from '../support/git-hosts/github-host.js';
import { GITLAB_TOKEN, GitLabHost } from '../support/git-hosts/gitlab-host.js';
import { startTestServer, type TestServer } from '../support/test-server.js';

let github: GitHubHost;
let gitlab: GitLabHost;
let server: TestServer;
let tokens: Map<GitProvider, ProviderToken>;
const warnings: object[] = [];

const auth: AuthStrategy = {
  authenticate: () =>
    Promise.resolve({
      userId: null,
      authType: 'none',
      tokens: {
        get: (provider) => Promise.resolve(tokens.get(provider) ?? null),
        getAll: () => Promise.resolve(tokens),
      },
    }),
};

beforeAll(async () => {
  [github, gitlab] = await Promise.all([new GitHubHost().listen(), new GitLabHost().listen()]);
  const clients = new GitProviderClients({ http: httpFor(github, gitlab) });
  // Without a token GitHub itself is asked; here that is the look-alike.
  const opening = {
    supports: (provider: GitProvider) => clients.supports(provider),
    open: (provider: GitProvider, token: ProviderToken | null) =>
      clients.open(provider, token ?? { token: '', host: github.url }),
  };
  const log = { warn: (details: object) => void warnings.push(details) };
  const providersOf = (user: UserContext) => new ProviderHandler(user.tokens, opening, log);
  server = await startTestServer(legacyGitRoutes({ providersOf }), { auth });
});
afterAll(async () => {
  await server.close();
  await Promise.all([github.close(), gitlab.close()]);
});
const onGitHub = (): [GitProvider, ProviderToken] => [
  'github',
  { token: GITHUB_TOKEN, host: github.url, userId: null },
];
const onGitLab = (): [GitProvider, ProviderToken] => [
  'gitlab',
  { token: GITLAB_TOKEN, host: gitlab.url, userId: null },
];
beforeEach(() => {
  github.asked();
  gitlab.asked();
  github.instead.splice(0);
  tokens = new Map([onGitHub(), onGitLab()]);
});

async function get(path: string) {
  const response = await server.fetch(`/api/user${path}`);
  return { status: response.status, body: await response.json() };
}

describe('git providers for clients of 2025-11', () => {
  it.each([
    ['/info', 'Git provider token required. (such as GitHub).'],
    ['/installations?provider=github', 'Git provider token required. (such as GitHub).'],
    ['/repositories', 'Git provider token required. (such as GitHub).'],
    ['/repository/branches?repository=a/b', 'Git provider token required. (such as GitHub).'],
    ['/search/repositories?query=x', 'Git provider token required.'],
    ['/search/branches?repository=a/b&query=x', 'Git provider token required.'],
    ['/suggested-tasks', 'No providers set.'],
  ])('need a token, and say so in a bare text: %s', async (path, text) => {
    tokens = new Map();
    expect(await get(path)).toEqual({ status: 401, body: text });
  });

  it.each([
    [401, 401],
    [403, 403],
    [404, 404],
    [429, 429],
    [500, 500],
    [503, 500],
  ])('answer %i of the provider with %i and a bare text', async (theirs, ours) => {
    tokens = new Map([onGitHub()]);
    github.instead.push(
      theirs === 503 ? { status: 503, headers: { 'Retry-After': '5' } } : { status: theirs },
    );
    const { status, body } = await get('/repositories');
    expect({ status, type: typeof body }).toEqual({ status: ours, type: 'string' });
  });

  it('tell who the caller is', async () => {
    expect(await get('/info')).toEqual({
      status: 200,
      body: {
        id: '42',
        login: 'octocat',
        avatar_url: 'https://a/42',
        company: null,
        name: 'Octo',
        email: null,
      },
    });
    github.instead.push({ status: 500 });
    expect(await get('/info')).toMatchObject({ status: 200, body: { login: 'tanuki' } });
  });

  it('list repositories with the next page where the client looks for it', async () => {
    const { body } = await get('/repositories?selected_provider=github&sort=pushed&page=1&per_page=2');
    const [first, second] = body as { link_header: string | null; full_name: string }[];
    const [, next] = /<[^>]*[?&]page=(\d+)[^>]*>;\s*rel="next"/.exec(first?.link_header ?? '') ?? [];
    expect([next, second?.link_header]).toEqual(['2', null]);
    expect(await get(`/repositories?selected_provider=github&page=3&per_page=2`)).toMatchObject({
      body: [{ full_name: 'acme/rocket-5', link_header: expect.not.stringContaining('"next"') as unknown }],
    });
  });

  it('list those of all providers, without one that fails', async () => {
    const all = (await get('/repositories')).body as { git_provider: string }[];
    expect([...new Set(all.map(({ git_provider: provider }) => provider))]).toEqual(['github', 'gitlab']);
    github.instead.push({ status: 500 });
    warnings.length = 0;
    const rest = (await get('/repositories')).body as { git_provider: string }[];
    expect([...new Set(rest.map(({ git_provider: provider }) => provider))]).toEqual(['gitlab']);
    expect(warnings).toMatchObject([{ provider: 'github', kind: 'unavailable' }]);
  });

  it('find repositories of one provider or of all', async () => {
    expect(await get('/search/repositories?query=rocket-1&selected_provider=gitlab')).toMatchObject({
      status: 200,
      body: [{ full_name: 'acme/engines/rocket-1' }],
    });
    expect((await get('/search/repositories?query=rocket-1')).body).toHaveLength(3);
    expect((await get('/search/repositories?query=')).body).toEqual([]);
  });

  it('list branches of a repository wherever it is', async () => {
    expect(await get('/repository/branches?repository=acme/engines/rocket-1&per_page=2')).toMatchObject({
      status: 200,
      body: {
        branches: [{ name: 'main' }, { name: 'next' }],
        has_next_page: true,
        current_page: 1,
        per_page: 2,
        total_count: 3,
      },
    });
    expect(await get('/repository/branches?repository=acme/rocket-1&page=2&per_page=2')).toMatchObject({
      body: { branches: [{ name: 'old' }], has_next_page: false, current_page: 2, total_count: null },
    });
    expect(await get('/repository/branches?repository=no/where')).toMatchObject({ status: 404 });
  });

  it('find branches', async () => {
    const path = '/search/branches?repository=acme/engines/rocket-1&query=feat';
    expect((await get(path)).body).toMatchObject([{ name: 'feature/x' }]);
    expect((await get(`${path}&selected_provider=gitlab`)).body).toMatchObject([{ name: 'feature/x' }]);
  });

  it('list installations where the provider has some', async () => {
    github.installations = [5];
    expect(await get('/installations?provider=github')).toEqual({ status: 200, body: ['5'] });
    github.installations = null;
    expect(await get('/installations?provider=gitlab')).toEqual({
      status: 400,
      body: "Provider gitlab doesn't support installations",
    });
  });

  it('suggest tasks of all providers', async () => {
    const issue = { number: 1, title: 't', repository: { nameWithOwner: 'a/b' } };
    github.graphql = { data: { viewer: { pullRequests: { nodes: [] } }, search: { nodes: [issue] } } };
    gitlab.issues = [{ iid: 2, title: 'u', references: { full: 'c/d#2' } }];
    expect((await get('/suggested-tasks')).body).toEqual([
      { git_provider: 'github', issue_number: 1, repo: 'a/b', task_type: 'OPEN_ISSUE', title: 't' },
      { git_provider: 'gitlab', issue_number: 2, repo: 'c/d', task_type: 'OPEN_ISSUE', title: 'u' },
    ]);
  });
});

describe('microagents of a repository', () => {
  const path = '/repository/acme/rocket-1/microagents';
  const files = {
    '.openhands/microagents/review.md':
      '---\nname: review\ntriggers:\n  - review\n  - lgtm\n---\n\n# Review\n',
    '.openhands/microagents/README.md': 'what this is',
    '.openhands/microagents/run.sh': 'echo',
  };

  it('are listed, with and without a token', async () => {
    github.files = files;
    const listed = [
      {
        name: 'review',
        path: '.openhands/microagents/review.md',
        created_at: '2026-01-02T03:04:05Z',
        git_provider: 'github',
      },
    ];
    expect(await get(path)).toEqual({ status: 200, body: listed });
    tokens = new Map();
    expect(await get(path)).toEqual({ status: 200, body: listed });
    expect(github.requests.at(-1)?.headers.authorization).toBeUndefined();
  });

  it('include the rules that another tool has left', async () => {
    github.files = { '.cursorrules': 'be brief' };
    expect(await get(path)).toMatchObject({ body: [{ name: 'cursorrules', path: '.cursorrules' }] });
  });

  it('are none where there are none, and 404 where there is no repository', async () => {
    github.files = {};
    expect(await get(path)).toEqual({ status: 200, body: [] });
    expect(await get('/repository/no/where/microagents')).toMatchObject({ status: 404 });
    expect(await get('/repository/a/microagents')).toMatchObject({ status: 400 });
  });

  it('are read without their front matter, whose triggers are told', async () => {
    github.files = {
      ...files,
      'broken.md': '---\n: [\n---\nbody',
      'plain.md': 'no front matter\n',
    };
    const read = async (file: string) =>
      get(`${path}/content?file_path=${encodeURIComponent(file)}`).then(({ body }) => body);
    expect(await read('.openhands/microagents/review.md')).toEqual({
      content: '# Review',
      path: '.openhands/microagents/review.md',
      triggers: ['review', 'lgtm'],
      git_provider: 'github',
    });
    expect(await read('broken.md')).toMatchObject({ content: 'body', triggers: [] });
    expect(await read('plain.md')).toMatchObject({ content: 'no front matter\n', triggers: [] });
  });

  it.each(['../../secrets', '/etc/passwd', 'a//b', 'a\\b', './a', ''])(
    'are read inside of the repository only: %j',
    async (file) => {
      expect(await get(`${path}/content?file_path=${encodeURIComponent(file)}`)).toMatchObject({
        status: 400,
      });
      expect(github.asked()).toEqual([]);
    },
  );

  it('of a whole group at GitLab are in a repository of their own', async () => {
    gitlab.projects.push({ ...gitlab.projects[0]!, id: 9, path_with_namespace: 'acme/openhands-config' });
    gitlab.files = { 'microagents/all.md': '# All' };
    tokens = new Map([onGitLab()]);
    expect(await get('/repository/acme/openhands-config/microagents')).toMatchObject({
      body: [{ name: 'all', path: 'microagents/all.md', git_provider: 'gitlab' }],
    });
    gitlab.projects.pop();
  });
});
