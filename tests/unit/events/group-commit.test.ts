import { describe, expect, it } from 'vitest';
import { groupCommit } from '../../../events/group-commit.js';

describe('a group commit', () => {
  it('serves all that came in during one call with the next, each with its own result', async () => {
    const calls: string[][] = [];
    let open: () => void = () => undefined;
    const gate = new Promise<void>((resolve) => (open = resolve));
    const add = groupCommit<string, string>(async (_key, items) => {
      calls.push([...items]);
      if (calls.length === 1) await gate;
      return items.map((item) => item.toUpperCase());
    });
    const results = ['a', 'b', 'c'].map((item) => add('k', item));
    open();
    expect(await Promise.all(results)).toEqual(['A', 'B', 'C']);
    expect(calls).toEqual([['a'], ['b', 'c']]);
  });

  it('keeps keys apart, and a failure to those it concerns', async () => {
    const add = groupCommit<number, string>(async (key, items) => {
      if (key === 'bad') throw new Error('disk full');
      return items.map((item) => `${key}${item}`);
    });
    const [bad, good] = await Promise.allSettled([add('bad', 1), add('good', 2)]);
    expect(bad).toMatchObject({ status: 'rejected', reason: new Error('disk full') });
    expect(good).toMatchObject({ status: 'fulfilled', value: 'good2' });
    expect(await add('good', 3)).toBe('good3');
  });
});
