import { describe, expect, it } from 'vitest';
import { askedTogether } from '../../../db/asked-together.js';

/** A question that doubles numbers, and what was asked of it call by call. */
function doubling(fails: (asked: readonly number[]) => boolean = () => false) {
  const calls: (readonly number[])[] = [];
  const ask = askedTogether<number, number>(async (numbers) => {
    calls.push(numbers);
    if (fails(numbers)) throw new Error('no answer');
    return numbers.map((number) => number * 2);
  });
  return { ask, calls };
}

describe('questions of the same moment', () => {
  it('are answered by one call, each with its own answer', async () => {
    const { ask, calls } = doubling();
    expect(await Promise.all([1, 2, 3, 2].map((number) => ask(number)))).toEqual([2, 4, 6, 4]);
    expect(calls).toEqual([[1, 2, 3, 2]]);
  });

  it('share no call with those that come while it runs: no answer is older than its question', async () => {
    let stored = 'before';
    let begun = (): void => undefined;
    const started = new Promise<void>((resolve) => (begun = resolve));
    let release = (): void => undefined;
    const released = new Promise<void>((resolve) => (release = resolve));
    const ask = askedTogether<null, string>(async (questions) => {
      const read = stored;
      begun();
      await released;
      return questions.map(() => read);
    });
    const early = ask(null);
    await started;
    stored = 'after';
    const late = ask(null);
    release();
    expect(await Promise.all([early, late])).toEqual(['before', 'after']);
  });

  it('fail together, and the next ones do not', async () => {
    const { ask, calls } = doubling((numbers) => numbers.includes(13));
    const together = await Promise.allSettled([ask(1), ask(13)]);
    expect(together.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    expect(await ask(1)).toBe(2);
    expect(calls).toEqual([[1, 13], [1]]);
  });
});
