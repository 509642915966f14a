import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MASK, Secret } from '../../../contract/masking.js';
import { SecretMasker } from '../../../contract/secret-masker.js';

/** Enough secrets that texts are gone through character by character. */
const crowd = (count: number) => Array.from({ length: count }, (_, index) => `crowd-secret-${index}`);

describe.each([
  ['few', 0],
  ['many', 200],
])('a masker that remembers %s secrets', (_name, others) => {
  it('leaves none of them in a text, and everything else as it is', () => {
    const plain = fc.string({ unit: fc.constantFrom('a', 'b', '"', '\\', 'ü', '\n', ' ') });
    const secret = fc.string({ unit: fc.constantFrom('a', 'b', '"', 'ü', '/'), minLength: 6, maxLength: 12 });
    fc.assert(
      fc.property(
        fc.array(secret, { minLength: 1, maxLength: 4 }),
        plain,
        plain,
        (secrets, before, after) => {
          const masker = new SecretMasker([...crowd(others), ...secrets]);
          for (const one of secrets) {
            const text = before + one + after;
            const masked = masker.mask(text);
            expect(secrets.filter((known) => masked.includes(known))).toEqual([]);
            expect(masker.finds(text)).toBe(true);
          }
          expect(masker.mask('nothing of it')).toBe('nothing of it');
          expect(masker.finds('nothing of it')).toBe(false);
        },
      ),
    );
  });

  it('takes the longest one, and the one that comes first', () => {
    const masker = new SecretMasker([...crowd(others), 'abcdef', 'abcdefghij', 'defgxyz']);
    expect(masker.mask('abcdefghij abcdefgxyz')).toBe(`${MASK} ${MASK}gxyz`);
  });

  it('finds a secret within base64, whatever stands around it', () => {
    const secret = 'ghp_0123456789abcdefABCDEF';
    const masker = new SecretMasker([...crowd(others), new Secret(secret)]);
    for (const user of ['', 'u', 'ab', 'x-access-token:', 'name:']) {
      const text = Buffer.from(`${user}${secret}${user}`).toString('base64');
      expect(Buffer.from(masker.mask(text), 'base64').toString()).not.toContain(secret.slice(4, -4));
      expect(masker.finds(text)).toBe(true);
      expect(masker.finds(Buffer.from(`${user}${secret}?`).toString('base64url'))).toBe(true);
    }
  });
});

describe('a masker', () => {
  it('remembers a thousand secrets and forgets the one used longest ago', () => {
    const masker = new SecretMasker(crowd(1_000));
    masker.add('crowd-secret-0'); // used again
    masker.add('one-more-secret');
    expect(masker.finds('crowd-secret-1x')).toBe(false);
    expect(masker.finds('crowd-secret-0x')).toBe(true);
    expect(masker.finds('one-more-secret')).toBe(true);
    expect(masker.finds('crowd-secret-999')).toBe(true);
  });

  it('takes nothing for a secret that is missing or short', () => {
    const masker = new SecretMasker([null, undefined, '', 'short', new Secret('abc')]);
    expect(masker.finds('short abc')).toBe(false);
  });
});
