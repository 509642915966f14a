import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ConfigError, loadConfig } from '../../../config/config.js';
import { renderConfig } from '../../../config/render.js';

let home: string;
beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'callboard-config-'));
});
afterEach(() => rm(home, { recursive: true, force: true }));

const load = (env: Record<string, string> = {}, configPath?: string) =>
  loadConfig({ env: { HOME: home, ...env }, ...(configPath ? { configPath } : {}) });

const messageOf = (env: Record<string, string>, configPath?: string): string => {
  try {
    load(env, configPath);
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    return (error as Error).message;
  }
  throw new Error('the configuration was accepted');
};

describe('configuration', () => {
  it('needs nothing at all', () => {
    const config = load();
    expect(config.server).toMatchObject({
      host: '127.0.0.1',
      port: 3000,
      publicUrl: null,
      instanceKey: null,
    });
    expect(config.data).toEqual({
      directory: join(home, '.callboard'),
      hostDirectory: join(home, '.callboard/host'),
      skillsDirectory: join(home, '.callboard/skills'),
    });
    expect(config.sandboxes).toMatchObject({
      runtime: 'process',
      address: '127.0.0.1',
      portRange: { first: 20_000, last: 27_999 },
      startupTimeoutSeconds: 120,
    });
    expect(config.file).toBeNull();
  });

  it('lets the environment win over the file and the file over the defaults', async () => {
    const path = join(home, 'c.toml');
    await writeFile(path, '[server]\nport = 4000\nhost = "0.0.0.0"\n[sandboxes]\nruntime = "local"\n');
    const config = load({ PORT: '5000' }, path);
    expect(config.server).toMatchObject({ port: 5000, host: '0.0.0.0' });
    expect(config.sandboxes.runtime).toBe('process');
    expect(config.origins).toMatchObject({
      'server.port': 'PORT',
      'server.host': `server.host in ${path}`,
      'log.level': 'default',
    });
  });

  it('finds config.toml in the data directory', async () => {
    await writeFile(join(home, 'config.toml'), '[log]\nlevel = "WARNING"\n');
    expect(load({ OH_PERSISTENCE_DIR: home }).log.level).toBe('warn');
  });

  it('treats an empty variable as not set', () => {
    expect(load({ DATABASE_URL: '', PORT: ' ' })).toMatchObject({ database: { url: null } });
  });

  it('names every wrong name and value in one message and repeats no value', async () => {
    const path = join(home, 'c.toml');
    await writeFile(path, '[server]\nprot = 4000\n[temporal]\nui_port = 1.5\n[cloud]\nx = 1\n');
    const message = messageOf(
      {
        PORT: 'three-thousand',
        DATABASE_URL: 'mysql://root:hunter2@db',
        CALLBOARD_WARM_SANDBOX: '3',
        CALLBOARD_PORT_RANGE: '9000-8000',
        OH_AGENT_SERVER_ENV: '{"TOKEN": "hunter2"',
        PERMITTED_CORS_ORIGINS: '*',
      },
      path,
    );
    for (const name of [
      'PORT',
      'DATABASE_URL',
      'CALLBOARD_WARM_SANDBOX',
      'CALLBOARD_PORT_RANGE',
      'OH_AGENT_SERVER_ENV',
      'PERMITTED_CORS_ORIGINS',
      'server.prot',
      'temporal.ui_port',
      'cloud in',
    ]) {
      expect(message).toContain(name);
    }
    expect(message).not.toContain('hunter2');
    expect(message).not.toContain('three-thousand');
  });

  it('is not confused by variables that a container platform makes up', () => {
    expect(
      load({ CALLBOARD_PORT: 'tcp://10.0.0.1:3000', CALLBOARD_SERVICE_HOST: '10.0.0.1' }).server.port,
    ).toBe(3000);
  });

  it('says where a broken file is broken without quoting it', async () => {
    const path = join(home, 'c.toml');
    await writeFile(path, '[llm]\napi_key = "hunter2" oops\n');
    const message = messageOf({}, path);
    expect(message).toContain('line 2');
    expect(message).not.toContain('hunter2');
    expect(messageOf({}, join(home, 'missing.toml'))).toContain('does not exist');
  });

  it('reads numbered origins in their order and other spellings of lists and addresses', () => {
    const config = load({
      OH_PERMITTED_CORS_ORIGINS_1: 'https://b.example/',
      OH_PERMITTED_CORS_ORIGINS_0: 'https://a.example',
      PERMITTED_CORS_ORIGINS: 'https://ignored.example',
      WEB_HOST: 'openhands.example.com/',
    });
    expect(config.server.corsOrigins).toEqual(['https://a.example', 'https://b.example']);
    expect(config.server.publicUrl).toBe('https://openhands.example.com');
  });

  it.each([
    ['python -m openhands.agent_server', ['python', '-m', 'openhands.agent_server']],
    [
      `"/opt/my python/bin/python" -c 'print("a b")' x\\ y`,
      ['/opt/my python/bin/python', '-c', 'print("a b")', 'x y'],
    ],
  ])('splits the command %s as a shell would', (line, words) => {
    expect(load({ AGENT_SERVER_COMMAND: line }).agentServer.command).toEqual(words);
  });

  it('refuses a command with an open quote', () => {
    expect(messageOf({ AGENT_SERVER_COMMAND: 'python "-m' })).toContain('AGENT_SERVER_COMMAND');
  });

  it.each([
    ['git.corp.example', { host: 'git.corp.example', port: null, http: false }],
    ['https://GIT.corp:443/', { host: 'git.corp', port: 443, http: false }],
    ['10.0.0.7:8443', { host: '10.0.0.7', port: 8443, http: false }],
    ['http://127.0.0.1:3000', { host: '127.0.0.1', port: 3000, http: true }],
    ['http://[::1]', { host: '[::1]', port: null, http: true }],
  ])('reads %s as a git host that may be asked', (written, host) => {
    expect(load({ CALLBOARD_GIT_ALLOWED_PRIVATE_HOSTS: written }).git.allowedPrivateHosts).toEqual([host]);
  });

  it.each(['*', 'ssh://git.corp', 'git.corp/path', 'user@git.corp', 'git corp'])(
    'does not take %s for a git host',
    (written) => {
      expect(messageOf({ CALLBOARD_GIT_ALLOWED_PRIVATE_HOSTS: written })).toContain('must be a host such as');
    },
  );

  it('asks for everything the single-user strategy needs', () => {
    const message = messageOf({ OPENHANDS_AUTH_MODE: 'su', SU_GITHUB_ALLOWED: '42' });
    expect(message).toContain('GITHUB_OAUTH_CLIENT_ID');
    expect(message).toContain('GITHUB_OAUTH_CLIENT_SECRET');
    expect(message).not.toContain('SU_GITHUB_ALLOWED');
  });

  it('hands LLM variables and the given ones on to agent-servers, the given ones first', () => {
    const { environment } = load({
      LLM_API_KEY: 'key-one',
      LMNR_PROJECT: 'p',
      OH_AGENT_SERVER_ENV: '{"LMNR_PROJECT": "q", "DEBUG": true}',
    }).agentServer;
    expect(Object.keys(environment).sort()).toEqual(['DEBUG', 'LLM_API_KEY', 'LMNR_PROJECT']);
    expect(environment['LMNR_PROJECT']?.reveal()).toBe('q');
    expect(environment['DEBUG']?.reveal()).toBe('true');
  });

  it('cannot be changed', () => {
    const config = load();
    expect(() => Object.assign(config.server, { port: 1 })).toThrow(TypeError);
    expect(() => Object.assign(config, { file: 'x' })).toThrow(TypeError);
  });

  it('shows no secret, however it is printed', () => {
    const config = load({
      LLM_API_KEY: 'hunter2-llm',
      DATABASE_URL: 'postgres://u:hunter2-db@h/d',
      JWT_SECRET: 'hunter2-jwt',
      SESSION_API_KEY: 'hunter2-instance',
      OH_AGENT_SERVER_ENV: '{"A": "hunter2-env"}',
    });
    const lines = renderConfig(config);
    const printed = [JSON.stringify(config), inspect(config, { depth: 9 }), JSON.stringify(lines)].join('\n');
    expect(printed).not.toContain('hunter2');
    expect(lines).toContainEqual({ name: 'llm.api_key', value: '**********', origin: 'LLM_API_KEY' });
    expect(config.llm.apiKey?.reveal()).toBe('hunter2-llm');
    expect(lines).toContainEqual({ name: 'server.port', value: '3000', origin: 'default' });
  });
});
