import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { marketplaceRoutes } from '../../api/marketplace-routes.js';
import { AddressPolicy } from '../../git-providers/address-policy.js';
import { readRepository } from '../../git-providers/repository-reader.js';
import type { ProviderToken } from '../../identity/user-context.js';
import { startGitServer, type GitServer } from '../support/git-server.js';
import { startTestServer, type TestServer } from '../support/test-server.js';

const TOKEN = 'the-token-of-the-user';
let git: GitServer;
/** Where temporary files of this test, and of nobody else, are. */
let temporary: string;
let redirecting: GitServer;
let api: TestServer;
/** Of the caller, for the git server under test. */
let token: ProviderToken | null;

beforeAll(async () => {
  temporary = await mkdtemp(join(tmpdir(), 'callboard-marketplaces-'));
  vi.stubEnv('TMPDIR', temporary);
  git = await startGitServer({ token: TOKEN });
  redirecting = await startGitServer({ redirectTo: git.origin });
  await git.addRepository('acme/plugins', {
    files: {
      '.claude-plugin/marketplace.json': JSON.stringify({
        name: 'acme',
        owner: { name: 'Acme' },
        plugins: [{ name: 'deployer', description: 'Deploys', source: './deployer' }, { name: 'bare' }],
        skills: [{ name: 'greet', source: './skills/greet' }],
      }),
      'deployer/skills/inner/SKILL.md': 'Not shown.\n',
    },
  });
  await git.addRepository('acme/skills', {
    files: {
      'skills/README.md': 'Not a skill.\n',
      'skills/pdf/SKILL.md': '---\nname: read-pdf\ntriggers: [pdf]\n---\nRead.\n',
      'skills/always.md': 'Be kind.\n',
      'skills/huge.md': 'x'.repeat(1_100_000),
      'more/skills/review.md': '---\ntriggers: [/review]\n---\nLook.\n',
    },
    branches: { next: { 'skills/next.md': 'New.\n' } },
  });
  await git.addRepository('acme/broken', { files: { '.plugin/marketplace.json': '{"plugins": 1}' } });
  const { hostname, port } = new URL(git.origin);
  const other = new URL(redirecting.origin);
  const policy = new AddressPolicy([
    { host: hostname, port: Number(port), http: true },
    { host: other.hostname, port: Number(other.port), http: true },
  ]);
  api = await startTestServer(marketplaceRoutes({ read: (question) => readRepository(question, policy) }), {
    auth: {
      authenticate: () =>
        Promise.resolve({
          userId: 'ann',
          authType: 'bearer',
          tokens: {
            get: (provider) => Promise.resolve(provider === 'github' ? token : null),
            getAll: () => Promise.resolve(new Map(token ? [['github' as const, token]] : [])),
          },
        }),
    },
  });
});
beforeEach(() => {
  token = { token: TOKEN, host: git.origin, userId: null };
});
afterAll(async () => {
  await api.close();
  await Promise.all([git.close(), redirecting.close()]);
  vi.unstubAllEnvs();
  await rm(temporary, { recursive: true, force: true });
});

async function look(...marketplaces: Record<string, unknown>[]) {
  const response = await api.send('POST', '/api/v1/skills/marketplace-skills', marketplaces);
  const text = await response.text();
  expect(text).not.toContain(TOKEN);
  expect((await readdir(temporary)).filter((name) => name.startsWith('callboard-repository-'))).toEqual([]);
  return { status: response.status, body: JSON.parse(text) as { errors: string[]; skills: unknown[] } };
}

describe('a marketplace that is looked into', () => {
  it('offers what its manifest says: plugins, not what is in them, and skills of its own', async () => {
    expect(await look({ name: 'acme', source: 'github:acme/plugins' })).toEqual({
      status: 200,
      body: {
        plugins: [
          { name: 'deployer', description: 'Deploys', source: 'github:acme/plugins', marketplace: 'acme' },
          { name: 'bare', description: null, source: 'github:acme/plugins', marketplace: 'acme' },
        ],
        skills: [{ name: 'greet', type: 'knowledge', source: 'marketplace:acme', triggers: null }],
        marketplace_skills: { acme: ['greet'] },
        errors: [],
      },
    });
  });

  it('offers the skills in it where it has no manifest, of the part and the branch that are named', async () => {
    const source = `${git.origin}/acme/skills.git`;
    const always = { name: 'always', type: 'repo', source: 'marketplace:a', triggers: null };
    const pdf = { name: 'read-pdf', type: 'knowledge', source: 'marketplace:a', triggers: ['pdf'] };
    expect((await look({ name: 'a', source })).body).toMatchObject({ skills: [always, pdf], plugins: [] });
    const { body } = await look({ name: 'b', source, ref: 'next' }, { name: 'c', source, repo_path: 'more' });
    expect(body).toMatchObject({
      marketplace_skills: { b: ['always', 'next', 'read-pdf'], c: ['review'] },
      errors: [],
    });
  });

  it('that cannot be read has its reason among the errors, and does not take the others away', async () => {
    const { status, body } = await look(
      { name: 'acme', source: 'github:acme/plugins' },
      { name: 'missing', source: 'github:acme/nothing' },
      { name: 'broken', source: 'github:acme/broken' },
      { name: 'branch', source: 'github:acme/skills', ref: 'gone' },
      { name: 'option', source: 'github:acme/skills', ref: '--upload-pack=touch /tmp/x' },
      { name: 'path', source: 'relative/path' },
      { name: 'ssh', source: 'ssh://git@example.com/a/b' },
      { name: 'ext', source: 'ext::sh -c touch% /tmp/x' },
      { name: 'keyed', source: 'https://user:password@example.com/a/b' },
    );
    expect(status).toBe(200);
    expect(body).toMatchObject({ plugins: [{ name: 'deployer' }, { name: 'bare' }] });
    expect(body.errors.map((error) => error.split(':')[0])).toEqual([
      'missing',
      'broken',
      'branch',
      'option',
      'path',
      'ssh',
      'ext',
      'keyed',
    ]);
    expect(body.errors[1]).toBe('broken: invalid marketplace manifest');
    expect(body.errors.join()).not.toContain('password@');
  });

  it('is not looked for inside the network of the server, nor where it is redirected to', async () => {
    const { body } = await look(
      { name: 'here', source: 'http://127.0.0.1:9/a/b' },
      { name: 'secure', source: 'https://127.0.0.1/a/b' },
      { name: 'metadata', source: 'https://169.254.169.254/latest' },
      { name: 'redirected', source: `${redirecting.origin}/acme/plugins` },
    );
    expect(body.errors).toHaveLength(4);
    expect(body.errors[2]).toContain('not an address of the public internet');
    expect(git.requests.some(({ path }) => path.includes('latest'))).toBe(false);
    expect(redirecting.requests.every(({ authorization }) => authorization === undefined)).toBe(true);
  });

  it('gets the token of its host only, and is tried without one that is no longer good', async () => {
    token = null;
    const before = git.requests.length;
    const source = `${git.origin}/acme/plugins`;
    expect((await look({ name: 'a', source })).body.errors).toHaveLength(1);
    token = { token: 'old-token', host: git.origin, userId: null };
    expect((await look({ name: 'a', source })).body.errors).toHaveLength(1);
    const sent = git.requests.slice(before).map(({ authorization }) => authorization !== undefined);
    expect(sent).toContain(true);
    expect(sent.at(-1)).toBe(false);
  });

  it('is one of ten at most, each well formed', async () => {
    const one = { name: 'a', source: 'github:acme/plugins' };
    expect((await look(...Array.from({ length: 11 }, () => one))).status).toBe(422);
    expect((await look({ name: '1', source: 'github:a/b' })).status).toBe(422);
    expect((await look({ name: 'a', source: '/etc' })).status).toBe(422);
    expect((await look({ name: 'a', source: 'github:a/b', repo_path: '../x' })).status).toBe(422);
    expect(await look()).toMatchObject({ status: 200, body: { skills: [], errors: [] } });
  });
});
