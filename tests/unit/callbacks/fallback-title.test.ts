import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cleanTitle, fallbackTitle, userText } from '../../../activities/callbacks/fallback-title.js';
import type { AgentEvent } from '../../../contract/event.js';
import { recordedLog } from '../../support/recorded.js';

describe('a title from the first message', () => {
  it.each([
    ['Fix the login', 'Fix the login'],
    ['\n \n  Fix   the\tlogin  \nand more', 'Fix the login'],
    [
      'one two three four five six seven eight nine ten eleven',
      'one two three four five six seven eight nine ten',
    ],
    [`${'x'.repeat(50)} and more`, 'x'.repeat(50)],
    ['x'.repeat(80), 'x'.repeat(50)],
    ['🦜'.repeat(60), '🦜'.repeat(50)],
    ['a\0b', 'a b'],
  ])('of %j is %j', (text, title) => {
    expect(fallbackTitle(text)).toBe(title);
  });

  it.each(['', ' \n\t\r\n ', '\0'])('of %j is none', (text) => {
    expect(fallbackTitle(text)).toBeNull();
  });

  it('is one line of 1 to 50 characters that begins like the text, whatever that is', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 300 }), (text) => {
        const title = fallbackTitle(text);
        if (title === null) return;
        expect(Array.from(title).length).toBeGreaterThan(0);
        expect(Array.from(title).length).toBeLessThanOrEqual(50);
        expect(title).toBe(title.trim());
        expect(title).not.toMatch(/[\p{Cc}\p{Surrogate}]/u);
      }),
    );
  });
});

describe('the text of a message', () => {
  it('is found in a recorded event of a user, and in no other', () => {
    const texts = (recordedLog('1.34.0') as AgentEvent[]).map(userText).filter((text) => text !== null);
    expect(texts).toHaveLength(1);
    expect(texts[0]).not.toBe('');
  });

  it.each([
    { kind: 'ActionEvent', source: 'user' },
    { kind: 'MessageEvent', source: 'agent', llm_message: { content: [{ type: 'text', text: 'hi' }] } },
    { kind: 'MessageEvent', source: 'user' },
    { kind: 'MessageEvent', source: 'user', llm_message: { content: 'hi' } },
    { kind: 'MessageEvent', source: 'user', llm_message: { content: [{ type: 'image', image_urls: [] }] } },
  ])('is none in %j', (event) => {
    expect(userText({ id: 'x', ...event })).toBeNull();
  });
});

it('a title of a model is one line of at most 200 characters, or none', () => {
  expect(cleanTitle(' A\nfine\0 title ')).toBe('A fine title');
  expect(cleanTitle('x'.repeat(300))).toHaveLength(200);
  for (const nothing of ['', ' \n', null, undefined]) expect(cleanTitle(nothing)).toBeNull();
});
