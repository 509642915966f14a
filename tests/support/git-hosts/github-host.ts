/** GitHub Enterprise's REST and GraphQL, as documented: `Link` paging, 401 and 403 bodies, errors of GraphQL with 200. */
import { FakeGitHost, linkHeader, pageOf } from './fake-git-host.js';

export const GITHUB_TOKEN = 'ghp_theTokenOfTheTests';

export const repository = (id: number, fullName: string, more: Record<string, unknown> = {}) => ({
  id,
  full_name: fullName,
  name: fullName.split('/')[1],
  private: false,
  stargazers_count: id,
  pushed_at: '2026-01-02T03:04:05Z',
  owner: { login: fullName.split('/')[0], type: 'Organization' },
  default_branch: 'main',
  ...more,
});

export class GitHubHost extends FakeGitHost {
  repositories = [1, 2, 3, 4, 5].map((id) => repository(id, `acme/rocket-${id}`));
  branches = ['main', 'next', 'old'].map((name) => ({
    name,
    commit: { sha: `${name}-sha` },
    protected: name === 'main',
  }));
  /** Contents by path. */
  files: Record<string, string> = {};
  /** States of pull requests of all repositories, by number. */
  pulls: Record<string, string> = {};
  installations: number[] | null = null;
  /** What GraphQL answers. */
  graphql: unknown = {};

  constructor() {
    super(({ authorization }) => [undefined, `Bearer ${GITHUB_TOKEN}`].includes(authorization));
    this.on('GET /api/v3/user', ({ headers }) =>
      headers.authorization
        ? {
            body: {
              id: 42,
              login: 'octocat',
              avatar_url: 'https://a/42',
              name: 'Octo',
              company: null,
              email: null,
            },
          }
        : { status: 401, body: { message: 'Requires authentication' } },
    );
    this.on('GET /api/v3/user/repos', (request) => {
      const { part, next } = pageOf(this.repositories, request.query);
      return { body: part, headers: linkHeader(request, this.url, next) };
    });
    this.on('GET /api/v3/user/orgs', () => ({ body: [{ login: 'acme' }] }));
    this.on('GET /api/v3/user/installations', () =>
      this.installations === null
        ? {
            status: 403,
            body: { message: 'You must authenticate with an access token authorized to a GitHub App' },
          }
        : {
            body: {
              total_count: this.installations.length,
              installations: this.installations.map((id) => ({ id, account: {} })),
            },
          },
    );
    this.on('GET /api/v3/user/installations/*/repositories', (_request, [id]) => ({
      body: { total_count: 1, repositories: [repository(9, `installed-${id ?? ''}/app`)] },
    }));
    this.on('GET /api/v3/search/repositories', ({ query }) => {
      const q = query.get('q') ?? '';
      const words = q.split(' ')[0] ?? '';
      const mine = this.repositories.filter(({ full_name: name }) => name.includes(words));
      const others = [repository(100, `others/${words}`)];
      return { body: { total_count: 1, items: q.includes('user:@me') ? mine : [...mine, ...others] } };
    });
    this.on('GET /api/v3/repos/*/*', (_request, [owner, name]) => {
      const found = this.repositories.find(({ full_name: one }) => one === `${owner ?? ''}/${name ?? ''}`);
      return found ? { body: found } : { status: 404, body: { message: 'Not Found' } };
    });
    this.on('GET /api/v3/repos/*/*/pulls/*', (_request, [, , number]) => {
      const state = this.pulls[number ?? ''];
      return state ? { body: { number, state } } : { status: 404, body: { message: 'Not Found' } };
    });
    this.on('GET /api/v3/repos/*/*/branches', (request) => {
      const { part, next } = pageOf(this.branches, request.query);
      return { body: part, headers: linkHeader(request, this.url, next) };
    });
    this.on('GET /api/v3/repos/*/*/contents', () => ({
      body: Object.keys(this.files)
        .filter((path) => !path.includes('/'))
        .map((path) => ({ name: path, path, type: 'file' })),
    }));
    this.on('GET /api/v3/repos/*/*/contents/*', (request, [, , name]) =>
      this.#contents(request.headers.accept, name),
    );
    this.on('GET /api/v3/repos/*/*/contents/*/*', (request, [, , ...path]) =>
      this.#contents(request.headers.accept, path.join('/')),
    );
    this.on('GET /api/v3/repos/*/*/contents/*/*/*', (request, [, , ...path]) =>
      this.#contents(request.headers.accept, path.join('/')),
    );
    this.on('POST /api/graphql', () => ({ body: this.graphql }));
  }

  #contents(accept = '', path = '') {
    const file = this.files[path];
    if (file !== undefined) {
      return accept.includes('raw')
        ? { body: file }
        : { body: { name: path.split('/').at(-1), path, type: 'file', content: '' } };
    }
    const within = Object.keys(this.files).filter((one) => one.startsWith(`${path}/`));
    if (within.length === 0) return { status: 404, body: { message: 'Not Found' } };
    return { body: within.map((one) => ({ name: one.split('/').at(-1), path: one, type: 'file' })) };
  }
}
