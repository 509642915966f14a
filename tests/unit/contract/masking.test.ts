import { inspect } from 'node:util';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isSecretName, MASK, maskText, Secret } from '../../../contract/masking.js';

describe('a secret', () => {
  it('prints as a mask everywhere but where it is asked for', () => {
    const secret = new Secret('hunter2-value');
    expect([String(secret), JSON.stringify({ secret }), inspect({ secret })].join()).not.toContain('hunter2');
    expect(JSON.stringify({ secret })).toBe(`{"secret":"${MASK}"}`);
    expect(secret.reveal()).toBe('hunter2-value');
  });
});

describe('masking text', () => {
  it('removes secrets in each spelling in which texts carry them', () => {
    const secret = 'p@ss/word "1"';
    const text = [
      `plain ${secret}`,
      `https://x/?k=${encodeURIComponent(secret)}`,
      JSON.stringify({ secret }),
      Buffer.from(secret).toString('base64'),
    ].join('\n');
    const masked = maskText(text, [secret]);
    expect(masked.split(MASK)).toHaveLength(5);
    expect(masked).not.toContain('word');
  });

  it('replaces a secret that contains another one whole', () => {
    expect(maskText('token abcdefghij', ['abcdef', 'abcdefghij'])).toBe(`token ${MASK}`);
  });

  it('removes each line of a multi-line key', () => {
    const key = '-----BEGIN KEY-----\nabcdefghijklmnop\n-----END KEY-----';
    expect(maskText('found abcdefghijklmnop in the log', [key])).toBe(`found ${MASK} in the log`);
  });

  it('leaves very short values alone', () => {
    expect(maskText('a on b', ['on', ''])).toBe('a on b');
  });

  it('never leaves a secret in', () => {
    const text = fc.string({ unit: 'binary' });
    fc.assert(
      fc.property(text, fc.string({ minLength: 6, unit: 'binary' }), text, (before, secret, after) => {
        fc.pre(!secret.includes('*'));
        expect(maskText(before + secret + after, [secret])).not.toContain(secret);
      }),
    );
  });
});

describe('names of secrets', () => {
  it.each([
    'api_key',
    'llm_api_key',
    'X-Session-API-Key',
    'sessionApiKey',
    'token',
    'X-Access-Token',
    'password',
  ])('%s names one', (name) => expect(isSecretName(name)).toBe(true));
  it.each(['key_name', 'llm_api_key_set', 'monkey', 'page_id', 'title', 'secret_id'])(
    '%s names none',
    (name) => expect(isSecretName(name)).toBe(false),
  );
});
