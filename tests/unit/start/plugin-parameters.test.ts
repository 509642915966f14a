import { describe, expect, it } from 'vitest';
import { withPluginParameters } from '../../../activities/start/plugin-parameters.js';
import { StartRequest } from '../../../contract/start-task.js';

const messageOf = (body: object) => {
  const { initial_message, plugins } = StartRequest.parse(body);
  return withPluginParameters(initial_message, plugins);
};
const textOf = (body: object): string =>
  messageOf(body)
    ?.content.map((block) => ('text' in block ? block.text : ''))
    .join('|') ?? '';

describe('the first message of a start', () => {
  it('tells the parameters of plugins at the end of the last text', () => {
    const plugin = {
      source: 'github:owner/plugins',
      repo_path: 'plugins/deploy',
      parameters: { env: 'test', n: 3 },
    };
    const message = {
      content: [
        { type: 'text', text: 'first' },
        { type: 'text', text: 'last' },
        { type: 'image', image_urls: ['data:,'] },
      ],
    };
    const lines = 'Plugin Configuration Parameters:\n- env: test\n- n: 3';
    expect(textOf({ initial_message: message, plugins: [plugin] })).toBe(`first|last\n\n${lines}|`);
    const image = { content: [{ type: 'image', image_urls: ['data:,'] }] };
    expect(textOf({ initial_message: image, plugins: [plugin] })).toBe(`|${lines}`);
    expect(textOf({ initial_message: message, plugins: [{ source: 'x' }] })).toBe('first|last|');
  });

  it('groups the parameters of several plugins by their names', () => {
    const plugins = [
      { source: 'github:owner/one.git', parameters: { a: 1 } },
      { source: 'github:owner/plugins', repo_path: 'two', parameters: { b: ['x'] } },
      { source: 'without' },
    ];
    expect(textOf({ initial_message: { content: [{ type: 'text', text: 'go' }] }, plugins })).toBe(
      'go\n\nPlugin Configuration Parameters:\none:\n- a: 1\ntwo:\n- b: ["x"]',
    );
  });

  it('with plugin parameters and no message gets one that runs', () => {
    const message = messageOf({ plugins: [{ source: 'a/b', parameters: { k: 'v' } }] });
    expect(message).toEqual({
      role: 'user',
      run: true,
      content: [{ type: 'text', text: 'Plugin Configuration Parameters:\n- k: v', cache_prompt: false }],
    });
  });
});
