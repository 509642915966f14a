import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadConfig } from '../../../config/config.js';
import { AuthModuleError, loadAuthModule, type AuthModuleServices } from '../../../identity/auth-module.js';

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'callboard-module-'));
});
afterAll(() => rm(directory, { recursive: true, force: true }));

const services = { settings: { header: 'x-forwarded-user' } } as unknown as AuthModuleServices;
async function load(source: string) {
  const name = `./${crypto.randomUUID()}.mjs`;
  await writeFile(join(directory, name), source);
  return loadAuthModule(name, directory, services);
}

describe('a strategy of a company', () => {
  it('is made by its module, with what the configuration gives it', async () => {
    const strategy = await load(`
      export const createAuthStrategy = ({ settings }) => ({
        async authenticate(headers) {
          const userId = headers[settings.header];
          if (!userId) throw Object.assign(new Error('Unauthorized'), { name: 'Unauthenticated' });
          return { userId, authType: 'bearer', tokens: { get: async () => null, getAll: async () => new Map() } };
        },
      });`);
    expect(await strategy.authenticate({ 'x-forwarded-user': 'ann' })).toMatchObject({ userId: 'ann' });
    await expect(strategy.authenticate({})).rejects.toThrow('Unauthorized');
  });

  it.each([
    ['does not parse', 'export const ='],
    ['exports something else', 'export const strategy = 1;'],
    ['throws', 'export function createAuthStrategy() { throw new Error("no directory service"); }'],
    ['makes nothing that could authenticate', 'export const createAuthStrategy = () => ({});'],
  ])('that %s keeps the server from starting', async (_, source) => {
    await expect(load(source)).rejects.toThrow(AuthModuleError);
  });

  it('that is not there keeps the server from starting', async () => {
    await expect(loadAuthModule('./nowhere.mjs', directory, services)).rejects.toThrow(/cannot be loaded/);
  });
});

describe('a configuration of signing in', () => {
  const GITHUB = {
    OPENHANDS_AUTH_MODE: 'su',
    SU_GITHUB_ALLOWED: '1',
    GITHUB_OAUTH_CLIENT_ID: 'id',
    GITHUB_OAUTH_CLIENT_SECRET: 'secret',
  };
  const OIDC = { OPENHANDS_AUTH_MODE: 'mu', OIDC_ISSUER: 'https://i.example', OIDC_CLIENT_ID: 'id' };
  const read = (env: Record<string, string | undefined>) =>
    loadConfig({ env: { HOME: '/nonexistent', ...env } });

  it('is complete in these forms', () => {
    expect(read(GITHUB).auth.strategy).toBe('single_user_github');
    expect(read(OIDC).auth.strategy).toBe('multi_user');
    expect(read({ OPENHANDS_AUTH_MODE: 'mu', CALLBOARD_AUTH_MODULE: './x.mjs' }).auth.module).toBe('./x.mjs');
  });

  it.each<[string, Record<string, string | undefined>, string]>([
    ['nobody is allowed', { ...GITHUB, SU_GITHUB_ALLOWED: undefined }, 'SU_GITHUB_ALLOWED'],
    ['somebody impossible is allowed', { ...GITHUB, SU_GITHUB_ALLOWED: 'a b' }, 'SU_GITHUB_ALLOWED'],
    [
      'the secret is missing',
      { ...GITHUB, GITHUB_OAUTH_CLIENT_SECRET: undefined },
      'GITHUB_OAUTH_CLIENT_SECRET',
    ],
    ['there is no issuer', { ...OIDC, OIDC_ISSUER: undefined }, 'OIDC_ISSUER'],
    ['the issuer is not https', { ...OIDC, OIDC_ISSUER: 'http://i.example' }, 'OIDC_ISSUER'],
    ['the audience is the client', { ...OIDC, OIDC_AUDIENCE: 'id' }, 'OIDC_AUDIENCE'],
    ['browsers come over http', { ...OIDC, OH_WEB_URL: 'http://c.example' }, 'OH_WEB_URL'],
    ['nobody knows its address', { ...OIDC, HOST: '0.0.0.0' }, 'OH_WEB_URL'],
    ['the strategy is unknown', { OPENHANDS_AUTH_MODE: 'ldap' }, 'OPENHANDS_AUTH_MODE'],
  ])('is refused when %s, by a sentence that names the setting', (_, env, name) => {
    expect(() => read(env)).toThrow(name);
  });
});
