import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { AgentSettings } from '../../../contract/agent-settings.js';
import { MASK } from '../../../contract/masking.js';
import { hideSecrets, joinSecrets, splitSecrets } from '../../../contract/settings-secrets.js';
import {
  applySettingsUpdate,
  ConversationSettings,
  InvalidSettings,
  readSettings,
  Settings,
  validSettings,
} from '../../../contract/settings.js';

const apply = (stored: Record<string, unknown>, update: Record<string, unknown>) =>
  applySettingsUpdate(stored, update);
const read = (stored: Record<string, unknown>) => validSettings(stored);

describe('defaults of settings', () => {
  it('are those of release 1.11', () => {
    expect(Settings.parse({})).toMatchObject({
      language: null,
      enable_proactive_conversation_starters: true,
      git_full_clone: false,
      v1_enabled: true,
      sandbox_grouping_strategy: 'NO_GROUPING',
      conversation_settings: {
        schema_version: 1,
        max_iterations: 500,
        confirmation_mode: false,
        security_analyzer: 'llm',
      },
      llm_profiles: { profiles: {}, active: null },
      registered_marketplaces: [],
    });
  });

  it.each(['agent', 'conversation'])(
    'and types of the %s are those that its schema tells clients',
    (name) => {
      const path = new URL(`../../../contract/data/${name}-settings-schema.json`, import.meta.url);
      const { sections } = JSON.parse(readFileSync(path, 'utf8')) as {
        sections: {
          fields: { key: string; default: unknown; variant: string | null; choices: { value: unknown }[] }[];
        }[];
      };
      const fields = sections.flatMap((section) => section.fields);
      expect(fields.length).toBeGreaterThan(2);
      for (const { key, default: value, variant, choices } of fields) {
        const schema = name === 'agent' ? AgentSettings : ConversationSettings;
        const parse = (settings: unknown) => schema.parse(settings) as unknown;
        const kind = variant === null ? {} : { agent_kind: variant };
        const at = (settings: unknown) =>
          key.split('.').reduce((inner, part) => (inner as Record<string, unknown>)[part], settings);
        expect(at(parse(kind)), key).toEqual(value);
        const wrong = key
          .split('.')
          .reduceRight<unknown>((inner, part) => ({ [part]: inner }), Symbol('wrong'));
        expect(() => parse({ ...kind, ...(wrong as object) }), key).toThrow();
        for (const choice of choices) {
          const chosen = key
            .split('.')
            .reduceRight<unknown>((inner, part) => ({ [part]: inner }), choice.value);
          expect(at(parse({ ...kind, ...(chosen as object) })), key).toBe(choice.value);
        }
      }
    },
  );
});

describe('a change of settings', () => {
  it('merges differences deeply and removes what is null', () => {
    const first = apply(
      {},
      { agent_settings_diff: { llm: { model: 'a/b', temperature: 0.5 } }, language: 'de' },
    );
    const second = apply(first, {
      agent_settings_diff: { llm: { temperature: null, top_p: 0.9 } },
      conversation_settings_diff: { max_iterations: 7 },
    });
    expect(read(second)).toMatchObject({
      language: 'de',
      agent_settings: { llm: { model: 'a/b', temperature: null, top_p: 0.9 } },
      conversation_settings: { max_iterations: 7, security_analyzer: 'llm' },
    });
  });

  it('replaces MCP servers as a whole', () => {
    const first = apply(
      {},
      { agent_settings_diff: { mcp_config: { a: { command: 'x', env: { K: 'v' } } } } },
    );
    const second = apply(first, {
      agent_settings_diff: { mcp_config: { mcpServers: { b: { url: 'http://b' } } } },
    });
    expect(read(second).agent_settings.mcp_config).toEqual({ b: { url: 'http://b' } });
    expect(
      read(apply(second, { agent_settings_diff: { mcp_config: null } })).agent_settings.mcp_config,
    ).toEqual({});
  });

  it('to another kind of agent starts from that kind alone', () => {
    const openHands = apply(
      {},
      { agent_settings_diff: { llm: { model: 'a/b', api_key: 'key-of-openhands' } } },
    );
    const acp = apply(openHands, { agent_settings_diff: { agent_kind: 'acp', acp_server: 'codex' } });
    expect(acp['agent_settings']).toEqual({ agent_kind: 'acp', acp_server: 'codex' });
    expect(read(acp).agent_settings).toMatchObject({ agent_kind: 'acp', llm: { api_key: null } });
    const same = apply(acp, { agent_settings_diff: { agent_kind: 'acp', acp_model: 'm' } });
    expect(read(same).agent_settings).toMatchObject({ acp_server: 'codex', acp_model: 'm' });
  });

  it('keeps keys that are absent or null, and clears those that are empty', () => {
    const stored = apply(
      {},
      { search_api_key: 'search-key-1', user_consents_to_analytics: true, disabled_skills: ['x'] },
    );
    expect(apply(stored, { language: 'en' })).toMatchObject({ search_api_key: 'search-key-1' });
    const nulls = { search_api_key: null, user_consents_to_analytics: null, disabled_skills: null };
    expect(read(apply(stored, nulls))).toMatchObject({
      search_api_key: 'search-key-1',
      user_consents_to_analytics: true,
      disabled_skills: ['x'],
    });
    expect(read(apply(stored, { search_api_key: '' })).search_api_key).toBeNull();
    const withKey = apply({}, { agent_settings_diff: { llm: { api_key: 'llm-key-1' } } });
    expect(
      read(apply(withKey, { agent_settings_diff: { llm: { api_key: '' } } })).agent_settings.llm.api_key,
    ).toBeNull();
  });

  it.each([
    ['an unknown grouping strategy', { sandbox_grouping_strategy: 'ALPHABETICAL' }],
    ['a language that is a number', { language: 7 }],
    ['a model that is not a text', { agent_settings_diff: { llm: { model: 5 } } }],
    ['a temperature below zero', { agent_settings_diff: { llm: { temperature: -1 } } }],
    ['a condenser that is too small', { agent_settings_diff: { condenser: { max_size: 19 } } }],
    ['an unknown kind of agent', { agent_settings_diff: { agent_kind: 'robot' } }],
    ['a difference that is no object', { agent_settings_diff: [] }],
    ['no iterations', { conversation_settings_diff: { max_iterations: 0 } }],
    ['an MCP server without an address', { agent_settings_diff: { mcp_config: { a: {} } } }],
    [
      'a marketplace outside its repository',
      { registered_marketplaces: [{ name: 'a', source: 'x', repo_path: '../y' }] },
    ],
    [
      'a marketplace twice',
      {
        registered_marketplaces: [
          { name: 'a', source: 'x' },
          { name: 'a', source: 'y' },
        ],
      },
    ],
  ])('with %s is refused before anything is stored', (_, update) => {
    expect(() => apply({ language: 'de' }, update)).toThrow(InvalidSettings);
  });

  it('does not repeat a refused value', () => {
    expect(() => apply({}, { agent_settings_diff: { llm: { api_key: { nested: 'hunter2' } } } })).toThrow(
      expect.not.objectContaining({ message: expect.stringContaining('hunter2') as string }) as Error,
    );
  });

  it('ignores unknown members and those that other routes write', () => {
    expect(
      apply(
        {},
        {
          colour: 'red',
          secrets_store: { a: 1 },
          llm_profiles: { active: 'x' },
          active_agent_profile_id: 'p',
        },
      ),
    ).toEqual({ agent_settings: {}, conversation_settings: {} });
  });

  it('of the model ends the active profile, other changes do not', () => {
    const stored = { llm_profiles: { profiles: { p: { model: 'a/b' } }, active: 'p' } };
    expect(read(apply(stored, { language: 'de' })).llm_profiles.active).toBe('p');
    const changed = apply(stored, { agent_settings_diff: { llm: { model: 'c/d' } } });
    expect(read(changed).llm_profiles).toEqual({ profiles: { p: { model: 'a/b' } }, active: null });
  });
});

describe('stored settings', () => {
  it('stay readable when a member is no longer valid', () => {
    const { settings, dropped } = readSettings({
      language: 'de',
      sandbox_grouping_strategy: 'GONE',
      agent_settings: { llm: { model: 'a/b', top_p: 7 } },
      registered_marketplaces: [{ name: '1' }],
    });
    expect(settings).toMatchObject({
      language: 'de',
      sandbox_grouping_strategy: 'NO_GROUPING',
      agent_settings: { llm: { model: 'a/b', top_p: null } },
      registered_marketplaces: [],
    });
    expect(dropped).toContain('agent_settings.llm.top_p');
  });

  it('lose what lacks a member as a whole', () => {
    const { settings, dropped } = readSettings({
      agent_settings: { mcp_config: { a: { url: 'http://a', auth: {} }, b: { env: {} } } },
    });
    expect(settings.agent_settings.mcp_config).toEqual({ a: { url: 'http://a' } });
    expect(dropped).toHaveLength(2);
  });
});

describe('secrets in settings', () => {
  const stored = {
    language: 'de',
    search_api_key: 'hunter2-search',
    agent_settings: {
      llm: {
        model: 'a/b',
        api_key: 'hunter2-llm',
        aws_access_key_id: 'hunter2-aws',
        extra_headers: { Authorization: 'hunter2-header' },
      },
      mcp_config: {
        token: {
          url: 'https://user:hunter2-pw@mcp.example/?apiKey=hunter2-query&x=hunter2-x',
          headers: { A: 'hunter2-h' },
          auth: { strategy: 'bearer', value: 'hunter2-bearer' },
        },
        local: { command: 'npx', args: ['-y', 'thing'], env: { KEY: 'hunter2-env' } },
      },
    },
    llm_profiles: { profiles: { key: { model: 'm', api_key: 'hunter2-profile' } }, active: 'key' },
  };

  it('are taken out before storing and come back in their places', () => {
    const { open, secret } = splitSecrets(stored);
    expect(JSON.stringify(open)).not.toContain('hunter2');
    expect(open).toMatchObject({
      language: 'de',
      llm_profiles: { active: 'key', profiles: { key: { model: 'm' } } },
    });
    expect(joinSecrets(open, secret)).toEqual(stored);
  });

  it.each(['masked', 'null'] as const)('cannot be read when shown %s', (showing) => {
    const shown = hideSecrets(stored, showing);
    expect(JSON.stringify(shown)).not.toContain('hunter2');
    expect(shown.agent_settings.llm.api_key).toBe(showing === 'null' ? null : MASK);
    expect(shown.agent_settings.mcp_config.local).toMatchObject({ command: 'npx', env: { KEY: MASK } });
    expect(shown.agent_settings.mcp_config.token.url).toContain('mcp.example/?apiKey=');
    expect(shown.llm_profiles.profiles.key.model).toBe('m');
  });

  it('survive a client that sends back what it was shown', () => {
    const shown = hideSecrets(stored, 'masked');
    const next = apply(stored, {
      search_api_key: shown.search_api_key,
      agent_settings_diff: shown.agent_settings,
    });
    expect(next).toMatchObject({ search_api_key: 'hunter2-search', agent_settings: stored.agent_settings });
  });

  it('cannot be fetched into another member by its mask', () => {
    const next = apply(stored, {
      git_user_name: MASK,
      agent_settings_diff: {
        mcp_config: { other: { command: 'c', env: { KEY: 'x' } } },
        llm: { aws_session_token: MASK },
      },
    });
    const settings = read(next);
    expect(settings.git_user_name).toBeNull();
    expect(settings.agent_settings.llm.aws_session_token).toBeNull();
  });
});
