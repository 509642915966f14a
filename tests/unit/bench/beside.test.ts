import { describe, expect, it } from 'vitest';
import { times, timesBetter } from '../../../bench/beside.js';

describe('The ratio to the Python server', () => {
  it('is the median of the ratios of the runs, not the ratio of the medians', () => {
    expect(timesBetter({ ours: [1, 10, 2], theirs: [4, 20, 20], better: 'less' })).toBe(4);
  });

  it('is above 1 where ours is better, of times as of rates', () => {
    expect(timesBetter({ ours: [100], theirs: [400], better: 'less' })).toBe(4);
    expect(timesBetter({ ours: [400], theirs: [100], better: 'more' })).toBe(4);
    expect(timesBetter({ ours: [100], theirs: [400], better: 'more' })).toBe(0.25);
  });

  it('is refused of values that do not belong together', () => {
    expect(() => timesBetter({ ours: [1, 2], theirs: [1], better: 'less' })).toThrow('not measured in turns');
  });

  it('is written with as many digits as it is good for', () => {
    expect([0.53, 4.23, 123.4].map(times)).toEqual(['0.5 ×', '4.2 ×', '123 ×']);
  });
});
