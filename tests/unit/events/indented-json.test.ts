import fc from 'fast-check';
import { expect, it } from 'vitest';
import { indentedJson } from '../../../events/indented-json.js';

it('looks as a JSON printer would have it, whatever the value', () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 5 }), (value) => {
      expect(indentedJson(JSON.stringify(value))).toBe(JSON.stringify(value, null, 2));
      expect(indentedJson(JSON.stringify(value, null, 7))).toBe(JSON.stringify(value, null, 2));
    }),
  );
});

it('keeps what a parser would change: large numbers, 1.0, order, doubled members, escapes', () => {
  expect(indentedJson('{"b":12345678901234567890,"1":1.0,"b":"\\u00fc [\\"{,:}\\" \\\\","e":[ ]}')).toBe(
    '{\n  "b": 12345678901234567890,\n  "1": 1.0,\n  "b": "\\u00fc [\\"{,:}\\" \\\\",\n  "e": []\n}',
  );
});
