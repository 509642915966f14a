import { expect, it } from 'vitest';
import { bearerOf } from '../../../identity/bearer.js';

it.each([
  ['Bearer abc', 'abc'],
  ['bearer abc', 'abc'],
  ['BEARER   abc  ', 'abc'],
  ['Bearer a key with spaces', 'a key with spaces'],
  ['Bearer', undefined],
  ['Bearer   ', undefined],
  ['Bearerabc', undefined],
  ['Basic abc', undefined],
  ['', undefined],
  [undefined, undefined],
])('%j shows %j', (header, shown) => {
  expect(bearerOf(header)).toBe(shown);
});
