import { describe, expect, it } from 'vitest';
import { MASK } from '../../../contract/masking.js';
import { hideSecrets } from '../../../contract/settings-secrets.js';
import { applyFlatUpdate, FlatSettingsUpdate, toFlatSettings } from '../../../contract/settings-flat.js';
import { applySettingsUpdate, validSettings, type StoredSettings } from '../../../contract/settings.js';

const apply = (stored: StoredSettings, update: Record<string, unknown>) =>
  applyFlatUpdate(stored, FlatSettingsUpdate.parse(update));
const flat = (stored: StoredSettings) => toFlatSettings(validSettings(stored));

describe('flat settings of the 2025-11 client', () => {
  it('and nested ones are two forms of the same', () => {
    const stored = apply(
      {},
      {
        llm_model: 'a/b',
        llm_base_url: 'http://llm',
        llm_api_key: 'key-one',
        agent: 'CodeActAgent',
        confirmation_mode: true,
        max_iterations: 9,
        condenser_max_size: 50,
        enable_default_condenser: false,
        language: 'de',
        enable_solvability_analysis: true,
      },
    );
    expect(validSettings(stored)).toMatchObject({
      language: 'de',
      agent_settings: {
        agent: 'CodeActAgent',
        llm: { model: 'a/b', base_url: 'http://llm', api_key: 'key-one' },
        condenser: { enabled: false, max_size: 50 },
      },
      conversation_settings: { confirmation_mode: true, max_iterations: 9 },
    });
    expect(flat(stored)).toMatchObject({
      llm_model: 'a/b',
      condenser_max_size: 50,
      enable_solvability_analysis: true,
    });
  });

  it('keep model, keys, address and consent when they are null, and reset the rest', () => {
    const stored = apply(
      {},
      {
        llm_model: 'a/b',
        llm_api_key: 'key-one',
        llm_base_url: 'http://llm',
        search_api_key: 'search-one',
        user_consents_to_analytics: true,
        language: 'de',
      },
    );
    expect(flat(apply(stored, {}))).toMatchObject({
      llm_model: 'a/b',
      llm_api_key: 'key-one',
      llm_base_url: 'http://llm',
      search_api_key: 'search-one',
      user_consents_to_analytics: true,
      language: null,
    });
    expect(flat(apply(stored, { llm_api_key: '', search_api_key: '', llm_base_url: '' }))).toMatchObject({
      llm_api_key: null,
      search_api_key: null,
      llm_base_url: null,
    });
  });

  it('leave alone what they cannot express', () => {
    const stored = applySettingsUpdate(
      {},
      { disabled_skills: ['x'], agent_settings_diff: { llm: { temperature: 0.2 }, enable_sub_agents: true } },
    );
    expect(validSettings(apply(stored, { llm_model: 'c/d' }))).toMatchObject({
      disabled_skills: ['x'],
      agent_settings: { enable_sub_agents: true, llm: { temperature: 0.2, model: 'c/d' } },
    });
  });

  it('refuse a condenser below 20', () => {
    expect(FlatSettingsUpdate.safeParse({ condenser_max_size: 19 }).success).toBe(false);
  });

  it('map MCP servers by name and address, both ways', () => {
    const mcp_config = {
      sse_servers: [{ url: 'https://sse', api_key: 'bearer-one' }, 'https://sse2'],
      stdio_servers: [{ name: 'files', command: 'npx', args: ['-y'], env: { K: 'value-one' } }],
      shttp_servers: [{ url: 'https://http?key=query-one', timeout: 30 }],
    };
    const stored = apply({}, { mcp_config });
    expect(validSettings(stored).agent_settings.mcp_config).toEqual({
      files: { command: 'npx', args: ['-y'], env: { K: 'value-one' } },
      sse: { url: 'https://sse', transport: 'sse', auth: { strategy: 'bearer', value: 'bearer-one' } },
      sse_1: { url: 'https://sse2', transport: 'sse' },
      shttp: { url: 'https://http?key=query-one', transport: 'streamable-http', timeout: 30 },
    });
    const shown = hideSecrets({ mcp_config: flat(stored).mcp_config }, 'null');
    expect(JSON.stringify(shown)).not.toMatch(/bearer-one|value-one|query-one/);
    expect(shown.mcp_config.sse_servers[0]).toMatchObject({ url: 'https://sse', api_key: MASK });
    expect(apply(stored, shown)['agent_settings']).toEqual(stored['agent_settings']);
  });

  it('let a client change one MCP server without losing the keys of the others', () => {
    const named = {
      remote: { url: 'https://r', transport: 'http', headers: { X: 'header-one' } },
      gone: { command: 'rm', env: {} },
    };
    const stored = applySettingsUpdate({}, { agent_settings_diff: { mcp_config: named } });
    const shown = hideSecrets({ mcp_config: flat(stored).mcp_config }, 'null').mcp_config;
    const next = apply(stored, { mcp_config: { ...shown, stdio_servers: [] } });
    expect(validSettings(next).agent_settings.mcp_config).toEqual({ remote: named.remote });
    expect(validSettings(apply(next, {})).agent_settings.mcp_config).toEqual({ remote: named.remote });
    expect(validSettings(apply(next, { mcp_config: null })).agent_settings.mcp_config).toEqual({});
  });
});
