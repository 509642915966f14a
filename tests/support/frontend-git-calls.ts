/** What the 2025-11 web client asks while somebody picks a repository. */
import { expect } from 'vitest';
import { eachOf, type FrontendCall, type Json } from './frontend-call.js';

const REPOSITORY = ['id', 'full_name', 'git_provider', 'is_public', 'stargazers_count', 'pushed_at'];
const REPOSITORIES = eachOf('[]', [...REPOSITORY, 'owner_type', 'main_branch', 'link_header']);
const BRANCH = ['name', 'commit_sha', 'protected', 'last_push_date'];

/** With a git provider connected, and disconnected again. */
export const PICKING: readonly FrontendCall[] = [
  {
    call: '16 a git provider is connected',
    request: 'POST /api/add-git-providers',
    body: ({ gitHost: { url, token } }) => ({ provider_tokens: { github: { token, host: url } } }),
    status: 200,
  },
  {
    call: '8 who is it there',
    request: 'GET /api/user/info',
    reads: ['id', 'login', 'avatar_url', 'company', 'name', 'email'],
  },
  { call: '19 installations', request: 'GET /api/user/installations?provider=github', reads: ['[]'] },
  {
    call: '20 repositories, the first page of more',
    request: 'GET /api/user/repositories?selected_provider=github&sort=pushed&page=1&per_page=2',
    reads: REPOSITORIES,
    until: (body) =>
      expect((body as Json[])[0]?.['link_header']).toMatch(/<[^>]*[?&]page=2[^>]*>;\s*rel="next"/),
  },
  {
    call: '20 and the last one',
    request: 'GET /api/user/repositories?selected_provider=github&sort=pushed&page=3&per_page=2',
    reads: REPOSITORIES,
    until: (body) => expect((body as Json[])[0]?.['link_header'] ?? '').not.toContain('rel="next"'),
  },
  {
    call: '21 a repository is searched',
    request: 'GET /api/user/search/repositories?query=rocket-1&per_page=5&selected_provider=github',
    reads: REPOSITORIES,
  },
  {
    call: '22 its branches',
    request: 'GET /api/user/repository/branches?repository=acme%2Frocket-1&page=1&per_page=2',
    reads: [...eachOf('branches.[]', BRANCH), 'has_next_page', 'current_page'],
    until: (body) => expect(body).toMatchObject({ has_next_page: true, current_page: 1 }),
  },
  {
    call: '23 a branch is searched',
    request:
      'GET /api/user/search/branches?repository=acme%2Frocket-1&query=ma&per_page=30&selected_provider=github',
    reads: eachOf('[]', BRANCH),
  },
  {
    call: '24 tasks are suggested',
    request: 'GET /api/user/suggested-tasks',
    reads: eachOf('[]', ['git_provider', 'issue_number', 'repo', 'title', 'task_type']),
  },
  {
    call: '25 microagents of a repository',
    request: 'GET /api/user/repository/acme/rocket-1/microagents',
    reads: eachOf('[]', ['name', 'path', 'created_at', 'git_provider']),
  },
  {
    call: '26 what one of them says',
    request:
      'GET /api/user/repository/acme/rocket-1/microagents/content?file_path=.openhands%2Fmicroagents%2Freview.md',
    reads: ['content', 'path', 'git_provider', 'triggers'],
  },
  { call: '5 the provider is disconnected', request: 'POST /api/unset-provider-tokens' },
];
