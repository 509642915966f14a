import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { maskJson } from '../../../contract/json-masking.js';
import { MASK } from '../../../contract/masking.js';
import { SecretMasker } from '../../../contract/secret-masker.js';

const SECRET = 'hunter2 "ü"';
const masker = new SecretMasker([SECRET, '123456']);

describe('taking secrets out of JSON', () => {
  it('leaves a text without any exactly as it is', () => {
    const json = '{"id" : "a", "n": 1.0, "big": 12345678901234567890, "1": [true,null], "n":2}';
    expect(maskJson(json, [masker])).toBe(json);
  });

  it('changes strings that are values and nothing else: names, numbers, order and spacing stay', () => {
    const json = `{ "id":"123456","kind":"x 123456","timestamp": "123456", "123456" : 123456, "n": 1.0,
      "list": ["123456", 1234567, {"id":"123456", "text": "a\\n123456"}] }`;
    expect(maskJson(json, [masker]))
      .toBe(`{ "id":"123456","kind":"x 123456","timestamp": "123456", "123456" : 123456, "n": 1.0,
      "list": ["${MASK}", 1234567, {"id":"${MASK}", "text": "a\\n${MASK}"}] }`);
  });

  it('finds secrets as JSON writes them, in JavaScript and in Python', () => {
    expect(maskJson(JSON.stringify({ a: `<${SECRET}>` }), [masker])).toBe(`{"a":"<${MASK}>"}`);
    expect(maskJson('{"a":"<hunter2 \\"\\u00fc\\">"}', [masker])).toBe(`{"a":"<${MASK}>"}`);
  });

  it('gives what masking every string of the value would give', () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.tuple(fc.string(), fc.string()).map(([before, after]) => `${before}${SECRET}${after}`),
    );
    const names = fc.string({ unit: 'binary' }).filter((name) => name !== '__proto__');
    const value = fc.letrec((tie) => ({
      node: fc.oneof(
        { maxDepth: 4 },
        text,
        fc.double({ noNaN: true }),
        fc.boolean(),
        tie('list'),
        tie('map'),
      ),
      list: fc.array(tie('node'), { maxLength: 4 }),
      map: fc.dictionary(names, tie('node'), { maxKeys: 4 }),
    })).node;
    const masked = (of: unknown): unknown =>
      typeof of === 'string'
        ? masker.mask(of)
        : Array.isArray(of)
          ? of.map(masked)
          : typeof of === 'object' && of !== null
            ? Object.fromEntries(Object.entries(of).map(([name, member]) => [name, masked(member)]))
            : of;
    fc.assert(
      fc.property(value, (content) => {
        const json = JSON.stringify({ id: 'event', content });
        expect(JSON.parse(maskJson(json, [masker]))).toEqual(
          JSON.parse(JSON.stringify({ id: 'event', content: masked(content) })),
        );
      }),
    );
  });

  it('knows the tokens of this product by their form', () => {
    const token = `${Buffer.from('{"alg":"HS256","kid":"abc"}').toString('base64url')}.${'e'.repeat(80)}.${'s'.repeat(43)}`;
    expect(maskJson(JSON.stringify({ output: `X-Access-Token: ${token}\n` }), [])).toBe(
      `{"output":"X-Access-Token: ${MASK}\\n"}`,
    );
  });

  it('goes through a long text once', () => {
    const json = JSON.stringify({ output: `${'x"\\'.repeat(500_000)}${SECRET}` });
    expect(maskJson(json, [masker])).not.toContain('hunter2');
  });
});
