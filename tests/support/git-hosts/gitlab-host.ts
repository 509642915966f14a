/** GitLab's REST with `X-Next-Page`, which is empty on the last page, and its GraphQL. */
import { FakeGitHost, pageOf, type HostRequest } from './fake-git-host.js';

export const GITLAB_TOKEN = 'glpat-theTokenOfTheTests';

const project = (id: number, path: string) => ({
  id,
  path_with_namespace: path,
  visibility: id % 2 === 0 ? 'private' : 'public',
  star_count: id,
  last_activity_at: '2026-01-02T03:04:05.000Z',
  namespace: { kind: 'group' },
  default_branch: 'main',
});

export class GitLabHost extends FakeGitHost {
  projects = [1, 2, 3].map((id) => project(id, `acme/engines/rocket-${id}`));
  branches = ['main', 'next', 'feature/x'].map((name) => ({
    name,
    commit: { id: `${name}-sha`, committed_date: '2026-01-01T00:00:00.000+00:00' },
    protected: name === 'main',
  }));
  files: Record<string, string> = {};
  /** States of merge requests of all projects, by iid. */
  mergeRequests: Record<string, string> = {};
  issues: unknown[] = [];
  graphql: unknown = { data: { currentUser: null } };

  /** @param prefix path of an instance that has one. */
  constructor(prefix = '') {
    super(({ authorization }) => [undefined, `Bearer ${GITLAB_TOKEN}`].includes(authorization), {
      status: 401,
      body: { message: '401 Unauthorized' },
    });
    const api = `${prefix}/api/v4`;
    this.on(`GET ${api}/user`, () => ({
      body: {
        id: 7,
        username: 'tanuki',
        avatar_url: null,
        organization: '',
        name: 'Tanuki',
        email: 't@x.example',
      },
    }));
    this.on(`GET ${api}/projects`, (request) => {
      const search = request.query.get('search') ?? '';
      return this.#paged(
        request,
        this.projects.filter(({ path_with_namespace: path }) => path.includes(search)),
      );
    });
    this.on(`GET ${api}/projects/*`, (_request, [path]) => {
      const found = this.projects.find(({ path_with_namespace: one }) => one === path);
      return found ? { body: found } : { status: 404, body: { message: '404 Project Not Found' } };
    });
    this.on(`GET ${api}/projects/*/repository/branches`, (request) => {
      const search = request.query.get('search') ?? '';
      return this.#paged(
        request,
        this.branches.filter(({ name }) => name.includes(search)),
      );
    });
    this.on(`GET ${api}/projects/*/repository/tree`, ({ query }) => {
      const path = query.get('path') ?? '';
      const within = Object.keys(this.files).filter((one) => one.startsWith(`${path}/`));
      return within.length === 0
        ? { status: 404, body: { message: '404 invalid revision or path Not Found' } }
        : { body: within.map((one) => ({ name: one.split('/').at(-1), path: one, type: 'blob' })) };
    });
    this.on(`GET ${api}/projects/*/repository/files/*/raw`, (_request, [, path]) => {
      const file = this.files[path ?? ''];
      return file === undefined ? { status: 404, body: { message: '404 File Not Found' } } : { body: file };
    });
    this.on(`GET ${api}/projects/*/merge_requests/*`, (_request, [, iid]) => {
      const state = this.mergeRequests[iid ?? ''];
      return state ? { body: { iid, state } } : { status: 404, body: { message: '404 Not found' } };
    });
    this.on(`GET ${api}/issues`, () => ({ body: this.issues }));
    this.on(`POST ${prefix}/api/graphql`, () => ({ body: this.graphql }));
  }

  #paged(request: HostRequest, items: readonly unknown[]) {
    const { part, next } = pageOf(items, request.query);
    const link: Record<string, string> =
      next === null ? {} : { Link: `<${this.url}${request.path}?page=${next}>; rel="next"` };
    return {
      body: part,
      headers: { 'X-Next-Page': next === null ? '' : String(next), 'X-Total': String(items.length), ...link },
    };
  }
}
