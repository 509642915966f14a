import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { decodeSecrets, decodeSettings } from '../../../../cli/import/source-settings.js';
import { readSourceKeys } from '../../../../cli/import/source-keys.js';
import { readSettings } from '../../../../contract/settings.js';
import { recordedPath, type RecordedVersion } from '../../../support/import/recorded-installation.js';

const file = (version: RecordedVersion, name: string): string =>
  readFileSync(recordedPath(version, 'data', name), 'utf8');
const NO_KEYS = new Map<string, string>();

describe('settings of a Python server', () => {
  it('of release 1.11 are kept as far as they are not the defaults', async () => {
    const { stored, dropped } = await decodeSettings(file('1.11.0', 'settings.json'), NO_KEYS);
    expect(dropped).toEqual([]);
    const llm = {
      model: 'openai/marked-model',
      api_key: 'sk-marked-llm-key-111',
      base_url: 'https://llm.example.com/v1',
    };
    expect(stored).toEqual({
      language: 'de',
      enable_sound_notifications: true,
      disabled_skills: ['noisy'],
      search_api_key: 'tvly-marked-search-key-111',
      max_budget_per_task: 3.5,
      git_user_name: 'Marked Name',
      git_user_email: 'marked@example.com',
      agent_settings: {
        agent_kind: 'openhands',
        llm,
        mcp_config: {
          notes: {
            url: 'https://mcp.example.com/mcp',
            auth: { strategy: 'bearer', value: 'marked-mcp-key-111' },
          },
          files: { command: 'uvx', args: ['files'], env: { TOKEN: 'marked-mcp-env-111' } },
        },
      },
      conversation_settings: { max_iterations: 77, confirmation_mode: true },
      sandbox_grouping_strategy: 'GROUP_BY_NEWEST',
      llm_profiles: { profiles: { Main: llm, Small: { model: 'openai/small' } }, active: 'Main' },
      registered_marketplaces: [
        {
          name: 'team',
          source: 'github:acme/skills',
          ref: null,
          repo_path: null,
          auto_load: false,
          scope: null,
        },
      ],
    });
  });

  it('of the 2025-11 release mean the same in their newer form', async () => {
    const { stored, dropped } = await decodeSettings(file('0.62.0', 'settings.json'), NO_KEYS);
    expect(dropped).toEqual([]);
    const { settings } = readSettings(stored);
    expect(settings).toMatchObject({
      language: 'de',
      search_api_key: 'tvly-marked-search-key-062',
      max_budget_per_task: 3.5,
      git_user_name: 'Marked Name',
      agent_settings: {
        llm: {
          model: 'openai/marked-model',
          api_key: 'sk-marked-llm-key-062',
          base_url: 'https://llm.example.com/v1',
        },
        condenser: { max_size: 120 },
        mcp_config: {
          files: { command: 'uvx', env: { TOKEN: 'marked-mcp-env-062' } },
          shttp: {
            url: 'https://mcp.example.com/mcp',
            auth: { strategy: 'bearer', value: 'marked-mcp-key-062' },
          },
        },
      },
      conversation_settings: { max_iterations: 77, confirmation_mode: true },
    });
  });

  it.each([
    [
      'flat',
      { llm_model: 'openai/good', max_iterations: 'many', condenser_max_size: 3 },
      ['max_iterations', 'condenser_max_size'],
    ],
    [
      'nested',
      { agent_settings: { llm: { model: 'openai/good', num_retries: -1 } }, language: 7 },
      ['language', 'agent_settings.llm.num_retries'],
    ],
  ])('of the %s form lose what is not valid, by name, and nothing else', async (_, given, names) => {
    const { stored, dropped } = await decodeSettings(JSON.stringify(given), NO_KEYS);
    expect([...dropped].sort()).toEqual([...names].sort());
    expect(stored).toMatchObject({ agent_settings: { llm: { model: 'openai/good' } } });
  });

  it('keep the model that a key was stored for, even if it is the usual one', async () => {
    const usual = readSettings({}).settings.agent_settings.llm.model;
    const given = { agent_settings: { llm: { model: usual, api_key: 'sk-of-the-usual' } } };
    const { stored } = await decodeSettings(JSON.stringify(given), NO_KEYS);
    expect(stored['agent_settings']).toEqual({
      agent_kind: 'openhands',
      llm: { model: usual, api_key: 'sk-of-the-usual' },
    });
  });

  it('are opened where they are encrypted, and left out where no key fits', async () => {
    const { jwe } = JSON.parse(readFileSync(recordedPath('1.11.0', 'sealed.json'), 'utf8')) as {
      jwe: string;
    };
    const given = JSON.stringify({ agent_settings: { llm: { model: 'openai/x', api_key: jwe } } });
    const keys = await readSourceKeys(recordedPath('1.11.0', 'data'), null);
    expect((await decodeSettings(given, keys)).stored).toMatchObject({
      agent_settings: { llm: { api_key: 'marked-sealed-value-111' } },
    });
    const without = await decodeSettings(given, NO_KEYS);
    expect(without.dropped).toEqual(['agent_settings.llm.api_key']);
    expect(JSON.stringify(without.stored)).not.toContain('api_key');
  });

  it.each(['{"llm_model": "sk-half', '[]', 'null', ''])(
    'that are no object (%j) are refused without being repeated',
    async (text) => {
      await expect(decodeSettings(text, NO_KEYS)).rejects.toThrow(/^it is no JSON object$/);
      await expect(decodeSecrets(text, NO_KEYS)).rejects.toThrow(/^it is no JSON object$/);
    },
  );
});

describe('secrets of a Python server', () => {
  it.each([
    ['1.11.0', '111'],
    ['0.62.0', '062'],
  ] as const)('of release %s are read with hosts and descriptions', async (version, digits) => {
    const { secrets, tokens, problems } = await decodeSecrets(file(version, 'secrets.json'), NO_KEYS);
    expect(secrets).toEqual([
      { name: 'MARKED_SECRET', value: `marked-secret-value-${digits}`, description: 'A marked secret' },
      { name: 'OTHER_SECRET', value: `other-secret-value-${digits}`, description: null },
    ]);
    expect(tokens).toEqual([
      { provider: 'github', token: `ghp_markedGithubToken${digits}`, host: null, userId: '42' },
      {
        provider: 'gitlab',
        token: `glpat-markedGitlabToken${digits}`,
        host: 'gitlab.example.com',
        userId: null,
      },
      { provider: 'enterprise_sso', token: `sso-marked-token-${digits}`, host: null, userId: null },
    ]);
    expect(problems).toEqual([]);
  });

  it('that cannot be taken are named with the reason, and the others are taken', async () => {
    const { jwe } = JSON.parse(readFileSync(recordedPath('1.11.0', 'sealed.json'), 'utf8')) as {
      jwe: string;
    };
    const given = {
      provider_tokens: { github: { token: '' }, gitlab: 7, sourcebox: { token: 'x' } },
      custom_secrets: {
        GOOD: 'plain',
        'not a name': { secret: 'x' },
        SEALED: { secret: jwe },
        BROKEN: { secret: 4 },
      },
    };
    const { secrets, tokens, problems } = await decodeSecrets(JSON.stringify(given), NO_KEYS);
    expect(secrets.map(({ name }) => name)).toEqual(['GOOD']);
    expect(tokens).toEqual([]);
    expect(problems.map(({ name, failed }) => `${name} ${failed ? 'failed' : 'left'}`)).toEqual([
      'github left',
      'gitlab failed',
      'sourcebox left',
      'not a name left',
      'SEALED failed',
      'BROKEN failed',
    ]);
  });
});
