import { describe, expect, it } from 'vitest';
import { secretTexts } from '../../../contract/secret-texts.js';

describe('the secret texts of settings', () => {
  it.each([
    [{ llm: { model: 'm', api_key: 'k1', extra_headers: { 'X-Any': 'k2' } } }, ['k1', 'k2']],
    [
      { mcp_config: { a: { url: 'https://h/mcp?tavilyApiKey=k1&page=2', headers: { A: 'k2' } } } },
      ['k1', 'k2'],
    ],
    [{ mcp_config: { a: { url: 'https://user:k%201@h/mcp', transport: 'sse' } } }, ['k 1']],
    [
      {
        mcp_config: {
          a: { command: 'npx', args: ['-y', '--api-key', 'k1', '--token=k2', 'x'], env: { E: 'k3' } },
        },
      },
      ['k1', 'k2', 'k3'],
    ],
    [{ auth: { strategy: 'bearer', value: 'k1' } }, ['bearer', 'k1']],
    [{ url: 'not an address ://', language: 'en', token: null }, []],
  ])('of %j are %j', (settings, secrets) => {
    expect(secretTexts(settings).sort()).toEqual([...secrets].sort());
  });
});
