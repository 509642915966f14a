import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GITHUB_TOKEN, GitHubHost } from '../support/git-hosts/github-host.js';
import { startIdentityServer, type IdentityServer } from '../support/identity-server.js';

let github: GitHubHost;
let server: IdentityServer;

beforeAll(async () => {
  github = await new GitHubHost().listen();
  server = await startIdentityServer({ CALLBOARD_GIT_ALLOWED_PRIVATE_HOSTS: github.url });
});
afterAll(async () => {
  await server.close();
  await github.close();
});

async function call(method: string, path: string, body?: unknown) {
  const response = await fetch(`${server.url}${path}`, {
    method,
    headers: { 'Content-Type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  return { status: response.status, body: await response.json() };
}
const store = (token: string, host = github.url, path = '/api/v1/secrets/git-providers') =>
  call('POST', path, { provider_tokens: { github: { token, host } } });

describe('a git token', () => {
  it('that its provider knows is stored, and serves from then on', async () => {
    expect(await call('GET', '/api/v1/users/git-info')).toMatchObject({ status: 403 });
    expect(await store(GITHUB_TOKEN)).toEqual({ status: 200, body: { message: 'Git providers stored' } });
    expect(await call('GET', '/api/v1/users/git-info')).toMatchObject({
      status: 200,
      body: { login: 'octocat' },
    });
    expect(await call('GET', '/api/user/repositories?selected_provider=github')).toMatchObject({
      status: 200,
      body: [{ full_name: 'acme/rocket-1' }, {}, {}, {}, {}],
    });
  });

  it.each([
    ['that the provider does not know', 'ghp_wrong', '', 401, /valid github token/],
    ['for a host on this machine that is not allowed', GITHUB_TOKEN, 'http://127.0.0.1:1', 400, /operator/],
    ['for the metadata of a cloud', GITHUB_TOKEN, 'https://169.254.169.254', 400, /operator/],
    ['for what is no host', GITHUB_TOKEN, 'not a host', 400, /is not a host name/],
  ])('%s is refused, and the one before it stays', async (_name, token, host, status, text) => {
    await store(GITHUB_TOKEN);
    for (const path of ['/api/v1/secrets/git-providers', '/api/add-git-providers']) {
      const answer = await store(token, host || github.url, path);
      expect(answer.status).toBe(status);
      expect(Object.keys(answer.body as object)).toEqual([path.includes('v1') ? 'detail' : 'error']);
      expect(JSON.stringify(answer.body)).toMatch(text);
    }
    expect(await call('GET', '/api/v1/users/git-info')).toMatchObject({ status: 200 });
  });

  it('that is kept is tried again where its host changes', async () => {
    await store(GITHUB_TOKEN);
    github.asked();
    expect((await store('')).status).toBe(200);
    expect(github.asked()).toEqual([]);
    expect((await store('', `${github.url}/elsewhere`)).status).toBe(200);
    expect(github.asked()).toEqual(['GET /api/v3/user']);
    await store(GITHUB_TOKEN);
  });

  it('is not stored while the provider is away', async () => {
    github.instead.push({ status: 503, headers: { 'Retry-After': '30' } });
    expect(await store('ghp_other')).toMatchObject({ status: 503 });
    expect(await call('GET', '/api/v1/users/git-info')).toMatchObject({ status: 200 });
  });

  it('is in no log', () => {
    expect(server.log.length).toBeGreaterThan(0);
    expect(server.log.join('')).not.toMatch(/ghp_(the|wrong|other)/);
  });
});
