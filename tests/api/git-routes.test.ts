import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { gitRoutes } from '../../api/git-routes.js';
import type { GitProvider } from '../../contract/primitives.js';
import { GitProviderClients } from '../../git-providers/clients.js';
import { ProviderHandler } from '../../git-providers/provider-handler.js';
import type { AuthStrategy } from '../../identity/auth-strategy.js';
import type { ProviderToken } from '../../identity/user-context.js';
import { httpFor } from '../support/git-hosts/fake-git-host.js';
import { GITHUB_TOKEN, GitHubHost } from '../support/git-hosts/github-host.js';
import { startTestServer, type TestServer } from '../support/test-server.js';

let github: GitHubHost;
let server: TestServer;
/** Tokens of whoever calls. */
let tokens: Map<GitProvider, ProviderToken>;
const warnings: object[] = [];

const auth: AuthStrategy = {
  authenticate: () =>
    Promise.resolve({
      userId: 'ada',
      authType: 'bearer',
      tokens: {
        get: (provider) => Promise.resolve(tokens.get(provider) ?? null),
        getAll: () => Promise.resolve(tokens),
      },
    }),
};

beforeAll(async () => {
  github = await new GitHubHost().listen();
  const clients = new GitProviderClients({ http: httpFor(github) });
  const log = { warn: (details: object) => void warnings.push(details) };
  const providersOf = (user: { tokens: ConstructorParameters<typeof ProviderHandler>[0] }) =>
    new ProviderHandler(user.tokens, clients, log);
  server = await startTestServer(gitRoutes({ providersOf }), { auth });
});
afterAll(async () => {
  await server.close();
  await github.close();
});
beforeEach(() => {
  github.asked();
  tokens = new Map([['github', { token: GITHUB_TOKEN, host: github.url, userId: null }]]);
});

async function get(path: string) {
  const response = await server.fetch(path);
  const text = await response.text();
  expect(text).not.toContain(GITHUB_TOKEN);
  return { status: response.status, body: JSON.parse(text) as unknown, headers: response.headers };
}

const V1 = '/api/v1/git';
const EVERY = [
  `${V1}/installations/search?provider=github`,
  `${V1}/repositories/search?provider=github`,
  `${V1}/repositories/search?provider=github&query=x`,
  `${V1}/branches/search?provider=github&repository=acme/rocket-1&query=`,
  `${V1}/suggested-tasks/search`,
];

describe('git providers for clients of release 1.11', () => {
  it.each(EVERY)('need a token: %s', async (path) => {
    tokens = new Map();
    expect(await get(path)).toMatchObject({
      status: 403,
      body: { detail: 'Git provider token required (such as GitHub).' },
    });
  });

  it('say which of them is not connected', async () => {
    expect(await get(`${V1}/repositories/search?provider=gitlab`)).toMatchObject({
      status: 403,
      body: { detail: 'Git provider token required: gitlab is not connected.' },
    });
  });

  it.each(EVERY)('tell of a token that was refused as a bare text: %s', async (path) => {
    tokens.set('github', { token: 'revoked', host: github.url, userId: null });
    expect(await get(path)).toMatchObject({
      status: 401,
      body: expect.stringMatching(/^Invalid github token/) as string,
    });
  });

  it.each(EVERY)('hand on how long to wait: %s', async (path) => {
    github.instead.push({ status: 429, headers: { 'Retry-After': '7' } });
    const { status, body, headers } = await get(path);
    expect({ status, body, wait: headers.get('retry-after') }).toEqual({
      status: 429,
      body: { detail: 'github takes no more requests with this token for now; try again in 7 seconds.' },
      wait: '7',
    });
    github.instead.splice(0);
  });

  it.each(EVERY)('are 502 when the provider fails: %s', async (path) => {
    github.instead.push({ status: 500 }, { status: 500 });
    expect(await get(path)).toMatchObject({
      status: 502,
      body: { detail: 'github answered with status 500; try again later.' },
    });
    github.instead.splice(0);
  });

  it('list repositories by pages whose ids are numbers in base64', async () => {
    const first = await get(`${V1}/repositories/search?provider=github&limit=3`);
    expect(first).toMatchObject({
      status: 200,
      body: { items: [{ full_name: 'acme/rocket-1' }, {}, {}], next_page_id: 'Mg' },
    });
    const second = await get(`${V1}/repositories/search?provider=github&limit=3&page_id=Mg`);
    expect(second.body).toMatchObject({ items: [{ full_name: 'acme/rocket-4' }, {}], next_page_id: null });
    expect(await get(`${V1}/repositories/search?provider=github&limit=3&page_id=%F0%9F`)).toMatchObject({
      body: first.body as object,
    });
  });

  it('find repositories in the order asked for, on one page', async () => {
    const found = await get(`${V1}/repositories/search?provider=github&query=rocket-2&sort_order=forks-asc`);
    expect(found.body).toMatchObject({
      items: [{ full_name: 'acme/rocket-2' }, { full_name: 'others/rocket-2' }],
      next_page_id: null,
    });
    expect(github.asked()[1]).toContain('sort=forks&order=asc');
    const next = await get(`${V1}/repositories/search?provider=github&query=rocket-2&page_id=Mg`);
    expect(next.body).toEqual({ items: [], next_page_id: null });
  });

  it('look up an address that was pasted', async () => {
    const query = (address: string) =>
      get(`${V1}/repositories/search?provider=github&query=${encodeURIComponent(address)}`);
    for (const path of [
      'acme/rocket-2',
      'acme/rocket-2.git',
      'acme/rocket-2/tree/main/src',
      'acme/rocket-2/',
    ]) {
      expect((await query(`${github.url}/${path}`)).body).toMatchObject({
        items: [{ full_name: 'acme/rocket-2' }],
      });
    }
    for (const address of [
      `${github.url}/acme/none`,
      `${github.url}/a`,
      'https://elsewhere.example/acme/rocket-2',
    ]) {
      expect((await query(address)).body).toEqual({ items: [], next_page_id: null });
    }
  });

  it.each([
    ['an order without a search', 'repositories/search?provider=github&sort_order=stars-desc', 400],
    [
      'a second page of found branches',
      'branches/search?provider=github&repository=a/b&query=x&page_id=Mg',
      400,
    ],
    ['what is no repository', 'branches/search?provider=github&repository=../x&query=', 400],
    ['a repository that is not there', 'branches/search?provider=github&repository=no/ne&query=', 404],
    ['branches without saying of what', 'branches/search?provider=github&query=', 422],
    ['branches without a search, which may be empty', 'branches/search?provider=github&repository=a/b', 422],
    ['no provider', 'installations/search', 422],
    ['an unknown provider', 'installations/search?provider=sourceforge', 422],
    ['too much at a time', 'repositories/search?provider=github&limit=101', 422],
    ['an unknown order', 'repositories/search?provider=github&query=x&sort_order=best', 422],
  ])('refuse %s: %s', async (name, path, status) => {
    if (name.includes('is not there')) github.instead.push({ status: 404 });
    expect(await get(`${V1}/${path}`)).toMatchObject({ status });
  });

  it('have no installations at a provider of identities', async () => {
    tokens.set('enterprise_sso', { token: 't', host: null, userId: null });
    expect(await get(`${V1}/installations/search?provider=enterprise_sso`)).toMatchObject({ status: 400 });
  });

  it('list and find branches', async () => {
    const path = `${V1}/branches/search?provider=github&repository=acme/rocket-1&limit=2`;
    expect((await get(`${path}&query=`)).body).toMatchObject({
      items: [{ name: 'main' }, { name: 'next' }],
      next_page_id: 'Mg',
    });
    expect((await get(`${path}&query=&page_id=Mg`)).body).toMatchObject({
      items: [{ name: 'old' }],
      next_page_id: null,
    });
    github.graphql = { data: { repository: { refs: { nodes: [{ name: 'x', target: { oid: 's' } }] } } } };
    expect((await get(`${path}&query=x`)).body).toEqual({
      items: [{ name: 'x', commit_sha: 's', protected: false, last_push_date: null }],
      next_page_id: null,
    });
  });

  it('page through suggested tasks', async () => {
    const issue = (number: number) => ({ number, title: 't', repository: { nameWithOwner: 'a/b' } });
    github.graphql = {
      data: { viewer: { pullRequests: { nodes: [] } }, search: { nodes: [1, 2, 3].map(issue) } },
    };
    expect((await get(`${V1}/suggested-tasks/search?limit=2`)).body).toMatchObject({
      items: [{ issue_number: 1 }, { issue_number: 2 }],
      next_page_id: 'Mg',
    });
    expect((await get(`${V1}/suggested-tasks/search?limit=2&page_id=Mg`)).body).toMatchObject({
      items: [{ issue_number: 3 }],
      next_page_id: null,
    });
  });

  it('never lead to the network of the server', async () => {
    for (const host of ['https://169.254.169.254', 'http://127.0.0.1:1', '10.0.0.1', 'localhost', '[::1]']) {
      tokens.set('github', { token: GITHUB_TOKEN, host, userId: null });
      const { status, body } = await get(`${V1}/repositories/search?provider=github`);
      expect([status, JSON.stringify(body)]).toEqual([
        400,
        expect.stringContaining('the operator can allow'),
      ]);
    }
  });
});

describe('the caller at the git provider', () => {
  const path = '/api/v1/users/git-info';

  it('is read from the first provider that answers', async () => {
    tokens = new Map([
      ['enterprise_sso', { token: 't', host: null, userId: null }],
      ['github', { token: GITHUB_TOKEN, host: github.url, userId: null }],
    ]);
    expect(await get(path)).toMatchObject({
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
  });

  it('is never 401, which would sign the web client out', async () => {
    tokens.set('github', { token: 'revoked', host: github.url, userId: null });
    expect(await get(path)).toMatchObject({ status: 403, body: { detail: expect.any(String) as string } });
    tokens = new Map();
    expect(await get(path)).toMatchObject({ status: 403, body: { detail: 'Git provider not connected' } });
  });
});
