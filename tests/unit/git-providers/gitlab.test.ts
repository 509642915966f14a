import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { GitProviderClients } from '../../../git-providers/clients.js';
import type { GitProviderClient } from '../../../git-providers/git-provider-client.js';
import { httpFor } from '../../support/git-hosts/fake-git-host.js';
import { GITLAB_TOKEN, GitLabHost } from '../../support/git-hosts/gitlab-host.js';

let host: GitLabHost;
let client: GitProviderClient;

beforeAll(async () => {
  host = await new GitLabHost().listen();
  client = new GitProviderClients({ http: httpFor(host) }).open('gitlab', {
    token: GITLAB_TOKEN,
    host: host.url,
  });
});
afterAll(() => host.close());
beforeEach(() => void host.asked());

const REPOSITORY = 'acme/engines/rocket-1';

describe('GitLab', () => {
  it('tells whose token it is', async () => {
    expect(await client.currentUser()).toEqual({
      id: '7',
      login: 'tanuki',
      avatar_url: '',
      company: null,
      name: 'Tanuki',
      email: 't@x.example',
    });
    expect(host.requests[0]?.headers.authorization).toBe(`Bearer ${GITLAB_TOKEN}`);
  });

  it('lists projects until the header with the next page is empty', async () => {
    const all = { perPage: 2, installationId: null, sort: 'pushed' } as const;
    const first = await client.repositories({ ...all, page: 1 });
    expect(first).toMatchObject({ next: 2, total: 3 });
    expect(first.items[0]).toEqual({
      id: '1',
      full_name: REPOSITORY,
      git_provider: 'gitlab',
      is_public: true,
      stargazers_count: 1,
      link_header: expect.stringContaining('rel="next"') as string,
      pushed_at: '2026-01-02T03:04:05.000Z',
      owner_type: 'organization',
      main_branch: 'main',
    });
    expect(await client.repositories({ ...all, page: 2 })).toMatchObject({
      next: null,
      items: [{ id: '3' }],
    });
    expect(host.asked()[0]).toBe(
      'GET /api/v4/projects?membership=true&archived=false&order_by=last_activity_at&sort=desc&page=1&per_page=2',
    );
  });

  it('finds own projects before others, and a project by its whole path', async () => {
    const search = { query: 'rocket', limit: 5, sort: 'stars', order: 'desc' } as const;
    expect((await client.searchRepositories(search)).map(({ id }) => id)).toEqual(['1', '2', '3']);
    const [own, all] = host.asked();
    expect(own).toContain('membership=true&order_by=star_count&sort=desc');
    expect(all).not.toContain('membership');
    expect(await client.repository(REPOSITORY)).toMatchObject({ id: '1' });
    expect(host.asked()).toEqual(['GET /api/v4/projects/acme%2Fengines%2Frocket-1']);
  });

  it('lists and finds branches', async () => {
    expect(await client.branches(REPOSITORY, { page: 1, perPage: 1 })).toEqual({
      items: [
        {
          name: 'main',
          commit_sha: 'main-sha',
          protected: true,
          last_push_date: '2026-01-01T00:00:00.000+00:00',
        },
      ],
      next: 2,
      total: 3,
    });
    expect(await client.searchBranches(REPOSITORY, 'feat', 5)).toMatchObject([{ name: 'feature/x' }]);
  });

  it('suggests merge requests by what is most in their way, and issues assigned', async () => {
    const request = (iid: string, more: object) => ({
      iid,
      title: `request ${iid}`,
      conflicts: false,
      project: { fullPath: 'acme/engines/rocket-1' },
      headPipeline: { status: 'SUCCESS' },
      discussions: { nodes: [] },
      ...more,
    });
    host.graphql = {
      data: {
        currentUser: {
          authoredMergeRequests: {
            nodes: [
              request('1', { conflicts: true }),
              request('2', { headPipeline: { status: 'FAILED' } }),
              request('3', { discussions: { nodes: [{ resolvable: true, resolved: false }] } }),
              request('4', {
                headPipeline: null,
                discussions: { nodes: [{ resolvable: false, resolved: false }] },
              }),
            ],
          },
        },
      },
    };
    host.issues = [{ iid: 5, title: 'issue', references: { full: 'acme/other#5' } }];
    expect(
      (await client.suggestedTasks()).map(({ repo, issue_number: number, task_type: type }) => [
        repo,
        number,
        type,
      ]),
    ).toEqual([
      [REPOSITORY, 1, 'MERGE_CONFLICTS'],
      [REPOSITORY, 2, 'FAILING_CHECKS'],
      [REPOSITORY, 3, 'UNRESOLVED_COMMENTS'],
      ['acme/other', 5, 'OPEN_ISSUE'],
    ]);
  });

  it.each([
    ['opened', true],
    ['locked', true],
    ['closed', false],
    ['merged', false],
  ])('tells of a merge request that is %s whether it is open: %s', async (state, isOpen) => {
    host.mergeRequests = { 7: state };
    expect(await client.isPullRequestOpen('acme/engines/rocket-1', 7)).toBe(isOpen);
    expect(host.asked()).toEqual(['GET /api/v4/projects/acme%2Fengines%2Frocket-1/merge_requests/7']);
    await expect(client.isPullRequestOpen('acme/engines/rocket-1', 404)).rejects.toMatchObject({
      kind: 'not_found',
    });
  });

  it('lists folders and reads files', async () => {
    host.files = { '.openhands/microagents/a.md': '# A' };
    expect(await client.listFolder(REPOSITORY, '.openhands/microagents')).toEqual([
      { name: 'a.md', path: '.openhands/microagents/a.md', isFile: true },
    ]);
    expect(await client.listFolder(REPOSITORY, 'nowhere')).toEqual([]);
    expect(await client.readFile(REPOSITORY, '.openhands/microagents/a.md')).toBe('# A');
  });

  it('has no installations', async () => {
    await expect(client.installations({ page: 1, perPage: 1 })).rejects.toMatchObject({
      kind: 'unsupported',
    });
  });

  it.each([
    [401, {}, 'token', null],
    [403, {}, 'forbidden', null],
    [429, { 'Retry-After': '5' }, 'rate', 5],
    [500, {}, 'unavailable', null],
  ])('answers with status %i, which is told as such', async (status, headers, kind, retryAfterSeconds) => {
    host.instead.push({ status, headers: headers });
    await expect(client.currentUser()).rejects.toMatchObject({ kind, retryAfterSeconds });
  });

  it('may live below a path of its host', async () => {
    const below = await new GitLabHost('/gitlab').listen();
    const clients = new GitProviderClients({ http: httpFor(below) });
    const at = clients.open('gitlab', { token: GITLAB_TOKEN, host: `${below.url}/gitlab/` });
    expect(await at.currentUser()).toMatchObject({ login: 'tanuki' });
    expect(await at.suggestedTasks()).toEqual([]);
    await below.close();
  });
});
