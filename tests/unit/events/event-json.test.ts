import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { JsonSyntaxError, readJsonArray } from '../../../events/event-json.js';

const read = (text: string) => readJsonArray(Buffer.from(text));

describe('reading a batch', () => {
  it('cuts out each element exactly as it was sent', async () => {
    const texts = [
      '{"n":12345678901234567890,"f":1.0,"2":0,"1":"a,]}"}',
      '{"q":"\\"[\\\\"}',
      '[]',
      '"ü"',
      '-0.0',
    ];
    const elements = await read(` [\n${texts.join(' ,\t')} ] \n`);
    expect(elements?.map(({ text }) => text)).toEqual(texts);
    expect(elements?.map(({ value }) => value)).toEqual(texts.map((text): unknown => JSON.parse(text)));
  });

  it('agrees with JSON.parse on every array', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.jsonValue()), fc.constantFrom(undefined, 2), async (values, indent) => {
        const text = JSON.stringify(values, null, indent);
        expect((await read(text))?.map(({ value }) => value)).toEqual(JSON.parse(text));
      }),
    );
  });

  it('agrees with JSON.parse on what is no JSON', async () => {
    const accepted = async (text: string): Promise<boolean> => {
      try {
        await read(text);
        return true;
      } catch (error) {
        expect(error).toBeInstanceOf(JsonSyntaxError);
        return false;
      }
    };
    const parses = (text: string): boolean => {
      try {
        JSON.parse(text);
        return true;
      } catch (error) {
        expect(error).toBeInstanceOf(SyntaxError);
        return false;
      }
    };
    const pieces = fc.constantFrom('[', ']', '{', '}', ',', ':', '"', '"a"', '1', ' ', '\\', 'null', '\n');
    await fc.assert(
      fc.asyncProperty(fc.array(pieces, { maxLength: 12 }), async (parts) => {
        const text = parts.join('');
        expect(await accepted(text), text).toBe(parses(text));
      }),
      { numRuns: 3000 },
    );
  });

  it('tells an array from other JSON', async () => {
    expect(await read('{"id":"1"}')).toBeNull();
    expect(await read(' [ ] ')).toEqual([]);
  });

  it('refuses what is not UTF-8', async () => {
    await expect(readJsonArray(Buffer.from([0x5b, 0x22, 0xff, 0x22, 0x5d]))).rejects.toThrow(JsonSyntaxError);
  });

  it('lets others have a turn while a batch is large', async () => {
    const text = `[${Array.from({ length: 40_000 }, (_, n) => JSON.stringify({ id: n, text: 'x'.repeat(100) })).join()}]`;
    let turns = 0;
    const tick = setInterval(() => turns++, 0);
    expect(await read(text)).toHaveLength(40_000);
    clearInterval(tick);
    expect(turns).toBeGreaterThan(3);
  });
});
