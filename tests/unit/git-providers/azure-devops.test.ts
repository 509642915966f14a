import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { AzureDevOpsClient } from '../../../git-providers/azure-devops.js';
import type { GitProviderClient } from '../../../git-providers/git-provider-client.js';
import { FakeGitHost, httpFor } from '../../support/git-hosts/fake-git-host.js';

const TOKEN = 'theAzureTokenOfTheTests';
const BASIC = `Basic ${Buffer.from(`:${TOKEN}`).toString('base64')}`;
const JWT = 'eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.c2ln';

let host: FakeGitHost;
/** At one organization. */
let client: GitProviderClient;

const repository = (name: string, more: object = {}) => ({
  id: `id-${name}`,
  name,
  project: { name: 'My Project', visibility: 'private', lastUpdateTime: '2026-01-02T03:04:05Z' },
  defaultBranch: 'refs/heads/main',
  ...more,
});
const branches = ['main', 'next', 'old'];

beforeAll(async () => {
  // Whoever is not known gets the page to sign in.
  host = await new FakeGitHost(
    ({ authorization }) => authorization === BASIC || authorization === `Bearer ${JWT}`,
    { status: 203, headers: { 'Content-Type': 'text/html' }, body: '<html>Sign in</html>' },
  ).listen();
  host.on('GET /acme/_apis/connectionData', () => ({
    body: {
      authenticatedUser: {
        id: 'user-1',
        providerDisplayName: 'Pat',
        properties: { Account: { $type: 'System.String', $value: 'pat@x.example' } },
      },
    },
  }));
  host.on('GET /_apis/profile/profiles/me', () => ({
    body: { id: 'user-1', displayName: 'Pat', emailAddress: 'pat@x.example' },
  }));
  host.on('GET /_apis/accounts', ({ query }) => ({
    body: {
      value: query.get('memberId') === 'user-1' ? [{ accountName: 'acme' }, { accountName: 'tools' }] : [],
    },
  }));
  host.on('GET /acme/_apis/git/repositories', () => ({
    body: { value: [repository('two'), repository('one'), repository('off', { isDisabled: true })] },
  }));
  host.on('GET /tools/_apis/git/repositories', () => ({
    body: { value: [repository('hammer', { defaultBranch: undefined })] },
  }));
  host.on('GET /acme/*/_apis/git/repositories/*', (_request, [project, name]) =>
    project === 'My Project' && name === 'one' ? { body: repository('one') } : { status: 404 },
  );
  host.on('GET /acme/*/_apis/git/repositories/*/refs', ({ query }) => {
    const text = query.get('filterContains') ?? '';
    const found = branches.filter((name) => name.includes(text));
    // One on each page, to see that all are read.
    const at = Number(query.get('continuationToken') ?? 0);
    const value = found
      .slice(at, at + 1)
      .map((name) => ({ name: `refs/heads/${name}`, objectId: `${name}-sha` }));
    const headers: Record<string, string> =
      at + 1 < found.length ? { 'x-ms-continuationtoken': String(at + 1) } : {};
    return { body: { value }, headers };
  });
  for (const organization of ['acme', 'tools']) {
    host.on(`GET /${organization}/_apis/git/pullrequests`, ({ query }) => ({
      body: {
        value:
          organization === 'acme' && query.get('searchCriteria.creatorId') === 'user-1'
            ? ['conflicts', 'succeeded'].map((mergeStatus, index) => ({
                pullRequestId: index + 1,
                title: 't',
                mergeStatus,
                repository: { name: 'one', project: { name: 'My Project' } },
              }))
            : [],
      },
    }));
  }
  host.on('GET /acme/*/_apis/git/repositories/*/items', ({ query }) => {
    if (query.get('scopePath') === '/docs') {
      return {
        body: {
          value: [
            { path: '/docs', gitObjectType: 'tree' },
            { path: '/docs/a.md', gitObjectType: 'blob' },
          ],
        },
      };
    }
    return query.get('path') === '/docs/a.md' ? { body: '# A' } : { status: 404 };
  });
  client = open('/acme');
});
afterAll(() => host.close());
beforeEach(() => void host.asked());

const open = (path: string, token = TOKEN) =>
  new AzureDevOpsClient(httpFor(host), new URL(`${host.url}${path}`), token, host.url);
const page = (number: number) => ({
  page: number,
  perPage: 1,
  installationId: null,
  sort: 'pushed' as const,
});

describe('Azure DevOps', () => {
  it.each([
    ['a personal token', TOKEN],
    ['a token of Entra', JWT],
  ])('tells whose token it is: %s', async (_name, token) => {
    expect(await open('/acme', token).currentUser()).toEqual({
      id: 'user-1',
      login: 'pat@x.example',
      avatar_url: '',
      company: null,
      name: 'Pat',
      email: 'pat@x.example',
    });
  });

  it('refuses a token by showing the page to sign in, or by sending there', async () => {
    await expect(open('/acme', 'wrong').currentUser()).rejects.toMatchObject({ kind: 'token' });
    host.instead.push({ status: 302, headers: { Location: 'https://login.example/' } });
    await expect(client.currentUser()).rejects.toMatchObject({ kind: 'token' });
  });

  it('lists the repositories of the organization that the host names, page by page', async () => {
    expect(await client.installations(page(1))).toMatchObject({ items: ['acme'] });
    expect(await client.repositories(page(1))).toMatchObject({
      items: [
        {
          id: 'id-one',
          full_name: 'acme/My Project/one',
          main_branch: 'main',
          link_header: expect.stringContaining('page=2') as string,
        },
      ],
      next: 2,
    });
    expect(await client.repositories(page(2))).toMatchObject({
      items: [{ full_name: 'acme/My Project/two', link_header: null }],
      next: null,
    });
  });

  it('lists those of all organizations of the user where the host names none', async () => {
    const everywhere = open('');
    expect(await everywhere.currentUser()).toMatchObject({ id: 'user-1', login: 'pat@x.example' });
    expect(await everywhere.installations({ page: 1, perPage: 10 })).toMatchObject({
      items: ['acme', 'tools'],
    });
    const { items } = await everywhere.repositories({ ...page(1), perPage: 10 });
    expect(items.map(({ full_name: name }) => name)).toEqual([
      'acme/My Project/one',
      'acme/My Project/two',
      'tools/My Project/hammer',
    ]);
    expect(await everywhere.repositories({ ...page(1), perPage: 10, installationId: 'tools' })).toMatchObject(
      { items: [{ main_branch: null }] },
    );
    expect(await everywhere.suggestedTasks()).toHaveLength(1);
    await expect(everywhere.repository('My Project/one')).rejects.toThrow('names no organization');
  });

  it('finds repositories, with or without their organization', async () => {
    const search = { query: 'ONE', limit: 5, sort: 'stars', order: 'desc' } as const;
    expect(await client.searchRepositories(search)).toMatchObject([{ id: 'id-one' }]);
    expect(await client.repository('acme/My Project/one')).toMatchObject({ id: 'id-one' });
    expect(await client.repository('My Project/one')).toMatchObject({ full_name: 'acme/My Project/one' });
  });

  it('lists all branches, following continuation tokens, and finds them', async () => {
    expect(await client.branches('acme/My Project/one', { page: 2, perPage: 2 })).toEqual({
      items: [{ name: 'old', commit_sha: 'old-sha', protected: false, last_push_date: null }],
      next: null,
      total: 3,
    });
    expect(host.requests.map(({ query }) => query.get('continuationToken'))).toEqual([null, '1', '2']);
    expect(await client.searchBranches('acme/My Project/one', 'ne', 5)).toMatchObject([{ name: 'next' }]);
  });

  it('suggests own pull requests with conflicts', async () => {
    expect(await client.suggestedTasks()).toEqual([
      {
        git_provider: 'azure_devops',
        task_type: 'MERGE_CONFLICTS',
        repo: 'acme/My Project/one',
        issue_number: 1,
        title: 't',
      },
    ]);
  });

  it.each([
    ['active', true],
    ['completed', false],
    ['abandoned', false],
  ])('tells of a pull request that is %s whether it is open: %s', async (state, isOpen) => {
    host.instead.push({ body: { pullRequestId: 7, status: state } });
    expect(await client.isPullRequestOpen('acme/My Project/one', 7)).toBe(isOpen);
    expect(host.asked()).toEqual([
      'GET /acme/My%20Project/_apis/git/repositories/one/pullrequests/7?api-version=7.0',
    ]);
    await expect(client.isPullRequestOpen('acme/My Project/one', 404)).rejects.toMatchObject({
      kind: 'not_found',
    });
  });

  it('lists folders and reads files', async () => {
    expect(await client.listFolder('acme/My Project/one', 'docs')).toEqual([
      { name: 'a.md', path: 'docs/a.md', isFile: true },
    ]);
    expect(await client.listFolder('acme/My Project/one', 'none')).toEqual([]);
    expect(await client.readFile('acme/My Project/one', 'docs/a.md')).toBe('# A');
  });

  it.each([
    [401, {}, 'token', null],
    [403, {}, 'forbidden', null],
    [429, { 'Retry-After': '9' }, 'rate', 9],
    [500, {}, 'unavailable', null],
  ])('answers with status %i, which is told as such', async (status, headers, kind, retryAfterSeconds) => {
    host.instead.push({ status, headers: headers });
    await expect(client.currentUser()).rejects.toMatchObject({ kind, retryAfterSeconds });
  });
});
